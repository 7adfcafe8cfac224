#pragma once

#include <cstdint>

#include "formats/k_scales.h"
#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// GGUF Q5_K: 256 codes of 5 bits in eight groups of 32 with 6-bit scales and mins. 5.5 bits a
// weight in a file, 5.625 packed. Nibbles lie as in Q4_K; bit g of `high[k]` is the fifth bit of
// column 32g + k.
struct Q5_K {
  static constexpr const char* kName = "q5_k";
  static constexpr int kBlock = 256;
  static constexpr int kGroup = 32;
  static constexpr int kBits = 5;
  static constexpr int kOffset = 0;
  using Scales = TwoLevelScales<8, false, true>;

  struct Source {
    uint16_t scale;
    uint16_t min;
    uint8_t group_scales[12];
    uint8_t high[32];
    uint8_t nibbles[128];
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    block.min = source.min;
    decode_k_scales(source.group_scales, block);
    for (int k = 0; k < 128; ++k) {
      const int group = k / 32 * 2;
      const int column = group * 32 + k % 32;
      const int high = source.high[k % 32] >> group;
      block.codes[column] = static_cast<uint8_t>((source.nibbles[k] & 15) | (high & 1) << 4);
      block.codes[column + 32] = static_cast<uint8_t>((source.nibbles[k] >> 4) | (high & 2) << 3);
    }
  }

  static void quantize(const float* x, DecodedBlock& block) {
    quantize_affine_two_level(x, kGroup, 31, 63, block);
  }
};

}  // namespace ftllm
