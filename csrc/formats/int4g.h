#pragma once

#include <cstdint>

#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// int4g: codes of 4 bits, a binary16 scale and min for kColumns columns. 4.25 bits a weight with
// the default of 128. Made at load only.
template <int kColumns>
struct Int4g {
  static constexpr const char* kName = kColumns == 32    ? "int4g32"
                                       : kColumns == 64  ? "int4g64"
                                       : kColumns == 128 ? "int4g128"
                                                         : "int4g256";
  static constexpr int kBlock = kColumns;
  static constexpr int kGroup = kColumns;
  static constexpr int kBits = 4;
  static constexpr int kOffset = 0;
  using Scales = FlatScales<true>;
  using Source = void;

  static void quantize(const float* x, DecodedBlock& block) {
    quantize_affine(x, kBlock, 15, block);
  }
};

}  // namespace ftllm
