#pragma once

#include <cstdint>

#include "formats/format.h"

namespace ftllm {

// Eight 6-bit scales and eight 6-bit mins in twelve bytes, as Q4_K and Q5_K store them: bytes 0–3
// and 4–7 hold the first four scales and mins, with two more bits on top for the last four, whose
// low nibbles share bytes 8–11.
static inline void decode_k_scales(const uint8_t (&packed)[12], DecodedBlock& block) {
  for (int g = 0; g < 4; ++g) {
    block.group_scale[g] = packed[g] & 63;
    block.group_min[g] = packed[g + 4] & 63;
    block.group_scale[g + 4] = static_cast<uint8_t>((packed[g + 8] & 15) | ((packed[g] >> 6) << 4));
    block.group_min[g + 4] =
        static_cast<uint8_t>((packed[g + 8] >> 4) | ((packed[g + 4] >> 6) << 4));
  }
}

}  // namespace ftllm
