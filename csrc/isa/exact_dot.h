#pragma once

#include <cstdint>

// Dot products of an ISA with an instruction that adds four unsigned × signed bytes to 32 bits
// without saturation: its dot_bytes.
namespace ftllm {

// Bytes become unsigned: their kOffset of 128 is taken off through the sums of the activations.
template <class Isa, int kBits, int kVectors, int kRows, int kPanels, class Weights>
[[gnu::always_inline]] inline void exact_dot(const Weights& weights, const uint32_t* x,
                                             typename Isa::I (&acc)[kRows][kPanels]) {
  static_assert(!Isa::kSignedBytes);
#pragma GCC unroll 8
  for (int j = 0; j < kVectors; ++j) {
    typename Isa::I w[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      w[p] = weights(p, j);
      if constexpr (kBits == 8) w[p] = Isa::bit_xor(w[p], Isa::set1_byte(0x80));
    }
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
      const auto quad = Isa::set1_int(static_cast<int>(x[j * kRows + m]));
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) acc[m][p] = Isa::dot_bytes(acc[m][p], w[p], quad);
    }
  }
}

}  // namespace ftllm
