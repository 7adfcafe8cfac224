#pragma once

#include <immintrin.h>

#include <cstdint>

#include "isa/avx512vnni_vectors.h"
#include "kernels/linear_block.h"

// Linear layers over block formats in AMX's tiles of int8.
//
// A tile product is dot[n][m] = Σ_k codes[n][k] · x[m][k] over the 16 output rows n of a panel, up
// to 16 activation rows m, and the columns k of one group. The activations are its second operand
// as quantize_rows leaves them: quad j of all rows is row j of the tile. The codes are unpacked for
// it, each less its offset, 32 bytes after 32 bytes. Sums in integers are exact, and the floats
// meet them in the order of block_tile, so that the bits are those of the kernels for few rows.
namespace ftllm {
namespace {

constexpr int kAmxRows = 16;  // activation rows of a tile at most
constexpr int kAmxFewestRows =
    7;  // fewer are left to VNNI; loads of 16 rows then stay in the block

// The operand of LDTILECFG (Intel SDM, "Intel AMX: tile configuration").
struct alignas(64) TileShapes {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

// The numbers of tile registers are part of the instruction: 0 the product, 1 and 2 the codes and
// the activations of a group of 32 columns or more, 3 and 4 those of a group of 16.
constexpr TileShapes kTileShapes = {.palette = 1,
                                    .start_row = 0,
                                    .reserved = {},
                                    .row_bytes = {64, 32, 64, 16, 64},
                                    .rows = {16, 16, 8, 16, 4}};

// Row r of a tile of codes is output row amx_lane(r) of the panel: what leaves a transposition of
// 4 × 4 within the quarters of a vector.
constexpr int amx_lane(int r) { return r % 4 * 4 + r / 4; }

// A panel unpacked for tiles: for each activation block 16 rows of 32 bytes of codes, then the
// scales of its groups, then their mins.
template <class Format>
struct TileSource {
  using Isa = Avx512VnniVectors;
  using I = Isa::I;
  using Shape = ShapeOf<Format>;
  using Packed = PackedSource<Isa, Format>;

  static void transpose(const I (&codes)[8], uint8_t* to) {
    const I first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const I second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    I quarters[2][4];  // [half][i]: quads 4 · half … of output row i of each quarter
    for (int half = 0; half < 2; ++half) {
      const I* from = codes + 4 * half;
      const I a = _mm512_unpacklo_epi32(from[0], from[1]);
      const I b = _mm512_unpackhi_epi32(from[0], from[1]);
      const I c = _mm512_unpacklo_epi32(from[2], from[3]);
      const I d = _mm512_unpackhi_epi32(from[2], from[3]);
      quarters[half][0] = _mm512_unpacklo_epi64(a, c);
      quarters[half][1] = _mm512_unpackhi_epi64(a, c);
      quarters[half][2] = _mm512_unpacklo_epi64(b, d);
      quarters[half][3] = _mm512_unpackhi_epi64(b, d);
    }
    for (int i = 0; i < 4; ++i) {
      const I low = quarters[0][i];
      const I high = quarters[1][i];
      Isa::store_bytes(to + 128 * i, _mm512_permutex2var_epi64(low, first, high));
      Isa::store_bytes(to + 128 * i + 64, _mm512_permutex2var_epi64(low, second, high));
    }
  }

  static void unpack(const uint8_t* panel, int64_t blocks, uint8_t* to) {
    // Codes of 8 bits are packed without their offset.
    constexpr int kOffset = Shape::kBits == 8 ? 0 : Shape::kOffset;
    for (int64_t block = 0; block < blocks; panel += Packed::kBytes) {
      const Packed from(panel);
      for (int b = 0; b < Packed::kBlocks && block < blocks; ++b, ++block) {
        I codes[8];
#pragma GCC unroll 8
        for (int j = 0; j < 8; ++j) {
          codes[j] = _mm512_sub_epi8(from.codes(b, j), Isa::set1_byte(kOffset));
        }
        transpose(codes, to);
        auto* floats = reinterpret_cast<float*>(to + 8 * 64);
#pragma GCC unroll 2
        for (int part = 0; part < Shape::kParts; ++part) {
          Isa::store(floats + part * 16, from.scale(b, part));
          if constexpr (Shape::kHasMin) {
            Isa::store(floats + (Shape::kParts + part) * 16, from.min(b, part));
          }
        }
        to += UnpackedSource<Isa, Shape>::kBytes;
      }
    }
  }
};

// One unpacked panel p × the tile of `rows` activation rows that begins at `row`.
template <class Shape>
void amx_tile(const LinearTask& task, int64_t p, int64_t row, int rows) noexcept {
  using Isa = Avx512VnniVectors;
  using F = Isa::F;
  const int64_t blocks = (task.columns + kActivationBlock - 1) / kActivationBlock;
  const uint8_t* tile = task.tiles + row * blocks * kActivationBlockBytes;
  const uint8_t* codes = task.scratch;
  const auto mask = static_cast<__mmask16>((1 << rows) - 1);
  alignas(64) int32_t dot[16][16];
  F acc[16];  // of output row amx_lane(r); lanes are activation rows
  for (F& lane : acc) lane = Isa::zero();
  for (int64_t block = 0; block < blocks; ++block, codes += UnpackedSource<Isa, Shape>::kBytes) {
    const ActivationBlock x(tile, block, rows);
    const F x_scale = _mm512_maskz_loadu_ps(mask, x.scale);
    const auto* floats = reinterpret_cast<const float*>(codes + 8 * 64);
#pragma GCC unroll 2
    for (int part = 0; part < Shape::kParts; ++part) {
      _tile_zero(0);
      if constexpr (Shape::kParts == 1) {
        _tile_loadd(1, codes, 32);
        _tile_loadd(2, x.quads, 4 * rows);
        _tile_dpbssd(0, 1, 2);
      } else {
        _tile_loadd(3, codes + 16 * part, 32);
        _tile_loadd(4, x.quads + 4 * part * rows, 4 * rows);
        _tile_dpbssd(0, 3, 4);
      }
      _tile_stored(0, dot, 64);
      const float* scales = floats + part * 16;
#pragma GCC unroll 16
      for (int r = 0; r < 16; ++r) {
        const F product = Isa::to_float(_mm512_load_si512(dot[r]));
        acc[r] = Isa::fma(product, Isa::mul(Isa::set1(scales[amx_lane(r)]), x_scale), acc[r]);
      }
      if constexpr (Shape::kHasMin) {
        const float* mins = floats + (Shape::kParts + part) * 16;
        F x_sum;
        if constexpr (Shape::kParts == 1) {
          x_sum = _mm512_maskz_loadu_ps(mask, x.sum);
        } else {
          const auto sums = _mm512_maskz_loadu_epi32(mask, part == 0 ? x.low : x.high);
          x_sum = Isa::mul(x_scale, Isa::to_float(sums));
        }
#pragma GCC unroll 16
        for (int r = 0; r < 16; ++r) {
          acc[r] = Isa::fma(Isa::set1(mins[amx_lane(r)]), x_sum, acc[r]);
        }
      }
    }
  }
  alignas(64) float turned[16][16];  // (output row, activation row)
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) Isa::store(turned[amx_lane(r)], acc[r]);
  const auto column =
      _mm512_setr_epi32(0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240);
  for (int m = 0; m < rows; ++m) {
    store_panel<Isa>(task, row + m, p, _mm512_i32gather_ps(column, turned[0] + m, 4));
  }
}

template <class Format>
void amx_linear(const LinearTask& task) noexcept {
  const int64_t rows = task.row_end - task.row_begin;
  const int64_t few = rows % kAmxRows < kAmxFewestRows ? rows % kAmxRows : 0;
  if (rows > few) {
    const int64_t blocks = (task.columns + kActivationBlock - 1) / kActivationBlock;
    _tile_loadconfig(&kTileShapes);
    for (int64_t p = task.panel_begin; p < task.panel_end; ++p) {
      TileSource<Format>::unpack(task.panels + p * task.panel_bytes, blocks, task.scratch);
      asm volatile("" ::: "memory");  // tile loads do not say that they read
      for (int64_t row = task.row_begin; row < task.row_end - few; row += kAmxRows) {
        const int64_t left = task.row_end - row;
        amx_tile<ShapeOf<Format>>(task, p, row,
                                  static_cast<int>(left < kAmxRows ? left : kAmxRows));
      }
    }
    _tile_release();
  }
  if (few > 0) {
    LinearTask rest = task;
    rest.row_begin = task.row_end - few;
    linear_packed<Avx512VnniVectors, Format>(rest);
  }
}

}  // namespace
}  // namespace ftllm
