#pragma once

#include <cstdint>

#include "formats/k_scales.h"
#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// GGUF Q4_K: 256 codes of 4 bits in eight groups of 32 with 6-bit scales and mins. 4.5 bits a
// weight in a file, 4.625 packed. Each run of 32 bytes holds two groups: low nibbles, then high
// ones.
struct Q4_K {
  static constexpr const char* kName = "q4_k";
  static constexpr int kBlock = 256;
  static constexpr int kGroup = 32;
  static constexpr int kBits = 4;
  static constexpr int kOffset = 0;
  using Scales = TwoLevelScales<8, false, true>;

  struct Source {
    uint16_t scale;
    uint16_t min;
    uint8_t group_scales[12];
    uint8_t nibbles[128];
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    block.min = source.min;
    decode_k_scales(source.group_scales, block);
    for (int k = 0; k < 128; ++k) {
      const int column = k / 32 * 64 + k % 32;
      block.codes[column] = source.nibbles[k] & 15;
      block.codes[column + 32] = source.nibbles[k] >> 4;
    }
  }

  static void quantize(const float* x, DecodedBlock& block) {
    quantize_affine_two_level(x, kGroup, 15, 63, block);
  }
};

}  // namespace ftllm
