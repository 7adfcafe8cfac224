#pragma once

#include <cstdint>
#include <cstring>

#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// GGUF Q5_1: 32 codes of 5 bits and a binary16 scale and min. 6 bits a weight.
// Column k is in the low nibble of byte k, column k + 16 in the high one; fifth bits lie in `high`.
struct Q5_1 {
  static constexpr const char* kName = "q5_1";
  static constexpr int kBlock = 32;
  static constexpr int kGroup = 32;
  static constexpr int kBits = 5;
  static constexpr int kOffset = 0;
  using Scales = FlatScales<true>;

  struct Source {
    uint16_t scale;
    uint16_t min;
    uint8_t high[4];
    uint8_t nibbles[16];
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    block.min = source.min;
    uint32_t high;
    std::memcpy(&high, source.high, 4);
    for (int k = 0; k < 16; ++k) {
      block.codes[k] = static_cast<uint8_t>((source.nibbles[k] & 15) | ((high >> k) & 1) << 4);
      block.codes[k + 16] =
          static_cast<uint8_t>((source.nibbles[k] >> 4) | ((high >> (k + 16)) & 1) << 4);
    }
  }

  static void quantize(const float* x, DecodedBlock& block) {
    quantize_affine(x, kBlock, 31, block);
  }
};

}  // namespace ftllm
