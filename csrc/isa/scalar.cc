#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "isa/instantiate.h"
#include "isa/tables.h"

// Portable C++: eight lanes in plain loops, products and sums rounded separately.
namespace ftllm {
namespace {

struct Scalar {
  static constexpr int kLanes = 8;
  static constexpr int kTileRows = 4;
  static constexpr int kTilePanels = 1;
  static constexpr int kDirectTiles = 1;  // up to so many, unpacking in registers is faster
  static constexpr int kFloatRows = 4;
  static constexpr int kFloatPanels = 1;
  static constexpr int kScoreRows = 2;
  static constexpr bool kSignedBytes = true;

  struct F {
    float v[kLanes];
  };
  struct I {
    int32_t v[kLanes];
  };

  template <class Op>
  static F each(const Op& op) {
    F y;
    for (int i = 0; i < kLanes; ++i) y.v[i] = op(i);
    return y;
  }
  template <class Op>
  static I each_int(const Op& op) {
    I y;
    for (int i = 0; i < kLanes; ++i) y.v[i] = op(i);
    return y;
  }

  static F set1(float x) {
    return each([x](int) { return x; });
  }
  static F zero() { return set1(0.0f); }
  static F load(const float* x) {
    return each([x](int i) { return x[i]; });
  }
  static void store(float* y, F x) { std::memcpy(y, x.v, sizeof x.v); }
  static F add(F a, F b) {
    return each([&](int i) { return a.v[i] + b.v[i]; });
  }
  static F sub(F a, F b) {
    return each([&](int i) { return a.v[i] - b.v[i]; });
  }
  static F mul(F a, F b) {
    return each([&](int i) { return a.v[i] * b.v[i]; });
  }
  static F div(F a, F b) {
    return each([&](int i) { return a.v[i] / b.v[i]; });
  }
  static F fma(F a, F b, F c) {
    return each([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
  }
  static F min(F a, F b) {
    return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
  }
  static F max(F a, F b) {
    return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
  }
  static F round(F x) {
    return each([&](int i) { return std::nearbyintf(x.v[i]); });
  }
  static F pow2(F n) {
    return each(
        [&](int i) { return bits_float(static_cast<uint32_t>(std::lrintf(n.v[i]) + 127) << 23); });
  }
  static F zero_where_less(F a, F b, F value) {
    return each([&](int i) { return a.v[i] < b.v[i] ? 0.0f : value.v[i]; });
  }
  static F copy_sign(F magnitude, F sign) {
    return each([&](int i) { return std::copysign(magnitude.v[i], sign.v[i]); });
  }
  static F load_f16(const uint8_t* x) {
    return each([x](int i) { return half_to_float(load_u16(x, i)); });
  }
  static void store_f16(uint8_t* y, F x) {
    for (int i = 0; i < kLanes; ++i) {
      const uint16_t half = float_to_half(x.v[i]);
      std::memcpy(y + 2 * i, &half, 2);
    }
  }
  static F load_bf16(const uint8_t* x) {
    return each([x](int i) { return bfloat_to_float(load_u16(x, i)); });
  }
  static F load_fp8(const uint8_t* x) {
    return each([x](int i) {
      return half_to_float(static_cast<uint16_t>((x[i] & 0x80) << 8 | (x[i] & 0x7f) << 7));
    });
  }
  static F load_i8(const uint8_t* x) {
    return each([x](int i) { return static_cast<float>(static_cast<int8_t>(x[i])); });
  }
  static F load_u8(const uint8_t* x) {
    return each([x](int i) { return static_cast<float>(x[i]); });
  }
  static F to_float(I x) {
    return each([&](int i) { return static_cast<float>(x.v[i]); });
  }
  static F as_float(I bits) {
    return each([&](int i) { return bits_float(static_cast<uint32_t>(bits.v[i])); });
  }

  static I set1_int(int32_t x) {
    return each_int([x](int) { return x; });
  }
  static I izero() { return set1_int(0); }
  static I set1_byte(int x) { return set1_int(x * 0x01010101); }
  static I load_bytes(const uint8_t* x) {
    I y;
    std::memcpy(y.v, x, sizeof y.v);
    return y;
  }
  static void store_bytes(uint8_t* y, I x) { std::memcpy(y, x.v, sizeof x.v); }
  static I widen_u8(const uint8_t* x) {
    return each_int([x](int i) { return x[i]; });
  }
  static I lookup(const uint8_t (&table)[16], I indices) {
    uint8_t bytes[sizeof indices.v];
    std::memcpy(bytes, indices.v, sizeof bytes);
    for (uint8_t& byte : bytes) byte = table[byte];
    return load_bytes(bytes);
  }
  static I bit_and(I a, I b) {
    return each_int([&](int i) { return a.v[i] & b.v[i]; });
  }
  static I bit_or(I a, I b) {
    return each_int([&](int i) { return a.v[i] | b.v[i]; });
  }
  static I shift_right(I a, int n) {
    return each_int(
        [&](int i) { return static_cast<int32_t>(static_cast<uint32_t>(a.v[i]) >> n); });
  }
  static I shift_left(I a, int n) {
    return each_int(
        [&](int i) { return static_cast<int32_t>(static_cast<uint32_t>(a.v[i]) << n); });
  }

  // acc + the sum of each quad of unsigned `codes` × signed `values`; wraps around.
  static I dot_bytes(I acc, I codes, I values) {
    return each_int([&](int i) {
      auto sum = static_cast<uint32_t>(acc.v[i]);
      for (int shift = 0; shift < 32; shift += 8) {
        const auto code = static_cast<uint8_t>(static_cast<uint32_t>(codes.v[i]) >> shift);
        const auto value = static_cast<int8_t>(static_cast<uint32_t>(values.v[i]) >> shift);
        sum += static_cast<uint32_t>(code * value);
      }
      return static_cast<int32_t>(sum);
    });
  }

  template <int kBits, int kVectors, int kRows, int kPanels, class Weights>
  static void dot(const Weights& weights, const uint32_t* x, I (&acc)[kRows][kPanels]) {
    for (int j = 0; j < kVectors; ++j) {
      static_assert(kPanels == 1);
      const I w = weights(0, j);
      for (int m = 0; m < kRows; ++m) {
        int8_t quad[4];
        std::memcpy(quad, x + j * kRows + m, 4);
        for (int i = 0; i < kLanes; ++i) {
          for (int byte = 0; byte < 4; ++byte) {
            // Codes of fewer than 8 bits are not negative either way.
            const auto code = static_cast<int8_t>(static_cast<uint32_t>(w.v[i]) >> (8 * byte));
            acc[m][0].v[i] += code * quad[byte];
          }
        }
      }
    }
  }

  static float quantize_block(const float* x, int8_t* codes, int32_t& low, int32_t& high) {
    uint32_t peak_bits = 0;  // of |x|: in the order of floats, NaN above all
    for (int k = 0; k < 32; ++k) {
      const uint32_t bits = float_bits(std::fabs(x[k]));
      peak_bits = bits > peak_bits ? bits : peak_bits;
    }
    const float peak = bits_float(peak_bits);
    const float to_code = peak < kSmallestPeak ? 0.0f : 127.0f / peak;
    int32_t sums[2] = {0, 0};
    for (int k = 0; k < 32; ++k) {
      codes[k] = static_cast<int8_t>(std::lrintf(x[k] * to_code));
      sums[k / 16] += codes[k];
    }
    low = sums[0];
    high = sums[1];
    return peak / 127.0f;
  }

  [[gnu::always_inline]] static void prefetch(const uint8_t*) {}

 private:
  static uint16_t load_u16(const uint8_t* x, int i) {
    uint16_t y;
    std::memcpy(&y, x + 2 * i, 2);
    return y;
  }
};

}  // namespace

constexpr KernelTable kScalarTable = make_kernel_table<Scalar>("scalar");

}  // namespace ftllm
