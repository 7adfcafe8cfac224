#pragma once

#include "isa/avx512_vectors.h"
#include "isa/exact_dot.h"

// Avx512Vectors with the dot products of VNNI.
namespace ftllm {
namespace {

struct Avx512VnniVectors : Avx512Vectors {
  static constexpr bool kSignedBytes = false;

  static I bit_xor(I a, I b) { return _mm512_xor_si512(a, b); }

  // acc + the sum of each quad of unsigned `codes` × signed `values`.
  static I dot_bytes(I acc, I codes, I values) { return _mm512_dpbusd_epi32(acc, codes, values); }

  template <int kBits, int kVectors, int kRows, int kPanels, class Weights>
  [[gnu::always_inline]] static void dot(const Weights& weights, const uint32_t* x,
                                         I (&acc)[kRows][kPanels]) {
    exact_dot<Avx512VnniVectors, kBits, kVectors>(weights, x, acc);
  }
};

}  // namespace
}  // namespace ftllm
