#pragma once

#include <cstdint>
#include <cstring>

#include "formats/iq_grids.h"
#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// GGUF IQ3_XXS: 256 columns in eight groups of 32: eight numbers of grid points of 4, four times
// seven sign bits and a 4-bit scale. 3.0625 bits a weight in a file, 4.3125 packed.
struct IQ3_XXS {
  static constexpr const char* kName = "iq3_xxs";
  static constexpr int kBlock = 256;
  static constexpr int kGroup = 32;
  static constexpr int kBits = 4;
  static constexpr Codebook kCodebook = {4,  12,  20,  28,  36,  44,  52,  62,
                                         -4, -12, -20, -28, -36, -44, -52, -62};
  using Scales = TwoLevelScales<8, false, false, 2>;

  struct Source {
    uint16_t scale;
    uint8_t points[64];
    uint8_t signs[8][4];
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    for (int g = 0; g < 8; ++g) {
      uint32_t signs;
      std::memcpy(&signs, source.signs[g], 4);
      block.group_scale[g] = static_cast<uint8_t>(2 * (signs >> 28) + 1);
      for (int p = 0; p < 8; ++p) {
        const int eight = even_signs(static_cast<int>(signs >> (p / 2 * 7) & 127));
        put_point<4, 3>(kIq3XxsGrid[source.points[8 * g + p]], eight >> (p % 2 * 4),
                        block.codes + 32 * g + 4 * p);
      }
    }
  }

  static void quantize(const float* x, DecodedBlock& block) {
    static const NearestCode nearest(kCodebook, 16);
    quantize_codebook_two_level(x, kGroup, nearest, true, Scales::kFactor, block);
  }
};

}  // namespace ftllm
