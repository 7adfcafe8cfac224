#pragma once

#include <cstdint>

#include "formats/quantize.h"
#include "formats/scales.h"

namespace ftllm {

// The 4-bit codebook of IQ4_NL and IQ4_XS: steps grow away from zero.
constexpr Codebook kIq4Codebook = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};

// GGUF IQ4_NL: 32 codes of 4 bits into a codebook and a binary16 scale. 4.5 bits a weight.
// Column k is in the low nibble of byte k, column k + 16 in the high one.
struct IQ4_NL {
  static constexpr const char* kName = "iq4_nl";
  static constexpr int kBlock = 32;
  static constexpr int kGroup = 32;
  static constexpr int kBits = 4;
  static constexpr Codebook kCodebook = kIq4Codebook;
  using Scales = FlatScales<false>;

  struct Source {
    uint16_t scale;
    uint8_t nibbles[16];
  };

  static void decode(const Source& source, DecodedBlock& block) {
    block.scale = source.scale;
    for (int k = 0; k < 16; ++k) {
      block.codes[k] = source.nibbles[k] & 15;
      block.codes[k + 16] = source.nibbles[k] >> 4;
    }
  }

  static void quantize(const float* x, DecodedBlock& block) {
    static const NearestCode nearest(kCodebook, 16);
    quantize_codebook(x, kBlock, nearest, block);
  }
};

}  // namespace ftllm
