#pragma once

#include <cstdint>

#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// Column k of 256 among 64 bytes of 2-bit codes, as Q2_K and Q3_K store them: each half of 128
// columns has 32 bytes, whose bit pairs hold columns 32 apart.
static inline int paired_bits(const uint8_t (&pairs)[64], int column) {
  return pairs[column / 128 * 32 + column % 32] >> (column % 128 / 32 * 2) & 3;
}

// GGUF Q2_K: 256 codes of 2 bits in sixteen groups of 16 with 4-bit scales and mins. 2.625 bits a
// weight.
struct Q2_K {
  static constexpr const char* kName = "q2_k";
  static constexpr int kBlock = 256;
  static constexpr int kGroup = 16;
  static constexpr int kBits = 2;
  static constexpr int kOffset = 0;
  using Scales = NibbleScales<16>;

  struct Source {
    uint8_t group_scales[16];
    uint8_t pairs[64];
    uint16_t scale;
    uint16_t min;
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    block.min = source.min;
    for (int g = 0; g < 16; ++g) {
      block.group_scale[g] = source.group_scales[g] & 15;
      block.group_min[g] = source.group_scales[g] >> 4;
    }
    for (int k = 0; k < 256; ++k) {
      block.codes[k] = static_cast<uint8_t>(paired_bits(source.pairs, k));
    }
  }

  static void quantize(const float* x, DecodedBlock& block) {
    quantize_affine_two_level(x, kGroup, 3, 15, block);
  }
};

}  // namespace ftllm
