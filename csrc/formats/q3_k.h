#pragma once

#include <cstdint>

#include "formats/q2_k.h"
#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// GGUF Q3_K: 256 codes of 3 bits in sixteen groups of 16 with 6-bit scales, offset by 32. 3.4375
// bits a weight in a file, 3.5625 packed. Bit g of `high[k]` is the third bit of column 32g + k.
struct Q3_K {
  static constexpr const char* kName = "q3_k";
  static constexpr int kBlock = 256;
  static constexpr int kGroup = 16;
  static constexpr int kBits = 3;
  static constexpr int kOffset = 4;
  using Scales = TwoLevelScales<16, true, false>;

  struct Source {
    uint8_t high[32];
    uint8_t pairs[64];
    uint8_t group_scales[12];  // low nibbles in eight bytes, then pairs of high bits in four
    uint16_t scale;
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    for (int g = 0; g < 16; ++g) {
      const int low = source.group_scales[g % 8] >> (g / 8 * 4) & 15;
      const int high = source.group_scales[8 + g % 4] >> (g / 4 * 2) & 3;
      block.group_scale[g] = static_cast<uint8_t>((low | high << 4) - 32);
    }
    for (int k = 0; k < 256; ++k) {
      const int high = source.high[k % 32] >> (k / 32) & 1;
      block.codes[k] = static_cast<uint8_t>(paired_bits(source.pairs, k) | high << 2);
    }
  }

  static void quantize(const float* x, DecodedBlock& block) {
    quantize_signed_two_level(x, kOffset, block);
  }
};

}  // namespace ftllm
