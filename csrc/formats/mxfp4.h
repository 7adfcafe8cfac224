#pragma once

#include <cstdint>

#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// FP4 E2M1, doubled so that its values are integers: sign in bit 3, then exponent and mantissa.
constexpr Codebook kE2m1Codebook = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// MXFP4 (OCP Microscaling Formats 1.0) as GGUF stores it: 32 codes of E2M1 and a power of two. 4.25
// bits a weight. Column k is in the low nibble of byte k, column k + 16 in the high one.
struct MXFP4 {
  static constexpr const char* kName = "mxfp4";
  static constexpr int kBlock = 32;
  static constexpr int kGroup = 32;
  static constexpr int kBits = 4;
  static constexpr Codebook kCodebook = kE2m1Codebook;
  using Scales = ExponentScales;

  struct Source {
    uint8_t exponent;
    uint8_t nibbles[16];
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.exponent;
    for (int k = 0; k < 16; ++k) {
      block.codes[k] = source.nibbles[k] & 15;
      block.codes[k + 16] = source.nibbles[k] >> 4;
    }
  }

  static void quantize(const float* x, DecodedBlock& block) {
    static const NearestCode nearest(kCodebook, 16);
    quantize_exponent(x, kBlock, nearest, block);
  }
};

}  // namespace ftllm
