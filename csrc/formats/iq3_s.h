#pragma once

#include <cstdint>

#include "formats/iq_grids.h"
#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// GGUF IQ3_S: 256 columns; nine bits number a grid point of 4, one of them apart from the rest; a
// sign each; a 4-bit scale for 32. 3.4375 bits a weight in a file, 4.3125 packed.
struct IQ3_S {
  static constexpr const char* kName = "iq3_s";
  static constexpr int kBlock = 256;
  static constexpr int kGroup = 32;
  static constexpr int kBits = 4;
  static constexpr Codebook kCodebook = {1,  3,  5,  7,  9,  11,  13,  15,
                                         -1, -3, -5, -7, -9, -11, -13, -15};
  using Scales = TwoLevelScales<8, false, false>;

  struct Source {
    uint16_t scale;
    uint8_t points[64];
    uint8_t high[8];
    uint8_t signs[32];
    uint8_t group_scales[4];
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    for (int g = 0; g < 8; ++g) {
      const int scale = source.group_scales[g / 2] >> (g % 2 * 4) & 15;
      block.group_scale[g] = static_cast<uint8_t>(2 * scale + 1);
    }
    for (int p = 0; p < 64; ++p) {
      const int high = source.high[p / 8] >> (p % 8) & 1;
      put_point<4, 3>(kIq3SGrid[source.points[p] | high << 8], source.signs[p / 2] >> (p % 2 * 4),
                      block.codes + 4 * p);
    }
  }

  static void quantize(const float* x, DecodedBlock& block) {
    static const NearestCode nearest(kCodebook, 16);
    quantize_codebook_two_level(x, kGroup, nearest, true, Scales::kFactor, block);
  }
};

}  // namespace ftllm
