#include "isa/avx2_vectors.h"
#include "isa/instantiate.h"
#include "isa/tables.h"

// AVX2 with FMA and F16C.
namespace ftllm {
namespace {

struct Avx2 : Avx2Vectors {
  static constexpr int kTileRows = 8;
  static constexpr int kTilePanels = 1;
  static constexpr int kDirectTiles = 2;  // up to so many, unpacking in registers is faster
  static constexpr int kFloatRows = 6;
  static constexpr int kFloatPanels = 2;
  static constexpr int kScoreRows = 3;
  static constexpr bool kSignedBytes = true;

  // acc + the sum of each quad of unsigned `codes` × signed `values`, where pairs fit 16 bits.
  static I dot_bytes(I acc, I codes, I values) {
    const I pairs = _mm256_maddubs_epi16(codes, values);
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  // Eight steps of sums in 16 bits, one widening; what it computes has no use but its speed.
  static I dot_nibbles(I acc, I codes) {
    I pairs = _mm256_maddubs_epi16(codes, acc);
#pragma GCC unroll 8
    for (int step = 1; step < 8; ++step) {
      pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(codes, pairs));
    }
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }

  // Unsigned code × signed activation pairs are summed in 16 bits for as many steps as cannot
  // overflow (2 · (2^kBits − 1) · 127 a step), then widened. Bytes use |w| × sign(w)·x instead.
  template <int kBits, int kVectors, int kRows, int kPanels, class Weights>
  [[gnu::always_inline]] static void dot(const Weights& weights, const uint32_t* x,
                                         I (&acc)[kRows][kPanels]) {
    const I ones = _mm256_set1_epi16(1);
    if constexpr (kBits == 8) {
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) {
        I w[kPanels];
        I magnitude[kPanels];
#pragma GCC unroll 4
        for (int p = 0; p < kPanels; ++p) {
          w[p] = weights(p, j);
          magnitude[p] = _mm256_abs_epi8(w[p]);
        }
#pragma GCC unroll 8
        for (int m = 0; m < kRows; ++m) {
          const I quad = broadcast(x + j * kRows + m);
#pragma GCC unroll 4
          for (int p = 0; p < kPanels; ++p) {
            const I pairs = _mm256_maddubs_epi16(magnitude[p], _mm256_sign_epi8(quad, w[p]));
            I& sum = acc[m][p];
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
            asm("" : "+x"(sum));  // keeps the compiler from collecting products and spilling
          }
        }
      }
    } else {
      constexpr int kRun = kBits <= 4 ? 8 : kBits == 5 ? 4 : kBits == 6 ? 2 : 1;
      constexpr int kSteps = kRun < kVectors ? kRun : kVectors;
#pragma GCC unroll 4
      for (int begin = 0; begin < kVectors; begin += kSteps) {
        I pairs[kRows][kPanels];
#pragma GCC unroll 8
        for (int j = begin; j < begin + kSteps; ++j) {
          I w[kPanels];
#pragma GCC unroll 4
          for (int p = 0; p < kPanels; ++p) w[p] = weights(p, j);
#pragma GCC unroll 8
          for (int m = 0; m < kRows; ++m) {
            const I quad = broadcast(x + j * kRows + m);
#pragma GCC unroll 4
            for (int p = 0; p < kPanels; ++p) {
              const I product = _mm256_maddubs_epi16(w[p], quad);
              I& sum = pairs[m][p];
              sum = j == begin ? product : _mm256_add_epi16(sum, product);
              asm("" : "+x"(sum));  // keeps the compiler from collecting products and spilling
            }
          }
        }
#pragma GCC unroll 8
        for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
          for (int p = 0; p < kPanels; ++p) {
            acc[m][p] = _mm256_add_epi32(acc[m][p], _mm256_madd_epi16(pairs[m][p], ones));
          }
        }
      }
    }
  }
};

}  // namespace

constexpr KernelTable kAvx2Table = make_kernel_table<Avx2>("avx2");

}  // namespace ftllm
