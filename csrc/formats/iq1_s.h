#pragma once

#include <cstdint>

#include "formats/iq_grids.h"
#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// What the IQ1 formats are in memory: 3-bit codes for -1, 0 and 1, each moved up or down by an
// eighth. Values are in eighths.
template <int kColumns>
struct Iq1Layout {
  static constexpr int kBlock = 256;
  static constexpr int kGroup = kColumns;
  static constexpr int kBits = 3;
  static constexpr Codebook kCodebook = {-7, 1, 9, 0, -9, -1, 7, 0};
  using Scales = TwoLevelScales<256 / kColumns, false, false, 3>;

  static void quantize(const float* x, DecodedBlock& block) {
    static const NearestCode nearest(kCodebook, 8);
    quantize_codebook_two_level(x, kGroup, nearest, true, Scales::kFactor, block);
  }
};

// GGUF IQ1_S: 256 columns in eight groups of 32: four grid points of 8 by eleven bits, a 3-bit
// scale, and the direction of the eighth. 1.5625 bits a weight in a file, 3.3125 packed.
struct IQ1_S : Iq1Layout<32> {
  static constexpr const char* kName = "iq1_s";

  struct Source {
    uint16_t scale;
    uint8_t points[32];
    uint16_t high[8];  // 4 × 3 bits of the points, the scale, the direction
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    for (int g = 0; g < 8; ++g) {
      const int high = source.high[g];
      block.group_scale[g] = static_cast<uint8_t>(2 * (high >> 12 & 7) + 1);
      for (int p = 0; p < 4; ++p) {
        put_point<8, 2>(kIq1Grid[source.points[4 * g + p] | (high >> (3 * p) & 7) << 8],
                        high >> 15 == 0 ? 0 : 255, block.codes + 32 * g + 8 * p);
      }
    }
  }
};

}  // namespace ftllm
