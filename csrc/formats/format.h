#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

// What a weight format is made of.
//
// A weight matrix W has N output rows and K columns. It is packed into panels of NR consecutive
// rows (NR = the SIMD lanes of the ISA that will read it), each a sequence of records along K, so
// that lanes run over output rows and every output is summed over K in one fixed order.
//
// Float formats (f32, f16, bf16): element k of the NR rows, then element k + 1, … fp8 has records
// of 128 columns besides, with a scale for each row.
//
// Block formats hold unsigned codes and shared scales: value = scale · (code − kOffset) + min, or
// scale · kCodebook[code]. A format struct says
//   kBlock    columns of one source block, and of one packed record
//   kGroup    columns that share a scale: 16, or a multiple of 32
//   kBits     width of a code: 2, 3, 4, 5, 6 or 8
//   kOffset   the code that stands for zero (0 where a min exists), or else
//   kCodebook what each code of up to 4 bits stands for
//   Scales    how scales and mins are stored: one of formats/scales.h
//   Source    the block as it lies in a file, with decode() and quantize()
//   kPadded   true where a row of Source may end within its last block (optional)
// and nothing else: packing, dequantization and every kernel are generic over it. Its activation
// partner is always the same: int8 blocks of 32 with a float scale (kernels/activations.h).

namespace ftllm {

// A source block taken apart. Scales are IEEE binary16 bits, unless the format's Scales say else.
struct DecodedBlock {
  uint8_t codes[256];
  uint16_t scale = 0;
  uint16_t min = 0;
  float wide_scale = 0.0f;       // Fp8Scales only
  uint8_t group_scale[16] = {};  // TwoLevelScales only: multiplies `scale` (int8 or uint8)
  uint8_t group_min[16] = {};    // TwoLevelScales only: multiplies −`min`
};

// Codes of 32 columns × NR rows as byte vectors. Vector j (0 to 7) holds, for each row, the codes
// of columns 4j to 4j + 3 in consecutive bytes: the operand of an 8-bit dot product.
//   2 bits    two vectors l0, l1: bits 2(j mod 4) of l(j / 4) are bits 0–1 of the code
//   3 bits    the same, then one vector: bit j of a byte is bit 2 of the code
//   nibbles   vectors 0–3: low four bits of j, high four bits of j + 4
//   1-bit     one vector: bit j of a byte is bit 4 of the code in vector j
//   2-bit     two vectors h0, h1: bits 2(j mod 4) of h(j / 4) are bits 4–5 of the code
//   8 bits    eight vectors, as two's complement code − 128
template <int kBits>
struct CodePlanes {
  static_assert(kBits == 2 || kBits == 3 || kBits == 4 || kBits == 5 || kBits == 6 || kBits == 8);
  static constexpr int kVectors = kBits;
  static constexpr int kLowBits = kBits < 4 ? 2 : 4;  // of the first vectors
  static constexpr int kLowVectors = 2 * kLowBits;    // of as many

  static constexpr size_t bytes(int nr) { return static_cast<size_t>(kVectors) * 4 * nr; }

  // One row's 32 codes, four columns at a time: bytes of a word stay in their places.
  static void put(uint8_t* planes, int nr, int row, const uint8_t* codes) {
    uint32_t words[8];
    std::memcpy(words, codes, sizeof words);
    const auto store = [&](int vector, uint32_t word) {
      std::memcpy(planes + 4 * (static_cast<size_t>(nr) * vector + row), &word, sizeof word);
    };
    // `bits` bits from `low` on of words first, first + step, …, one beside the other.
    const auto gather = [&](int first, int step, int low, int bits) {
      const uint32_t mask = ((1U << bits) - 1) * 0x01010101;
      uint32_t word = 0;
      for (int i = 0; i < 8 / bits; ++i) {
        word |= (words[first + i * step] >> low & mask) << (i * bits);
      }
      return word;
    };
    if constexpr (kBits == 8) {
      for (int j = 0; j < 8; ++j) store(j, words[j] ^ 0x80808080);
    } else if constexpr (kBits < 4) {
      for (int v = 0; v < 2; ++v) store(v, gather(4 * v, 1, 0, 2));
    } else {
      for (int v = 0; v < 4; ++v) store(v, gather(v, 4, 0, 4));
    }
    if constexpr (kBits == 3) store(2, gather(0, 1, 2, 1));
    if constexpr (kBits == 5) store(4, gather(0, 1, 4, 1));
    if constexpr (kBits == 6) {
      for (int h = 0; h < 2; ++h) store(4 + h, gather(4 * h, 1, 4, 2));
    }
  }

  static uint8_t get(const uint8_t* planes, int nr, int row, int column) {
    const int j = column / 4;
    const size_t stride = 4 * static_cast<size_t>(nr);
    const uint8_t* at = planes + 4 * static_cast<size_t>(row) + static_cast<size_t>(column % 4);
    const auto bits = [&](int vector, int shift, int mask) {
      return at[stride * vector] >> shift & mask;
    };
    int code = 0;
    if constexpr (kBits == 8) code = at[stride * j] ^ 0x80;
    if constexpr (kBits < 4) code = bits(j / 4, j % 4 * 2, 3);
    if constexpr (kBits == 3) code |= bits(2, j, 1) << 2;
    if constexpr (kBits >= 4 && kBits <= 6) code = bits(j % 4, j / 4 * 4, 15);
    if constexpr (kBits == 5) code |= bits(4, j, 1) << 4;
    if constexpr (kBits == 6) code |= bits(4 + j / 4, j % 4 * 2, 3) << 4;
    return static_cast<uint8_t>(code);
  }

  // Vector j as unsigned codes (kBits = 8: as signed bytes, code − 128).
  template <class Isa>
  static typename Isa::I load(const uint8_t* planes, int j) {
    using I = typename Isa::I;
    constexpr int stride = 4 * Isa::kLanes;
    // The bits of `mask` after a shift to the left (to the right where it is negative). What a
    // shift brings over from the neighbouring byte lies outside of `mask`.
    const auto bits = [&](int vector, int shift, int mask) {
      I byte = Isa::load_bytes(planes + stride * vector);
      if (shift > 0) byte = Isa::shift_left(byte, shift);
      if (shift < 0) byte = Isa::shift_right(byte, -shift);
      return Isa::bit_and(byte, Isa::set1_byte(mask));
    };
    if constexpr (kBits == 8) {
      return Isa::load_bytes(planes + stride * j);
    } else {
      I codes = kBits < 4 ? bits(j / 4, -(j % 4 * 2), 3) : bits(j % 4, -(j / 4 * 4), 15);
      if constexpr (kBits == 3) codes = Isa::bit_or(codes, bits(2, 2 - j, 4));
      if constexpr (kBits == 5) codes = Isa::bit_or(codes, bits(4, 4 - j, 16));
      if constexpr (kBits == 6) codes = Isa::bit_or(codes, bits(4 + j / 4, 4 - j % 4 * 2, 0x30));
      return codes;
    }
  }
};

struct Codebook {
  int8_t values[16];
};

// What the dot products of a format multiply: its codes, or the values that they stand for in its
// codebook. A codebook of up to 128 different steps gives unsigned operands, offset by its lowest
// value; a wider one signed bytes, like codes of 8 bits.
template <class Format>
struct Operands {
  using Planes = CodePlanes<Format::kBits>;
  static constexpr int kBits = Format::kBits;
  static constexpr int kOffset = Format::kOffset;

  static constexpr int value(int code) { return code - kOffset; }

  template <class Isa>
  [[gnu::always_inline]] static typename Isa::I load(const uint8_t* planes, int j) {
    return Planes::template load<Isa>(planes, j);
  }
};

template <class Format>
  requires requires { Format::kCodebook; }
struct Operands<Format> {
  using Planes = CodePlanes<Format::kBits>;
  static constexpr int extreme(int sign) {
    int found = 0;
    for (const int8_t entry : Format::kCodebook.values) {
      if (sign * entry > sign * found) found = entry;
    }
    return found;
  }
  static constexpr int kSpan = extreme(1) - extreme(-1);
  static constexpr int bit_width(int span) { return span == 0 ? 0 : 1 + bit_width(span / 2); }
  static constexpr int kBits = kSpan < 128 ? bit_width(kSpan) : 8;
  static constexpr int kOffset = kBits == 8 ? 128 : -extreme(-1);

  static constexpr int value(int code) { return Format::kCodebook.values[code]; }

  struct Table {
    uint8_t bytes[16];
  };
  static constexpr Table make_table() {
    Table table{};
    for (int code = 0; code < 16; ++code) {
      table.bytes[code] = static_cast<uint8_t>(value(code) + (kBits == 8 ? 0 : kOffset));
    }
    return table;
  }

  template <class Isa>
  [[gnu::always_inline]] static typename Isa::I load(const uint8_t* planes, int j) {
    alignas(16) static constexpr Table kTable = make_table();
    return Isa::lookup(kTable.bytes, Planes::template load<Isa>(planes, j));
  }
};

}  // namespace ftllm
