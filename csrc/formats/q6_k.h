#pragma once

#include <cstdint>

#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// GGUF Q6_K: 256 codes of 6 bits in sixteen groups of 16 with int8 scales. 6.5625 bits a weight.
// Each half of 128 columns has 64 bytes of low nibbles and 32 bytes of two high bits.
struct Q6_K {
  static constexpr const char* kName = "q6_k";
  static constexpr int kBlock = 256;
  static constexpr int kGroup = 16;
  static constexpr int kBits = 6;
  static constexpr int kOffset = 32;
  using Scales = TwoLevelScales<16, true, false>;

  struct Source {
    uint8_t nibbles[128];
    uint8_t high[64];
    int8_t group_scales[16];
    uint16_t scale;
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    for (int g = 0; g < 16; ++g)
      block.group_scale[g] = static_cast<uint8_t>(source.group_scales[g]);
    for (int column = 0; column < 256; ++column) {
      const int half = column / 128;
      const int quarter = column % 128 / 32;
      const int k = column % 32;
      const int nibble = source.nibbles[half * 64 + quarter % 2 * 32 + k] >> (quarter / 2 * 4) & 15;
      const int high = source.high[half * 32 + k] >> (quarter * 2) & 3;
      block.codes[column] = static_cast<uint8_t>(nibble | high << 4);
    }
  }

  static void quantize(const float* x, DecodedBlock& block) {
    quantize_signed_two_level(x, kOffset, block);
  }
};

}  // namespace ftllm
