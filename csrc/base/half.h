#pragma once

#include <cstdint>
#include <cstring>

// Scalar conversions between float and the 16-bit formats. Internal linkage on purpose: ISA units
// include this header, and no copy of theirs may be picked by the linker for the rest.
namespace ftllm {

static inline uint32_t float_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float bits_float(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// IEEE 754 binary16 -> binary32, exact.
static inline float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t exponent = (h >> 10) & 0x1fu;
  const uint32_t mantissa = h & 0x3ffu;
  if (exponent == 31) return bits_float(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return bits_float(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return bits_float(sign | float_bits(magnitude));
}

// binary32 -> binary16, round to nearest even; overflow becomes infinity.
static inline uint16_t float_to_half(float x) {
  const uint32_t bits = float_bits(x);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {  // subnormal: let the FPU round at 2^-24
    const float shifted = bits_float(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (float_bits(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u;
  return static_cast<uint16_t>(sign | (rounded >> 13));
}

static inline float bfloat_to_float(uint16_t b) {
  return bits_float(static_cast<uint32_t>(b) << 16);
}

// binary32 -> bfloat16, round to nearest even.
static inline uint16_t float_to_bfloat(float x) {
  const uint32_t bits = float_bits(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// FP8 E4M3 (OCP 8-bit floating point 1.0: bias 7, no infinities) -> binary32, exact.
static inline float fp8_to_float(uint8_t x) {
  if ((x & 0x7f) == 0x7f) return bits_float(0x7fc00000u);
  return 256.0f * half_to_float(static_cast<uint16_t>((x & 0x80) << 8 | (x & 0x7f) << 7));
}

// binary32 -> FP8 E4M3, round to nearest even; what is too large becomes ±448.
static inline uint8_t float_to_fp8(float x) {
  const uint32_t bits = float_bits(x);
  const uint32_t sign = (bits >> 24) & 0x80u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint8_t>(sign | 0x7fu);
  if (magnitude >= 0x43e00000u) return static_cast<uint8_t>(sign | 0x7eu);
  if (magnitude < 0x3c800000u) {  // subnormal: let the FPU round at 2^-9
    const float shifted = bits_float(magnitude) + 0x1p14f;
    return static_cast<uint8_t>(sign | (float_bits(shifted) - 0x46800000u));
  }
  const uint32_t rounded = magnitude + 0x7ffffu + ((magnitude >> 20) & 1u) - 0x3c000000u;
  return static_cast<uint8_t>(sign | (rounded >> 20));
}

}  // namespace ftllm
