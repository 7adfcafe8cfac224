#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/activations.h"

// Vectors of eight floats with AVX2, FMA and F16C: what the units of this width share. Each adds
// its dot products and the shapes of its tiles.
namespace ftllm {
namespace {

struct Avx2Vectors {
  static constexpr int kLanes = 8;

  using F = __m256;
  using I = __m256i;

  static F set1(float x) { return _mm256_set1_ps(x); }
  static F zero() { return _mm256_setzero_ps(); }
  static F load(const float* x) { return _mm256_loadu_ps(x); }
  static void store(float* y, F x) { _mm256_storeu_ps(y, x); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F round(F x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F pow2(F n) {
    const I exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
  }
  static F zero_where_less(F a, F b, F value) {
    return _mm256_andnot_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ), value);
  }
  static F copy_sign(F magnitude, F sign) {
    return _mm256_or_ps(magnitude, _mm256_and_ps(sign, _mm256_set1_ps(-0.0f)));
  }
  static F load_f16(const uint8_t* x) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
  }
  static void store_f16(uint8_t* y, F x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  static F load_bf16(const uint8_t* x) {
    const I wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
  }
  // E4M3 bits become those of a binary16 that is 2^-8 of the value.
  static F load_fp8(const uint8_t* x) {
    const __m128i wide = _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x)));
    return _mm256_cvtph_ps(_mm_and_si128(_mm_slli_epi16(wide, 7), _mm_set1_epi16(~0x4000)));
  }
  static F load_i8(const uint8_t* x) {
    return to_float(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x))));
  }
  static F load_u8(const uint8_t* x) { return to_float(widen_u8(x)); }
  static F to_float(I x) { return _mm256_cvtepi32_ps(x); }
  static F as_float(I bits) { return _mm256_castsi256_ps(bits); }

  static I izero() { return _mm256_setzero_si256(); }
  static I set1_int(int32_t x) { return _mm256_set1_epi32(x); }
  static I set1_byte(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }
  static I load_bytes(const uint8_t* x) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  }
  static void store_bytes(uint8_t* y, I x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), x);
  }
  static I widen_u8(const uint8_t* x) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x)));
  }
  static I lookup(const uint8_t (&table)[16], I indices) {
    const __m128i entries = _mm_load_si128(reinterpret_cast<const __m128i*>(table));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(entries), indices);
  }
  static I bit_and(I a, I b) { return _mm256_and_si256(a, b); }
  static I bit_or(I a, I b) { return _mm256_or_si256(a, b); }
  static I shift_right(I a, int n) { return _mm256_srli_epi32(a, n); }
  static I shift_left(I a, int n) { return _mm256_slli_epi32(a, n); }

  static float quantize_block(const float* x, int8_t* codes, int32_t& low, int32_t& high) {
    const I no_sign = _mm256_set1_epi32(0x7fffffff);
    I peaks = izero();  // bits of |x|: in the order of floats, NaN above all
    for (int i = 0; i < 4; ++i) {
      peaks = _mm256_max_epi32(peaks, bit_and(_mm256_castps_si256(load(x + 8 * i)), no_sign));
    }
    const float peak = max_bits(peaks);
    const F to_code = set1(peak < kSmallestPeak ? 0.0f : 127.0f / peak);
    I words[4];
    for (int i = 0; i < 4; ++i) words[i] = _mm256_cvtps_epi32(mul(load(x + 8 * i), to_code));
    low = sum_ints(_mm256_add_epi32(words[0], words[1]));
    high = sum_ints(_mm256_add_epi32(words[2], words[3]));
    const I bytes = _mm256_packs_epi16(_mm256_packs_epi32(words[0], words[1]),
                                       _mm256_packs_epi32(words[2], words[3]));
    const I order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes),
                        _mm256_permutevar8x32_epi32(bytes, order));
    return peak / 127.0f;
  }

  // Inlined by force: GCC takes a function that only prefetches for one without effect, and drops
  // the calls.
  [[gnu::always_inline]] static void prefetch(const uint8_t* x) {
    _mm_prefetch(reinterpret_cast<const char*>(x), _MM_HINT_T0);
  }

 protected:
  static I broadcast(const uint32_t* x) { return _mm256_set1_epi32(static_cast<int>(*x)); }
  static float max_bits(I x) {
    __m128i peak = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    peak = _mm_max_epi32(peak, _mm_shuffle_epi32(peak, 0x4e));
    peak = _mm_max_epi32(peak, _mm_shuffle_epi32(peak, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(peak));
  }
  static int32_t sum_ints(I x) {
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
    return _mm_cvtsi128_si32(sum);
  }
};

}  // namespace
}  // namespace ftllm
