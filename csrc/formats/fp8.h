#pragma once

#include <cmath>
#include <cstdint>

#include "base/half.h"

namespace ftllm {

// fp8: E4M3 with a float32 scale for 128 columns of a row. 8.25 bits a weight. A float format:
// elements widen in registers and meet float32 activations. Checkpoints whose scales cover a row, a
// tensor or a square of 128 × 128 repeat them.
//
// A packed record has the scales of its NR rows, then element k of the NR rows for each k.
struct Fp8 {
  static constexpr const char* kName = "fp8";
  static constexpr int kBlock = 128;
  static constexpr bool kPadded = true;

  struct Source {
    float scale;
    uint8_t codes[kBlock];
  };

  static void quantize(const float* x, Source& source) {
    float peak = 0.0f;
    for (int k = 0; k < kBlock; ++k) peak = std::fmax(peak, std::fabs(x[k]));
    source.scale = peak / 448.0f;
    const float to_code = source.scale < 0x1p-126f ? 0.0f : 1.0f / source.scale;
    for (int k = 0; k < kBlock; ++k) source.codes[k] = float_to_fp8(x[k] * to_code);
  }
};

}  // namespace ftllm
