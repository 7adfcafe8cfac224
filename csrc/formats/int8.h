#pragma once

#include <cstdint>

#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// int8: signed bytes, a binary16 scale for 128 columns. 8.125 bits a weight. Made at load only.
struct Int8 {
  static constexpr const char* kName = "int8";
  static constexpr int kBlock = 128;
  static constexpr int kGroup = 128;
  static constexpr int kBits = 8;
  static constexpr int kOffset = 128;
  using Scales = FlatScales<false>;
  using Source = void;

  static void quantize(const float* x, DecodedBlock& block) {
    quantize_symmetric(x, kBlock, 127, 128, block);
  }
};

}  // namespace ftllm
