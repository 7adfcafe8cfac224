#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "kernels/activations.h"

// Vectors of four floats with Armv8.2's NEON and its dot product of signed bytes.
namespace ftllm {
namespace {

struct NeonVectors {
  static constexpr int kLanes = 4;
  static constexpr int kTileRows = 4;
  static constexpr int kTilePanels = 2;
  static constexpr int kDirectTiles = 2;  // up to so many, unpacking in registers is faster
  static constexpr int kFloatRows = 6;
  static constexpr int kFloatPanels = 3;
  static constexpr int kScoreRows = 2;
  static constexpr bool kSignedBytes = true;

  using F = float32x4_t;
  using I = int32x4_t;

  static F set1(float x) { return vdupq_n_f32(x); }
  static F zero() { return vdupq_n_f32(0.0f); }
  static F load(const float* x) { return vld1q_f32(x); }
  static void store(float* y, F x) { vst1q_f32(y, x); }
  static F add(F a, F b) { return vaddq_f32(a, b); }
  static F sub(F a, F b) { return vsubq_f32(a, b); }
  static F mul(F a, F b) { return vmulq_f32(a, b); }
  static F div(F a, F b) { return vdivq_f32(a, b); }
  static F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
  // Of a NaN and a number the second, as on x86; NEON's own give the NaN.
  static F min(F a, F b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
  static F max(F a, F b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  static F round(F x) { return vrndnq_f32(x); }
  static F pow2(F n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23));
  }
  static F zero_where_less(F a, F b, F value) {
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(value), vcltq_f32(a, b)));
  }
  static F copy_sign(F magnitude, F sign) {
    return vbslq_f32(vdupq_n_u32(0x80000000u), sign, magnitude);
  }
  static F load_f16(const uint8_t* x) {
    return vcvt_f32_f16(vld1_f16(reinterpret_cast<const float16_t*>(x)));
  }
  static void store_f16(uint8_t* y, F x) {
    vst1_f16(reinterpret_cast<float16_t*>(y), vcvt_f16_f32(x));
  }
  static F load_bf16(const uint8_t* x) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(reinterpret_cast<const uint16_t*>(x)), 16));
  }
  // E4M3 bits become those of a binary16 that is 2^-8 of the value.
  static F load_fp8(const uint8_t* x) {
    const int16x4_t wide = vget_low_s16(vmovl_s8(vreinterpret_s8_u8(load_four(x))));
    const int16x4_t bits = vand_s16(vshl_n_s16(wide, 7), vdup_n_s16(~0x4000));
    return vcvt_f32_f16(vreinterpret_f16_s16(bits));
  }
  static F load_i8(const uint8_t* x) {
    const int16x8_t wide = vmovl_s8(vreinterpret_s8_u8(load_four(x)));
    return to_float(vmovl_s16(vget_low_s16(wide)));
  }
  static F load_u8(const uint8_t* x) { return to_float(widen_u8(x)); }
  static F to_float(I x) { return vcvtq_f32_s32(x); }
  static F as_float(I bits) { return vreinterpretq_f32_s32(bits); }

  static I izero() { return vdupq_n_s32(0); }
  static I set1_int(int32_t x) { return vdupq_n_s32(x); }
  static I set1_byte(int x) { return from_bytes(vdupq_n_u8(static_cast<uint8_t>(x))); }
  static I load_bytes(const uint8_t* x) { return from_bytes(vld1q_u8(x)); }
  static void store_bytes(uint8_t* y, I x) { vst1q_u8(y, vreinterpretq_u8_s32(x)); }
  static I widen_u8(const uint8_t* x) {
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(load_four(x)))));
  }
  static I lookup(const uint8_t (&table)[16], I indices) {
    return from_bytes(vqtbl1q_u8(vld1q_u8(table), vreinterpretq_u8_s32(indices)));
  }
  static I bit_and(I a, I b) { return vandq_s32(a, b); }
  static I bit_or(I a, I b) { return vorrq_s32(a, b); }
  static I shift_right(I a, int n) {
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-n)));
  }
  static I shift_left(I a, int n) { return vshlq_s32(a, vdupq_n_s32(n)); }

  // acc + the sum of each quad of `codes` × signed `values`. Codes are signed as well: those of
  // fewer than 8 bits are not negative either way.
  static I dot_bytes(I acc, I codes, I values) {
    return vdotq_s32(acc, vreinterpretq_s8_s32(codes), vreinterpretq_s8_s32(values));
  }

  template <int kBits, int kVectors, int kRows, int kPanels, class Weights>
  [[gnu::always_inline]] static void dot(const Weights& weights, const uint32_t* x,
                                         I (&acc)[kRows][kPanels]) {
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      I w[kPanels];
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) w[p] = weights(p, j);
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) {
        const I quad = set1_int(static_cast<int>(x[j * kRows + m]));
#pragma GCC unroll 4
        for (int p = 0; p < kPanels; ++p) acc[m][p] = dot_bytes(acc[m][p], w[p], quad);
      }
    }
  }

  static float quantize_block(const float* x, int8_t* codes, int32_t& low, int32_t& high) {
    uint32x4_t peaks = vdupq_n_u32(0);  // bits of |x|: in the order of floats, NaN above all
    for (int i = 0; i < 8; ++i) {
      peaks = vmaxq_u32(peaks, vreinterpretq_u32_f32(vabsq_f32(load(x + 4 * i))));
    }
    const float peak = bits_float(vmaxvq_u32(peaks));
    const F to_code = set1(peak < kSmallestPeak ? 0.0f : 127.0f / peak);
    int32_t sums[2];
    for (int half = 0; half < 2; ++half) {
      int16x4_t words[4];
      I sum = izero();
      for (int i = 0; i < 4; ++i) {
        const I code = vcvtnq_s32_f32(mul(load(x + 16 * half + 4 * i), to_code));
        sum = vaddq_s32(sum, code);
        words[i] = vmovn_s32(code);
      }
      sums[half] = vaddvq_s32(sum);
      vst1q_s8(codes + 16 * half, vcombine_s8(vmovn_s16(vcombine_s16(words[0], words[1])),
                                              vmovn_s16(vcombine_s16(words[2], words[3]))));
    }
    low = sums[0];
    high = sums[1];
    return peak / 127.0f;
  }

  // Inlined by force: GCC takes a function that only prefetches for one without effect, and drops
  // the calls.
  [[gnu::always_inline]] static void prefetch(const uint8_t* x) { __builtin_prefetch(x); }

 private:
  static I from_bytes(uint8x16_t x) { return vreinterpretq_s32_u8(x); }
  static uint8x8_t load_four(const uint8_t* x) {
    uint32_t word;
    std::memcpy(&word, x, 4);
    return vreinterpret_u8_u32(vdup_n_u32(word));
  }
};

}  // namespace
}  // namespace ftllm
