#pragma once

#include <cstdint>
#include <cstring>

#include "formats/iq_grids.h"
#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// What the IQ2 formats are in memory: 3-bit codes, magnitude and sign.
template <int kColumns>
struct Iq2Layout {
  static constexpr int kBlock = 256;
  static constexpr int kGroup = kColumns;
  static constexpr int kBits = 3;
  static constexpr Codebook kCodebook = {8, 25, 43, 0, -8, -25, -43, 0};
  using Scales = TwoLevelScales<256 / kColumns, false, false, 3>;

  static void quantize(const float* x, DecodedBlock& block) {
    static const NearestCode nearest(kCodebook, 8);
    quantize_codebook_two_level(x, kGroup, nearest, true, Scales::kFactor, block);
  }
};

// GGUF IQ2_XXS: 256 columns in eight groups of 32: four numbers of grid points, four times seven
// sign bits and a 4-bit scale. 2.0625 bits a weight in a file, 3.3125 packed.
struct IQ2_XXS : Iq2Layout<32> {
  static constexpr const char* kName = "iq2_xxs";

  struct Source {
    uint16_t scale;
    uint8_t groups[8][8];
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    for (int g = 0; g < 8; ++g) {
      uint32_t signs;
      std::memcpy(&signs, source.groups[g] + 4, 4);
      block.group_scale[g] = static_cast<uint8_t>(2 * (signs >> 28) + 1);
      for (int p = 0; p < 4; ++p) {
        put_point<8, 2>(kIq2XxsGrid[source.groups[g][p]],
                        even_signs(static_cast<int>(signs >> (7 * p) & 127)),
                        block.codes + 32 * g + 8 * p);
      }
    }
  }
};

}  // namespace ftllm
