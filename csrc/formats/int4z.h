#pragma once

#include <cstdint>

#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// int4z: codes of 4 bits, a binary16 scale and an integer zero point for kColumns columns:
// value = scale · (code − zero), exact in float32. What AWQ and GPTQ checkpoints hold. 4.1875 bits
// a weight with groups of 128.
template <int kColumns>
struct Int4z {
  static constexpr const char* kName = kColumns == 32   ? "int4z32"
                                       : kColumns == 64 ? "int4z64"
                                                        : "int4z128";
  static constexpr int kBlock = kColumns;
  static constexpr int kGroup = kColumns;
  static constexpr int kBits = 4;
  static constexpr int kOffset = 0;
  static constexpr bool kPadded = true;
  using Scales = ZeroPointScales;

  // As engine/checkpoints/ hands it over. Columns 2i and 2i + 1 are in byte i, low nibble first.
  struct Source {
    uint16_t scale;
    uint16_t zero;
    uint8_t nibbles[kColumns / 2];
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    block.min = source.zero;
    for (int k = 0; k < kColumns; ++k) {
      block.codes[k] = source.nibbles[k / 2] >> (k % 2 * 4) & 15;
    }
  }

  static void quantize(const float* x, DecodedBlock& block) {
    quantize_zero_point(x, kBlock, block);
  }
};

}  // namespace ftllm
