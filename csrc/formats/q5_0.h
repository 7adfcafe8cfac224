#pragma once

#include <cstdint>
#include <cstring>

#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// GGUF Q5_0: 32 codes of 5 bits and a binary16 scale. 5.5 bits a weight.
// Column k is in the low nibble of byte k, column k + 16 in the high one; fifth bits lie in `high`.
struct Q5_0 {
  static constexpr const char* kName = "q5_0";
  static constexpr int kBlock = 32;
  static constexpr int kGroup = 32;
  static constexpr int kBits = 5;
  static constexpr int kOffset = 16;
  using Scales = FlatScales<false>;

  struct Source {
    uint16_t scale;
    uint8_t high[4];
    uint8_t nibbles[16];
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    uint32_t high;
    std::memcpy(&high, source.high, 4);
    for (int k = 0; k < 16; ++k) {
      block.codes[k] = static_cast<uint8_t>((source.nibbles[k] & 15) | ((high >> k) & 1) << 4);
      block.codes[k + 16] =
          static_cast<uint8_t>((source.nibbles[k] >> 4) | ((high >> (k + 16)) & 1) << 4);
    }
  }

  static void quantize(const float* x, DecodedBlock& block) {
    quantize_signed(x, kBlock, 16, block);
  }
};

}  // namespace ftllm
