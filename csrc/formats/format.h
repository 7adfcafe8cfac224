#pragma once

#include <cstddef>
#include <cstdint>

// What a weight format is made of.
//
// A weight matrix W has N output rows and K columns. It is packed into panels of NR consecutive
// rows (NR = the SIMD lanes of the ISA that will read it), each a sequence of records along K, so
// that lanes run over output rows and every output is summed over K in one fixed order.
//
// Float formats (f32, f16, bf16): element k of the NR rows, then element k + 1, …
//
// Block formats hold unsigned codes and shared scales: value = scale · (code − kOffset) + min. A
// format struct says
//   kBlock    columns of one source block, and of one packed record
//   kGroup    columns that share a scale: 16, or a multiple of 32
//   kBits     width of a code: 4, 5, 6 or 8
//   kOffset   the code that stands for zero (0 where a min exists)
//   Scales    how scales and mins are stored: FlatScales or TwoLevelScales
//   Source    the block as it lies in a file, with decode() and quantize()
// and nothing else: packing, dequantization and every kernel are generic over it. Its activation
// partner is always the same: int8 blocks of 32 with a float scale (kernels/activations.h).

namespace ftllm {

// A source block taken apart. Scales are IEEE binary16 bits.
struct DecodedBlock {
  uint8_t codes[256];
  uint16_t scale = 0;
  uint16_t min = 0;
  uint8_t group_scale[16] = {};  // TwoLevelScales only: multiplies `scale` (int8 or uint8)
  uint8_t group_min[16] = {};    // TwoLevelScales only: multiplies −`min`
};

// Codes of 32 columns × NR rows as byte vectors. Vector j (0 to 7) holds, for each row, the codes
// of columns 4j to 4j + 3 in consecutive bytes: the operand of an 8-bit dot product.
//   nibbles   vectors 0–3: low four bits of j, high four bits of j + 4
//   1-bit     one vector: bit j of a byte is bit 4 of the code in vector j
//   2-bit     two vectors h0, h1: bits 2(j mod 4) of h(j / 4) are bits 4–5 of the code
//   8 bits    eight vectors, as two's complement code − 128
template <int kBits>
struct CodePlanes {
  static_assert(kBits == 4 || kBits == 5 || kBits == 6 || kBits == 8);
  static constexpr int kVectors = kBits == 8 ? 8 : kBits == 4 ? 4 : kBits == 5 ? 5 : 6;

  static constexpr size_t bytes(int nr) { return static_cast<size_t>(kVectors) * 4 * nr; }

  static void put(uint8_t* planes, int nr, int row, int column, uint8_t code) {
    const int j = column / 4;
    const size_t stride = 4 * static_cast<size_t>(nr);
    const size_t at = 4 * static_cast<size_t>(row) + static_cast<size_t>(column % 4);
    if constexpr (kBits == 8) {
      planes[stride * j + at] = code ^ 0x80;
    } else {
      planes[stride * (j % 4) + at] |= static_cast<uint8_t>((code & 15) << (j / 4 * 4));
      if constexpr (kBits == 5) planes[stride * 4 + at] |= static_cast<uint8_t>((code >> 4) << j);
      if constexpr (kBits == 6) {
        planes[stride * (4 + j / 4) + at] |= static_cast<uint8_t>((code >> 4) << (j % 4 * 2));
      }
    }
  }

  static uint8_t get(const uint8_t* planes, int nr, int row, int column) {
    const int j = column / 4;
    const size_t stride = 4 * static_cast<size_t>(nr);
    const size_t at = 4 * static_cast<size_t>(row) + static_cast<size_t>(column % 4);
    if constexpr (kBits == 8) {
      return planes[stride * j + at] ^ 0x80;
    } else {
      int code = (planes[stride * (j % 4) + at] >> (j / 4 * 4)) & 15;
      if constexpr (kBits == 5) code |= ((planes[stride * 4 + at] >> j) & 1) << 4;
      if constexpr (kBits == 6)
        code |= ((planes[stride * (4 + j / 4) + at] >> (j % 4 * 2)) & 3) << 4;
      return static_cast<uint8_t>(code);
    }
  }

  // Vector j as unsigned codes (kBits = 8: as signed bytes, code − 128).
  template <class Isa>
  static typename Isa::I load(const uint8_t* planes, int j) {
    constexpr int stride = 4 * Isa::kLanes;
    if constexpr (kBits == 8) {
      return Isa::load_bytes(planes + stride * j);
    } else {
      typename Isa::I nibbles = Isa::load_bytes(planes + stride * (j % 4));
      if (j >= 4) nibbles = Isa::shift_right(nibbles, 4);
      typename Isa::I codes = Isa::bit_and(nibbles, Isa::set1_byte(15));
      if constexpr (kBits == 5) {
        const auto high = Isa::shift_right(Isa::load_bytes(planes + stride * 4), j);
        codes = Isa::bit_or(codes, Isa::shift_left(Isa::bit_and(high, Isa::set1_byte(1)), 4));
      }
      if constexpr (kBits == 6) {
        const auto plane = Isa::load_bytes(planes + stride * (4 + j / 4));
        const auto high = Isa::shift_right(plane, j % 4 * 2);
        codes = Isa::bit_or(codes, Isa::shift_left(Isa::bit_and(high, Isa::set1_byte(3)), 4));
      }
      return codes;
    }
  }
};

}  // namespace ftllm
