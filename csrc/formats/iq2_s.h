#pragma once

#include <cstdint>

#include "formats/iq2_xxs.h"

namespace ftllm {

// GGUF IQ2_S: 256 columns; ten bits number a grid point of 8, two of them apart from the rest;
// eight signs; a 4-bit scale for 16. 2.5625 bits a weight in a file, 3.5625 packed.
struct IQ2_S : Iq2Layout<16> {
  static constexpr const char* kName = "iq2_s";

  struct Source {
    uint16_t scale;
    uint8_t points[32];
    uint8_t signs[32];
    uint8_t high[8];
    uint8_t group_scales[8];
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    for (int g = 0; g < 16; ++g) {
      const int scale = source.group_scales[g / 2] >> (g % 2 * 4) & 15;
      block.group_scale[g] = static_cast<uint8_t>(2 * scale + 1);
    }
    for (int p = 0; p < 32; ++p) {
      const int high = source.high[p / 4] >> (p % 4 * 2) & 3;
      put_point<8, 2>(kIq2SGrid[source.points[p] | high << 8], source.signs[p],
                      block.codes + 8 * p);
    }
  }
};

}  // namespace ftllm
