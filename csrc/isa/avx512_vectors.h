#pragma once

#include <immintrin.h>

#include <cstdint>

#include "base/half.h"
#include "kernels/activations.h"

// Vectors of sixteen floats with AVX-512 F, BW, DQ and VL: what the units of this width share. Each
// adds its dot products.
namespace ftllm {
namespace {

struct Avx512Vectors {
  static constexpr int kLanes = 16;
  static constexpr int kTileRows = 6;
  static constexpr int kTilePanels = 2;
  static constexpr int kDirectTiles = 1;  // up to so many, unpacking in registers is faster
  static constexpr int kFloatRows = 8;
  static constexpr int kFloatPanels = 2;
  static constexpr int kScoreRows = 6;

  using F = __m512;
  using I = __m512i;

  static F set1(float x) { return _mm512_set1_ps(x); }
  static F zero() { return _mm512_setzero_ps(); }
  static F load(const float* x) { return _mm512_loadu_ps(x); }
  static void store(float* y, F x) { _mm512_storeu_ps(y, x); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F round(F x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static F pow2(F n) {
    const I exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
  }
  static F zero_where_less(F a, F b, F value) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ), value);
  }
  static F copy_sign(F magnitude, F sign) {
    return _mm512_or_ps(magnitude, _mm512_and_ps(sign, _mm512_set1_ps(-0.0f)));
  }
  static F load_f16(const uint8_t* x) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
  }
  static void store_f16(uint8_t* y, F x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y),
                        _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  static F load_bf16(const uint8_t* x) {
    const I wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
  }
  // E4M3 bits become those of a binary16 that is 2^-8 of the value.
  static F load_fp8(const uint8_t* x) {
    const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
    return _mm512_cvtph_ps(
        _mm256_and_si256(_mm256_slli_epi16(wide, 7), _mm256_set1_epi16(~0x4000)));
  }
  static F load_i8(const uint8_t* x) {
    return to_float(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))));
  }
  static F load_u8(const uint8_t* x) { return to_float(widen_u8(x)); }
  static F to_float(I x) { return _mm512_cvtepi32_ps(x); }
  static F as_float(I bits) { return _mm512_castsi512_ps(bits); }

  static I izero() { return _mm512_setzero_si512(); }
  static I set1_int(int32_t x) { return _mm512_set1_epi32(x); }
  static I set1_byte(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
  static I load_bytes(const uint8_t* x) {
    return _mm512_loadu_si512(reinterpret_cast<const __m512i*>(x));
  }
  static void store_bytes(uint8_t* y, I x) {
    _mm512_storeu_si512(reinterpret_cast<__m512i*>(y), x);
  }
  static I widen_u8(const uint8_t* x) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
  }
  static I lookup(const uint8_t (&table)[16], I indices) {
    const __m128i entries = _mm_load_si128(reinterpret_cast<const __m128i*>(table));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(entries), indices);
  }
  static I bit_and(I a, I b) { return _mm512_and_si512(a, b); }
  static I bit_or(I a, I b) { return _mm512_or_si512(a, b); }
  static I shift_right(I a, int n) { return _mm512_srli_epi32(a, n); }
  static I shift_left(I a, int n) { return _mm512_slli_epi32(a, n); }

  static float quantize_block(const float* x, int8_t* codes, int32_t& low, int32_t& high) {
    const F first = load(x);
    const F second = load(x + 16);
    // Bits of |x|: in the order of floats, NaN above all.
    const I peaks = _mm512_max_epi32(_mm512_castps_si512(_mm512_abs_ps(first)),
                                     _mm512_castps_si512(_mm512_abs_ps(second)));
    const float peak = bits_float(static_cast<uint32_t>(_mm512_reduce_max_epi32(peaks)));
    if (!std::isfinite(peak)) return peak;  // codes are left to the caller
    const F to_code = set1(peak < kSmallestPeak ? 0.0f : 127.0f / peak);
    const I low_codes = _mm512_cvtps_epi32(mul(first, to_code));
    const I high_codes = _mm512_cvtps_epi32(mul(second, to_code));
    low = _mm512_reduce_add_epi32(low_codes);
    high = _mm512_reduce_add_epi32(high_codes);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes), _mm512_cvtsepi32_epi8(low_codes));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + 16), _mm512_cvtsepi32_epi8(high_codes));
    return peak / 127.0f;
  }

  // Inlined by force: GCC takes a function that only prefetches for one without effect, and drops
  // the calls.
  [[gnu::always_inline]] static void prefetch(const uint8_t* x) {
    _mm_prefetch(reinterpret_cast<const char*>(x), _MM_HINT_T0);
  }
};

}  // namespace
}  // namespace ftllm
