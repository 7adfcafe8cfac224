#pragma once

#include <cstdint>

#include "formats/iq2_xxs.h"

namespace ftllm {

// GGUF IQ2_XS: 256 columns; nine bits number a grid point of 8, seven give its signs; a 4-bit scale
// for 16. 2.3125 bits a weight in a file, 3.5625 packed.
struct IQ2_XS : Iq2Layout<16> {
  static constexpr const char* kName = "iq2_xs";

  struct Source {
    uint16_t scale;
    uint16_t points[32];
    uint8_t group_scales[8];
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    for (int g = 0; g < 16; ++g) {
      const int scale = source.group_scales[g / 2] >> (g % 2 * 4) & 15;
      block.group_scale[g] = static_cast<uint8_t>(2 * scale + 1);
    }
    for (int p = 0; p < 32; ++p) {
      put_point<8, 2>(kIq2XsGrid[source.points[p] & 511], even_signs(source.points[p] >> 9),
                      block.codes + 8 * p);
    }
  }
};

}  // namespace ftllm
