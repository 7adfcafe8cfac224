#pragma once

#include "kernels/activations.h"
#include "kernels/store.h"

// Linear layers over block formats: int8 activations × packed codes, in integers within a group and
// in float across groups, group after group in order of K.
//
// The inner loop takes a tile of rows × panels and reads the weights through a source: as packed,
// unpacking in registers (few rows), or from panels unpacked once into scratch memory (many rows).
// The arithmetic is the same, so that results do not depend on which one ran.
namespace ftllm {

// What the arithmetic of a format depends on. Formats of one shape share the kernels for many rows.
template <int kCodeBits, int kVectorsOfGroup, bool kMin, int kZero>
struct CodeShape {
  static constexpr int kBits = kCodeBits;
  static constexpr int kVectors = kVectorsOfGroup;  // vectors of codes with one scale, in a block
  static constexpr int kParts = 8 / kVectors;       // groups that begin in one activation block
  static constexpr bool kHasMin = kMin;
  static constexpr int kOffset = kZero;
};

template <class Format>
using ShapeOf =
    CodeShape<Operands<Format>::kBits, (Format::kGroup < kActivationBlock ? Format::kGroup / 4 : 8),
              Format::Scales::kHasMin, Operands<Format>::kOffset>;

// How far ahead of the record in use a packed panel is fetched.
constexpr int64_t kPrefetchBytes = 2048;

// A panel as it is packed: records of kBlock columns.
template <class Isa, class Format>
struct PackedSource {
  using Planes = CodePlanes<Format::kBits>;
  static constexpr int kBlocks = Format::kBlock / kActivationBlock;  // activation blocks a record
  static constexpr int64_t kBytes = record_bytes<Format>(Isa::kLanes);

  const uint8_t* record;
  typename Format::Scales::template Loader<Isa> scales;

  [[gnu::always_inline]] explicit PackedSource(const uint8_t* at)
      : record(at), scales(at + kBlocks * Planes::bytes(Isa::kLanes)) {}
  // Fetches what lies kPrefetchBytes behind a block's share of the record. Every line, since the
  // hardware's prefetchers fall behind when there is arithmetic between the loads; and block by
  // block, since a whole record's lines at once would hold up the loads.
  [[gnu::always_inline]] void prefetch(int block) const {
    constexpr int64_t kShare = kBytes / kBlocks;
#pragma GCC unroll 8
    for (int64_t line = 0; line < kShare; line += 64) {
      Isa::prefetch(record + kPrefetchBytes + block * kShare + line);
    }
  }
  [[gnu::always_inline]] typename Isa::I codes(int block, int j) const {
    return Operands<Format>::template load<Isa>(record + block * Planes::bytes(Isa::kLanes), j);
  }
  static constexpr int group(int block, int part) {
    return block * kActivationBlock / Format::kGroup + part;
  }
  [[gnu::always_inline]] typename Isa::F scale(int block, int part) const {
    return scales.scale(group(block, part));
  }
  [[gnu::always_inline]] typename Isa::F min(int block, int part) const {
    return scales.min(group(block, part));
  }
};

// A panel unpacked: for each activation block eight vectors of codes, then the float scales of its
// groups, then their mins.
template <class Isa, class Shape>
struct UnpackedSource {
  static constexpr int kBlocks = 1;
  static constexpr int kVectorBytes = 4 * Isa::kLanes;
  static constexpr int64_t kBytes = (8 + Shape::kParts * (Shape::kHasMin ? 2 : 1)) * kVectorBytes;
  static_assert(kBytes <= kUnpackedBlockBytes * Isa::kLanes);

  const uint8_t* record;

  [[gnu::always_inline]] explicit UnpackedSource(const uint8_t* at) : record(at) {}
  [[gnu::always_inline]] void prefetch(int /*block*/) const {}
  [[gnu::always_inline]] typename Isa::I codes(int /*block*/, int j) const {
    return Isa::load_bytes(record + j * kVectorBytes);
  }
  [[gnu::always_inline]] typename Isa::F scale(int /*block*/, int part) const {
    return Isa::load(floats(part));
  }
  [[gnu::always_inline]] typename Isa::F min(int /*block*/, int part) const {
    return Isa::load(floats(Shape::kParts + part));
  }
  [[gnu::always_inline]] const float* floats(int index) const {
    return reinterpret_cast<const float*>(record + (8 + index) * kVectorBytes);
  }
};

template <class Isa, class Format>
void unpack_panel(const uint8_t* panel, int64_t blocks, uint8_t* to) noexcept {
  using Packed = PackedSource<Isa, Format>;
  using Shape = ShapeOf<Format>;
  using Unpacked = UnpackedSource<Isa, Shape>;
  for (int64_t block = 0; block < blocks; panel += Packed::kBytes) {
    const Packed from(panel);
    for (int b = 0; b < Packed::kBlocks && block < blocks; ++b, ++block, to += Unpacked::kBytes) {
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j)
        Isa::store_bytes(to + j * Unpacked::kVectorBytes, from.codes(b, j));
      auto* floats = reinterpret_cast<float*>(to + 8 * Unpacked::kVectorBytes);
#pragma GCC unroll 2
      for (int part = 0; part < Shape::kParts; ++part) {
        Isa::store(floats + part * Isa::kLanes, from.scale(b, part));
        if constexpr (Shape::kHasMin) {
          Isa::store(floats + (Shape::kParts + part) * Isa::kLanes, from.min(b, part));
        }
      }
    }
  }
}

// The same record of kCount neighbouring panels.
template <class Source, int kCount>
struct Sources : Sources<Source, kCount - 1> {
  Source last;

  [[gnu::always_inline]] Sources(const uint8_t* at, int64_t panel_bytes)
      : Sources<Source, kCount - 1>(at, panel_bytes), last(at + (kCount - 1) * panel_bytes) {}
  [[gnu::always_inline]] const Source& operator[](int p) const {
    return p == kCount - 1 ? last : Sources<Source, kCount - 1>::operator[](p);
  }
};

template <class Source>
struct Sources<Source, 1> {
  Source last;

  [[gnu::always_inline]] Sources(const uint8_t* at, int64_t /*panel_bytes*/) : last(at) {}
  [[gnu::always_inline]] const Source& operator[](int /*p*/) const { return last; }
};

// kPanels panels × one tile of kRows activation rows.
template <class Isa, class Shape, class Source, int kRows, int kPanels>
[[gnu::always_inline]] inline void block_tile(const uint8_t* panels, int64_t panel_bytes,
                                              int64_t blocks, const uint8_t* tile,
                                              typename Isa::F (&acc)[kRows][kPanels]) {
  using F = typename Isa::F;
  constexpr int kVectors = Shape::kVectors;
  constexpr int kOffset = Shape::kBits == 8 && Isa::kSignedBytes ? 0 : Shape::kOffset;

#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) acc[m][p] = Isa::zero();
  }
  for (int64_t block = 0; block < blocks; panels += Source::kBytes) {
    const Sources<Source, kPanels> sources(panels, panel_bytes);
    for (int b = 0; b < Source::kBlocks && block < blocks; ++b, ++block) {
      const ActivationBlock x(tile, block, kRows);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) sources[p].prefetch(b);
#pragma GCC unroll 2
      for (int part = 0; part < Shape::kParts; ++part) {
        const int32_t* sums = kVectors == 8 ? x.total : part == 0 ? x.low : x.high;
        typename Isa::I dot[kRows][kPanels];
#pragma GCC unroll 16
        for (int m = 0; m < kRows; ++m) {
          const auto start = kOffset == 0 ? Isa::izero() : Isa::set1_int(-kOffset * sums[m]);
#pragma GCC unroll 4
          for (int p = 0; p < kPanels; ++p) dot[m][p] = start;
        }
        Isa::template dot<Shape::kBits, kVectors, kRows, kPanels>(
            [&](int p, int j)
                [[gnu::always_inline]] { return sources[p].codes(b, part * kVectors + j); },
            x.quads + part * kVectors * kRows, dot);
        F scales[kPanels];
#pragma GCC unroll 4
        for (int p = 0; p < kPanels; ++p) scales[p] = sources[p].scale(b, part);
#pragma GCC unroll 16
        for (int m = 0; m < kRows; ++m) {
          const F x_scale = Isa::set1(x.scale[m]);
#pragma GCC unroll 4
          for (int p = 0; p < kPanels; ++p) {
            acc[m][p] = Isa::fma(Isa::to_float(dot[m][p]), Isa::mul(scales[p], x_scale), acc[m][p]);
          }
        }
        if constexpr (Shape::kHasMin) {
          F mins[kPanels];
#pragma GCC unroll 4
          for (int p = 0; p < kPanels; ++p) mins[p] = sources[p].min(b, part);
#pragma GCC unroll 16
          for (int m = 0; m < kRows; ++m) {
            const F x_sum = kVectors == 8 ? Isa::set1(x.sum[m])
                                          : Isa::set1(x.scale[m] * static_cast<float>(sums[m]));
#pragma GCC unroll 4
            for (int p = 0; p < kPanels; ++p) acc[m][p] = Isa::fma(mins[p], x_sum, acc[m][p]);
          }
        }
      }
    }
  }
}

// Panels [p, p + kPanels) for one tile; `panels` is where panel p lies in its source.
template <class Isa, class Shape, class Source, int kRows, int kPanels>
void linear_block_tile(const LinearTask& task, const uint8_t* panels, int64_t panel_bytes,
                       int64_t p, int64_t row) noexcept {
  const int64_t blocks = (task.columns + kActivationBlock - 1) / kActivationBlock;
  const uint8_t* tile = task.tiles + row * blocks * kActivationBlockBytes;
  typename Isa::F acc[kRows][kPanels];
  block_tile<Isa, Shape, Source, kRows, kPanels>(panels, panel_bytes, blocks, tile, acc);
  for (int m = 0; m < kRows; ++m) {
    for (int i = 0; i < kPanels; ++i) store_panel<Isa>(task, row + m, p + i, acc[m][i]);
  }
}

// One tile of up to kRows rows: a compile-time loop finds the size of the last, smaller one.
template <class Isa, class Shape, class Source, int kRows, int kPanels>
void linear_block_rows(const LinearTask& task, const uint8_t* panels, int64_t panel_bytes,
                       int64_t p, int64_t row) noexcept {
  if constexpr (kRows > 0) {
    if (task.row_end - row >= kRows) {
      linear_block_tile<Isa, Shape, Source, kRows, kPanels>(task, panels, panel_bytes, p, row);
    } else {
      linear_block_rows<Isa, Shape, Source, kRows - 1, kPanels>(task, panels, panel_bytes, p, row);
    }
  }
}

// All rows for panels [p, p + kPanels), unpacked in task.scratch.
template <class Isa, class Shape, int kPanels>
void linear_unpacked(const LinearTask& task, int64_t panel_bytes, int64_t p) noexcept {
  using Source = UnpackedSource<Isa, Shape>;
  for (int64_t row = task.row_begin; row < task.row_end; row += Isa::kTileRows) {
    linear_block_rows<Isa, Shape, Source, Isa::kTileRows, kPanels>(task, task.scratch, panel_bytes,
                                                                   p, row);
  }
}

// All rows for panels as they are packed.
template <class Isa, class Format>
void linear_packed(const LinearTask& task) noexcept {
  for (int64_t p = task.panel_begin; p < task.panel_end; ++p) {
    for (int64_t row = task.row_begin; row < task.row_end; row += Isa::kTileRows) {
      linear_block_rows<Isa, ShapeOf<Format>, PackedSource<Isa, Format>, Isa::kTileRows, 1>(
          task, task.panels + p * task.panel_bytes, task.panel_bytes, p, row);
    }
  }
}

template <class Isa, class Format>
void linear_block(const LinearTask& task) noexcept {
  using Shape = ShapeOf<Format>;
  constexpr int kPanels = Isa::kTilePanels;
  if (task.row_end - task.row_begin <= Isa::kDirectTiles * Isa::kTileRows) {
    linear_packed<Isa, Format>(task);
    return;
  }
  const int64_t blocks = (task.columns + kActivationBlock - 1) / kActivationBlock;
  const int64_t bytes = blocks * UnpackedSource<Isa, Shape>::kBytes;
  for (int64_t p = task.panel_begin; p < task.panel_end;) {
    const int count = task.panel_end - p >= kPanels ? kPanels : 1;
    for (int i = 0; i < count; ++i) {
      unpack_panel<Isa, Format>(task.panels + (p + i) * task.panel_bytes, blocks,
                                task.scratch + i * bytes);
    }
    if (count == kPanels) {
      linear_unpacked<Isa, Shape, kPanels>(task, bytes, p);
    } else {
      linear_unpacked<Isa, Shape, 1>(task, bytes, p);
    }
    p += count;
  }
}

}  // namespace ftllm
