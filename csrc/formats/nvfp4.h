#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "formats/mxfp4.h"
#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// NVFP4: codes of E2M1, an E4M3 scale for 16 columns and a float32 scale over them (in a checkpoint
// of a whole tensor, here of 256 columns). 4.625 bits a weight.
struct NVFP4 {
  static constexpr const char* kName = "nvfp4";
  static constexpr int kBlock = 256;
  static constexpr int kGroup = 16;
  static constexpr int kBits = 4;
  static constexpr Codebook kCodebook = kE2m1Codebook;
  static constexpr bool kPadded = true;
  using Scales = Fp8Scales<16>;

  // As engine/checkpoints/ hands it over. Columns 2i and 2i + 1 are in byte i, low nibble first.
  struct Source {
    float scale;
    uint8_t group_scales[16];
    uint8_t nibbles[128];
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.wide_scale = source.scale;
    std::memcpy(block.group_scale, source.group_scales, sizeof source.group_scales);
    for (int k = 0; k < kBlock; ++k) {
      block.codes[k] = source.nibbles[k / 2] >> (k % 2 * 4) & 15;
    }
  }

  static void quantize(const float* x, DecodedBlock& block) {
    static const NearestCode nearest(kCodebook, 16);
    quantize_fp8_scales(x, nearest, block);
  }
};

}  // namespace ftllm
