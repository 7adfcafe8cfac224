#pragma once

#include <cstdint>

#include "formats/iq4_nl.h"
#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// GGUF IQ4_XS: 256 codes of 4 bits into the codebook of IQ4_NL, in eight groups of 32 with 6-bit
// scales, offset by 32. 4.25 bits a weight in a file, 4.3125 packed.
struct IQ4_XS {
  static constexpr const char* kName = "iq4_xs";
  static constexpr int kBlock = 256;
  static constexpr int kGroup = 32;
  static constexpr int kBits = 4;
  static constexpr Codebook kCodebook = kIq4Codebook;
  using Scales = TwoLevelScales<8, true, false>;

  struct Source {
    uint16_t scale;
    uint16_t scales_high;  // two bits a group
    uint8_t scales_low[4];
    uint8_t nibbles[128];  // as in IQ4_NL, group after group
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    for (int g = 0; g < 8; ++g) {
      const int low = source.scales_low[g / 2] >> (g % 2 * 4) & 15;
      const int high = source.scales_high >> (2 * g) & 3;
      block.group_scale[g] = static_cast<uint8_t>((low | high << 4) - 32);
      for (int k = 0; k < 16; ++k) {
        block.codes[32 * g + k] = source.nibbles[16 * g + k] & 15;
        block.codes[32 * g + k + 16] = source.nibbles[16 * g + k] >> 4;
      }
    }
  }

  static void quantize(const float* x, DecodedBlock& block) {
    static const NearestCode nearest(kCodebook, 16);
    quantize_codebook_two_level(x, kGroup, nearest, false, 1.0f, block);
  }
};

}  // namespace ftllm
