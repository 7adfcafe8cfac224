#pragma once

#include <cstdint>

#include "formats/iq1_s.h"

namespace ftllm {

// GGUF IQ1_M: 256 columns; a grid point of 8 by eleven bits and a direction of its eighth; a 3-bit
// scale for 16; the block's binary16 scale in the top nibbles of theirs. 1.75 bits a weight in a
// file, 3.5625 packed.
struct IQ1_M : Iq1Layout<16> {
  static constexpr const char* kName = "iq1_m";

  struct Source {
    uint8_t points[32];
    uint8_t high[16];  // for two points, each three bits of its number and the direction
    uint16_t group_scales[4];
  };

  static void decode(const Source& source, DecodedBlock& block) {
    for (int i = 0; i < 4; ++i) {
      block.scale = static_cast<uint16_t>(block.scale | source.group_scales[i] >> 12 << (4 * i));
    }
    for (int g = 0; g < 16; ++g) {
      const int scale = source.group_scales[g / 4] >> (g % 4 * 3) & 7;
      block.group_scale[g] = static_cast<uint8_t>(2 * scale + 1);
    }
    for (int p = 0; p < 32; ++p) {
      const int high = source.high[p / 2] >> (p % 2 * 4);
      put_point<8, 2>(kIq1Grid[source.points[p] | (high & 7) << 8], (high & 8) == 0 ? 0 : 255,
                      block.codes + 8 * p);
    }
  }
};

}  // namespace ftllm
