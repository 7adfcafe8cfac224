#pragma once

#include <cstdint>
#include <cstring>

#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// GGUF Q4_0: 32 codes of 4 bits and a binary16 scale. 4.5 bits a weight.
// Column k is in the low nibble of byte k, column k + 16 in the high one.
struct Q4_0 {
  static constexpr const char* kName = "q4_0";
  static constexpr int kBlock = 32;
  static constexpr int kGroup = 32;
  static constexpr int kBits = 4;
  static constexpr int kOffset = 8;
  using Scales = FlatScales<false>;

  struct Source {
    uint16_t scale;
    uint8_t nibbles[16];
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    for (int k = 0; k < 16; ++k) {
      block.codes[k] = source.nibbles[k] & 15;
      block.codes[k + 16] = source.nibbles[k] >> 4;
    }
  }

  static void quantize(const float* x, DecodedBlock& block) {
    quantize_signed(x, kBlock, 8, block);
  }
};

}  // namespace ftllm
