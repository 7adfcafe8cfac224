#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

// Four floats at a time, for loops over a vocabulary. The width is fixed, and with it the order of
// every sum, so that a draw does not depend on the processor. (A vector extension of GCC and Clang;
// every 64-bit processor has a register of this size, so no dispatch is needed.)
namespace ftllm::lanes {

using Floats [[gnu::vector_size(16)]] = float;
using Ints [[gnu::vector_size(16)]] = int32_t;
using Bits [[gnu::vector_size(16)]] = uint32_t;

inline constexpr size_t kWidth = 4;
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kLargest = std::numeric_limits<float>::max();

inline Floats all(float value) { return Floats{value, value, value, value}; }

// values[0 .. min(count, 4)), the other lanes filled with `fill`.
inline Floats load(const float* values, size_t count, float fill) {
  Floats result = all(fill);
  if (count >= kWidth) {
    std::memcpy(&result, values, sizeof(result));
  } else {
    for (size_t i = 0; i < count; ++i) result[i] = values[i];
  }
  return result;
}

inline void store(Floats lanes, float* values, size_t count) {
  if (count >= kWidth) {
    std::memcpy(values, &lanes, sizeof(lanes));
  } else {
    for (size_t i = 0; i < count; ++i) values[i] = lanes[i];
  }
}

// Where a > b, a; elsewhere b. So a NaN in `a` is passed over.
inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }

// NaN becomes -inf and +inf the largest finite float; other values stay.
inline Floats clean(Floats x) {
  const Floats finite = x < all(kLargest) ? x : all(kLargest);
  return x == x ? finite : all(-kInfinity);
}

// Calls body(i, count, slot) for i = 0, 4, 8 …; count is the constant 4 but in a last, partial
// call, so that loads and stores of `count` lanes compile to one instruction. The slot alternates
// between 0 and 1: sums kept in two slots do not wait for each other.
template <class Body>
void for_each(size_t size, const Body& body) {
  constexpr std::integral_constant<size_t, kWidth> kWhole;
  size_t i = 0;
  for (; i + 2 * kWidth <= size; i += 2 * kWidth) {
    body(i, kWhole, 0);
    body(i + kWidth, kWhole, 1);
  }
  for (; i < size; i += kWidth) body(i, size - i, 0);
}

inline float sum(Floats x) { return (x[0] + x[2]) + (x[1] + x[3]); }

inline float largest(Floats x) {
  const float a = x[0] > x[1] ? x[0] : x[1];
  const float b = x[2] > x[3] ? x[2] : x[3];
  return a > b ? a : b;
}

// e^x for x <= 0, -inf included, to 3e-7 relative; 0 below -87, where float32 turns subnormal (and
// where whatever the steps before gave is dropped).
// x = n ln2 + r with |r| <= ln2 / 2; e^r by its Taylor series to r^6 (remainder below
// 1.3e-7).
inline Floats exp(Floats x) {
  constexpr float kLog2E = 1.44269504F;
  constexpr float kRound = 12582912.0F;     // 1.5 * 2^23: adding it rounds to an integer
  constexpr float kLn2High = 0.693359375F;  // 9 bits: n * kLn2High is exact
  constexpr float kLn2Low = -2.12194440e-4F;
  constexpr float kLowest = -87.0F;
  const Floats shifted = x * kLog2E + kRound;
  const Floats n = shifted - kRound;
  const Floats r = (x - n * kLn2High) - n * kLn2Low;
  Floats p = r * (1.0F / 720) + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  constexpr uint32_t kExponentBias = 127;
  // The last bits of `shifted` are n; the shift drops all others.
  const Bits exponent = (std::bit_cast<Bits>(shifted) + kExponentBias) << 23;
  return x < all(kLowest) ? all(0.0F) : p * std::bit_cast<Floats>(exponent);
}

}  // namespace ftllm::lanes
