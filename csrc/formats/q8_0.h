#pragma once

#include <cstdint>
#include <cstring>

#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// GGUF Q8_0: 32 signed bytes and a binary16 scale. 8.5 bits a weight.
struct Q8_0 {
  static constexpr const char* kName = "q8_0";
  static constexpr int kBlock = 32;
  static constexpr int kGroup = 32;
  static constexpr int kBits = 8;
  static constexpr int kOffset = 128;
  using Scales = FlatScales<false>;

  struct Source {
    uint16_t scale;
    int8_t codes[32];
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    for (int k = 0; k < 32; ++k) block.codes[k] = static_cast<uint8_t>(source.codes[k] + 128);
  }

  static void quantize(const float* x, DecodedBlock& block) {
    quantize_symmetric(x, kBlock, 127, 128, block);
  }
};

}  // namespace ftllm
