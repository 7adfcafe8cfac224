#include "isa/avx512_vectors.h"
#include "isa/instantiate.h"
#include "isa/tables.h"

// AVX-512 F, BW, DQ and VL.
namespace ftllm {
namespace {

struct Avx512 : Avx512Vectors {
  static constexpr bool kSignedBytes = true;

  // acc + the sum of each quad of unsigned `codes` × signed `values`, where pairs fit 16 bits.
  static I dot_bytes(I acc, I codes, I values) {
    return add_pairs(acc, _mm512_maddubs_epi16(codes, values));
  }
  // Eight steps of sums in 16 bits, one widening; what it computes has no use but its speed.
  static I dot_nibbles(I acc, I codes) {
    I pairs = _mm512_maddubs_epi16(codes, acc);
#pragma GCC unroll 8
    for (int step = 1; step < 8; ++step) {
      pairs = _mm512_add_epi16(pairs, _mm512_maddubs_epi16(codes, pairs));
    }
    return add_pairs(acc, pairs);
  }

  // Unsigned code × signed activation pairs are summed in 16 bits for as many steps as cannot
  // overflow (2 · (2^kBits − 1) · 127 a step), then widened. Bytes use |w| × sign(w)·x instead.
  template <int kBits, int kVectors, int kRows, int kPanels, class Weights>
  [[gnu::always_inline]] static void dot(const Weights& weights, const uint32_t* x,
                                         I (&acc)[kRows][kPanels]) {
    constexpr int kRun = kBits <= 4 ? 8 : kBits == 5 ? 4 : kBits == 6 ? 2 : 1;
    constexpr int kSteps = kRun < kVectors ? kRun : kVectors;
#pragma GCC unroll 8
    for (int begin = 0; begin < kVectors; begin += kSteps) {
      I pairs[kRows][kPanels];
#pragma GCC unroll 8
      for (int j = begin; j < begin + kSteps; ++j) {
        I w[kPanels];
        [[maybe_unused]] __mmask64 negative[kPanels];
#pragma GCC unroll 4
        for (int p = 0; p < kPanels; ++p) {
          w[p] = weights(p, j);
          if constexpr (kBits == 8) {
            negative[p] = _mm512_movepi8_mask(w[p]);
            w[p] = _mm512_abs_epi8(w[p]);
          }
        }
#pragma GCC unroll 16
        for (int m = 0; m < kRows; ++m) {
          const I quad = set1_int(static_cast<int>(x[j * kRows + m]));
#pragma GCC unroll 4
          for (int p = 0; p < kPanels; ++p) {
            I values = quad;
            if constexpr (kBits == 8) {
              values = _mm512_mask_sub_epi8(quad, negative[p], izero(), quad);
            }
            const I product = _mm512_maddubs_epi16(w[p], values);
            pairs[m][p] = j == begin ? product : _mm512_add_epi16(pairs[m][p], product);
          }
        }
      }
#pragma GCC unroll 16
      for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
        for (int p = 0; p < kPanels; ++p) acc[m][p] = add_pairs(acc[m][p], pairs[m][p]);
      }
    }
  }

 private:
  static I add_pairs(I acc, I pairs) {
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }
};

}  // namespace

constexpr KernelTable kAvx512Table = make_kernel_table<Avx512>("avx512");

}  // namespace ftllm
