#pragma once

#include "kernels/activations.h"
#include "kernels/store.h"

// Linear layers over block formats: int8 activations × packed codes, in integers within a group and
// in float across groups, group after group in order of K.
namespace ftllm {

// One panel × one tile of kRows activation rows.
template <class Isa, class Format, int kRows>
[[gnu::always_inline]] inline void block_tile(const uint8_t* panel, int64_t blocks,
                                              const uint8_t* tile, typename Isa::F (&acc)[kRows]) {
  using F = typename Isa::F;
  using I = typename Isa::I;
  using Planes = CodePlanes<Format::kBits>;
  constexpr int kGroupVectors = Format::kGroup >= 32 ? 8 : Format::kGroup / 4;
  constexpr int kBits = Operands<Format>::kBits;
  constexpr int kOffset = kBits == 8 && Isa::kSignedBytes ? 0 : Operands<Format>::kOffset;
  constexpr int kBlocksPerRecord = Format::kBlock / kActivationBlock;

  for (int m = 0; m < kRows; ++m) acc[m] = Isa::zero();
  const uint8_t* record = panel;
  for (int64_t block = 0; block < blocks; record += record_bytes<Format>(Isa::kLanes)) {
    const typename Format::Scales::template Loader<Isa> scales(
        record + kBlocksPerRecord * Planes::bytes(Isa::kLanes));
    Isa::prefetch(record + 2 * record_bytes<Format>(Isa::kLanes));
    for (int b = 0; b < kBlocksPerRecord && block < blocks; ++b, ++block) {
      const uint8_t* planes = record + b * Planes::bytes(Isa::kLanes);
      const ActivationBlock x(tile, block, kRows);
#pragma GCC unroll 2
      for (int part = 0; part < 8 / kGroupVectors; ++part) {
        const int group = b * kActivationBlock / Format::kGroup + part;
        const int32_t* sums = kGroupVectors == 8 ? x.total : part == 0 ? x.low : x.high;
        I dot[kRows];
#pragma GCC unroll 16
        for (int m = 0; m < kRows; ++m) {
          dot[m] = kOffset == 0 ? Isa::izero() : Isa::set1_int(-kOffset * sums[m]);
        }
        Isa::template dot<kBits, kGroupVectors, kRows>(
            [&](int j) [[gnu::always_inline]] {
              return Operands<Format>::template load<Isa>(planes, part * kGroupVectors + j);
            },
            x.quads + part * kGroupVectors * kRows, dot);
        const F scale = scales.scale(group);
#pragma GCC unroll 16
        for (int m = 0; m < kRows; ++m) {
          const F scaled = Isa::mul(scale, Isa::set1(x.scale[m]));
          acc[m] = Isa::fma(Isa::to_float(dot[m]), scaled, acc[m]);
        }
        if constexpr (Format::Scales::kHasMin) {
          const F min = scales.min(group);
#pragma GCC unroll 16
          for (int m = 0; m < kRows; ++m) {
            const F sum = kGroupVectors == 8 ? Isa::set1(x.sum[m])
                                             : Isa::set1(x.scale[m] * static_cast<float>(sums[m]));
            acc[m] = Isa::fma(min, sum, acc[m]);
          }
        }
      }
    }
  }
}

template <class Isa, class Format, int kRows>
void linear_block_rows(const LinearTask& task, int64_t row) noexcept {
  const int64_t blocks = (task.columns + kActivationBlock - 1) / kActivationBlock;
  const uint8_t* tile = task.tiles + row * blocks * kActivationBlockBytes;
  for (int64_t p = task.panel_begin; p < task.panel_end; ++p) {
    typename Isa::F acc[kRows];
    block_tile<Isa, Format, kRows>(task.panels + p * task.panel_bytes, blocks, tile, acc);
    for (int m = 0; m < kRows; ++m) store_panel<Isa>(task, row + m, p, acc[m]);
  }
}

// A compile-time loop over the sizes of the last, smaller tile.
template <class Isa, class Format, int kRows>
void linear_block_tail(const LinearTask& task, int64_t row, int rows) noexcept {
  if constexpr (kRows > 0) {
    if (rows == kRows) {
      linear_block_rows<Isa, Format, kRows>(task, row);
    } else {
      linear_block_tail<Isa, Format, kRows - 1>(task, row, rows);
    }
  }
}

template <class Isa, class Format>
void linear_block(const LinearTask& task) noexcept {
  constexpr int kRows = Isa::kTileRows;
  int64_t row = task.row_begin;
  for (; row + kRows <= task.row_end; row += kRows) {
    linear_block_rows<Isa, Format, kRows>(task, row);
  }
  linear_block_tail<Isa, Format, kRows - 1>(task, row, static_cast<int>(task.row_end - row));
}

}  // namespace ftllm
