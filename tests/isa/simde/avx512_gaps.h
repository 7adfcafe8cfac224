#pragma once

// AVX-512 intrinsics that SIMDe 0.7.4 lacks or has wrong, as plain C++ and AVX2.

#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>

#include <cstdint>
#include <cstring>

namespace ftllm_emulated {

// An array of T as a vector, and back.
template <class Vector, class T, int kCount>
Vector vector_of(const T (&values)[kCount]) {
  static_assert(sizeof values == sizeof(Vector));
  Vector vector;
  std::memcpy(&vector, values, sizeof vector);
  return vector;
}

template <class T>
struct Lanes {
  T v[64 / sizeof(T)];
  explicit Lanes(__m512 x) { std::memcpy(v, &x, sizeof v); }
  explicit Lanes(__m512i x) { std::memcpy(v, &x, sizeof v); }
};

// Each of 16 elements of type From, which `from` begins with, converted to To.
template <class Vector, class To, class From, class Source>
Vector convert(Source from) {
  From in[16];
  std::memcpy(in, &from, sizeof in);
  To out[16];
  for (int i = 0; i < 16; ++i) out[i] = static_cast<To>(in[i]);
  return vector_of<Vector>(out);
}

inline __m512 cvtepi32_ps(__m512i x) { return convert<__m512, float, int32_t>(x); }
inline __m512i cvtepi8_epi32(__m128i x) { return convert<__m512i, int32_t, int8_t>(x); }
inline __m512i cvtepu8_epi32(__m128i x) { return convert<__m512i, int32_t, uint8_t>(x); }
inline __m512i cvtepu16_epi32(__m256i x) { return convert<__m512i, int32_t, uint16_t>(x); }

inline __m512 cvtph_ps(__m256i x) {
  __m128i halves[2];
  std::memcpy(halves, &x, sizeof x);
  const __m256 out[2] = {_mm256_cvtph_ps(halves[0]), _mm256_cvtph_ps(halves[1])};
  return vector_of<__m512>(out);
}

inline __m256i cvtps_ph(__m512 x) {
  __m256 halves[2];
  std::memcpy(halves, &x, sizeof x);
  const __m128i out[2] = {_mm256_cvtps_ph(halves[0], 0), _mm256_cvtps_ph(halves[1], 0)};
  return vector_of<__m256i>(out);
}

inline __m512i cvtps_epi32(__m512 x) {
  __m256 halves[2];
  std::memcpy(halves, &x, sizeof x);
  const __m256i out[2] = {_mm256_cvtps_epi32(halves[0]), _mm256_cvtps_epi32(halves[1])};
  return vector_of<__m512i>(out);
}

inline int32_t reduce_add_epi32(__m512i x) {
  int32_t sum = 0;
  for (const int32_t value : Lanes<int32_t>(x).v) sum += value;
  return sum;
}

inline int32_t reduce_max_epi32(__m512i x) {
  const Lanes<int32_t> lanes(x);
  int32_t best = lanes.v[0];
  for (const int32_t value : lanes.v) best = value > best ? value : best;
  return best;
}

// Reads nothing where the mask is 0.
template <class Vector, class T>
Vector maskz_loadu(uint16_t mask, const void* from) {
  T values[16] = {};
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i & 1) != 0) std::memcpy(values + i, static_cast<const T*>(from) + i, sizeof(T));
  }
  return vector_of<Vector>(values);
}

inline __m512 i32gather_ps(__m512i indices, const void* base, int scale) {
  const Lanes<int32_t> at(indices);
  float values[16];
  for (int i = 0; i < 16; ++i) {
    std::memcpy(values + i, static_cast<const uint8_t*>(base) + int64_t{at.v[i]} * scale, 4);
  }
  return vector_of<__m512>(values);
}

// SIMDe has one, of two halves; this one compiles in a fraction of its time.
inline __m512i dpbusd_epi32(__m512i acc, __m512i codes, __m512i values) {
  const Lanes<uint8_t> u(codes);
  const Lanes<int8_t> s(values);
  Lanes<int32_t> sum(acc);
  for (int i = 0; i < 64; ++i) sum.v[i / 4] += u.v[i] * s.v[i];
  return vector_of<__m512i>(sum.v);
}

inline __m256i dpbusd_avx_epi32(__m256i acc, __m256i codes, __m256i values) {
  const __m256i low = _mm256_set1_epi16(255);
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(codes, low),
                                         _mm256_srai_epi16(_mm256_slli_epi16(values, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(codes, 8), _mm256_srai_epi16(values, 8));
  return _mm256_add_epi32(acc, _mm256_add_epi32(even, odd));
}

}  // namespace ftllm_emulated

#undef _mm512_madd_epi16  // SIMDe's takes the operands of the masked one
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)
#undef _mm512_cvtph_ps
#undef _mm512_cvtps_ph
#undef _mm512_i32gather_ps
#undef _mm512_dpbusd_epi32
#define _mm512_cvtepi32_ps(x) ftllm_emulated::cvtepi32_ps(x)
#define _mm512_cvtepi8_epi32(x) ftllm_emulated::cvtepi8_epi32(x)
#define _mm512_cvtepu8_epi32(x) ftllm_emulated::cvtepu8_epi32(x)
#define _mm512_cvtepu16_epi32(x) ftllm_emulated::cvtepu16_epi32(x)
#define _mm512_cvtph_ps(x) ftllm_emulated::cvtph_ps(x)
#define _mm512_cvtps_ph(x, rounding) ftllm_emulated::cvtps_ph(x)  // to nearest is all that is used
#define _mm512_cvtps_epi32(x) ftllm_emulated::cvtps_epi32(x)
#define _mm512_reduce_add_epi32(x) ftllm_emulated::reduce_add_epi32(x)
#define _mm512_reduce_max_epi32(x) ftllm_emulated::reduce_max_epi32(x)
#define _mm512_maskz_loadu_ps(k, x) ftllm_emulated::maskz_loadu<__m512, float>(k, x)
#define _mm512_maskz_loadu_epi32(k, x) ftllm_emulated::maskz_loadu<__m512i, int32_t>(k, x)
#define _mm512_i32gather_ps(i, x, scale) ftllm_emulated::i32gather_ps(i, x, scale)
#define _mm512_dpbusd_epi32(a, u, s) ftllm_emulated::dpbusd_epi32(a, u, s)
#define _mm256_dpbusd_avx_epi32(a, u, s) ftllm_emulated::dpbusd_avx_epi32(a, u, s)
