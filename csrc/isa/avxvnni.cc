#include "isa/avx2_vectors.h"
#include "isa/exact_dot.h"
#include "isa/instantiate.h"
#include "isa/tables.h"

// AVX2, FMA and F16C with the VEX form of VNNI.
namespace ftllm {
namespace {

struct AvxVnni : Avx2Vectors {
  static constexpr int kTileRows = 6;
  static constexpr int kTilePanels = 1;
  static constexpr int kDirectTiles = 3;  // up to so many, unpacking in registers is faster
  static constexpr int kFloatRows = 6;
  static constexpr int kFloatPanels = 2;
  static constexpr int kScoreRows = 3;
  static constexpr bool kSignedBytes = false;

  static I bit_xor(I a, I b) { return _mm256_xor_si256(a, b); }

  // acc + the sum of each quad of unsigned `codes` × signed `values`.
  static I dot_bytes(I acc, I codes, I values) {
    return _mm256_dpbusd_avx_epi32(acc, codes, values);
  }

  template <int kBits, int kVectors, int kRows, int kPanels, class Weights>
  [[gnu::always_inline]] static void dot(const Weights& weights, const uint32_t* x,
                                         I (&acc)[kRows][kPanels]) {
    exact_dot<AvxVnni, kBits, kVectors>(weights, x, acc);
  }
};

}  // namespace

constexpr KernelTable kAvxVnniTable = make_kernel_table<AvxVnni>("avxvnni");

}  // namespace ftllm
