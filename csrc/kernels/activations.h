#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/table.h"

// Activations as block formats want them: int8 in blocks of 32 columns with a float scale.
//
// Rows are grouped in tiles of Isa::kTileRows (the last may be smaller). A tile of c rows is, for
// each block of 32 columns, in order:
//   uint32  quads[8][c]   four int8 of columns 4j … 4j + 3
//   float   scale[c]      value = scale · code
//   float   sum[c]        scale · Σ codes
//   int32   total[c]      Σ codes
//   int32   low[c], high[c]   Σ codes of the first and last 16 columns
// so that every operand of the inner loop is a broadcast from consecutive addresses.
namespace ftllm {

struct ActivationBlock {
  const uint32_t* quads;
  const float* scale;
  const float* sum;
  const int32_t* total;
  const int32_t* low;
  const int32_t* high;

  [[gnu::always_inline]] ActivationBlock(const uint8_t* tile, int64_t block, int rows)
      : quads(reinterpret_cast<const uint32_t*>(tile + block * rows * kActivationBlockBytes)),
        scale(reinterpret_cast<const float*>(quads + 8 * rows)),
        sum(scale + rows),
        total(reinterpret_cast<const int32_t*>(sum + rows)),
        low(total + rows),
        high(low + rows) {}
};

static inline int64_t activation_tile_bytes(int64_t columns, int64_t rows) {
  return (columns + kActivationBlock - 1) / kActivationBlock * rows * kActivationBlockBytes;
}

// Below this, a block counts as zero: 127 / max|x| must be finite.
constexpr float kSmallestPeak = 0x1p-119f;

// Columns beyond K count as zero. scale = max|x| / 127, codes round to nearest even. A block with a
// NaN or an infinity has codes 0 and a scale that is not finite: it makes every output NaN.
template <class Isa>
void quantize_rows(const float* x, int64_t x_stride, int64_t columns, int64_t row_begin,
                   int64_t row_end, int64_t m, uint8_t* tiles) noexcept {
  constexpr int kRows = Isa::kTileRows;
  const int64_t blocks = (columns + kActivationBlock - 1) / kActivationBlock;
  for (int64_t row = row_begin; row < row_end; ++row) {
    const int64_t first = row / kRows * kRows;
    const int rows = static_cast<int>(m - first < kRows ? m - first : kRows);
    uint8_t* tile = tiles + first * blocks * kActivationBlockBytes;
    const auto r = static_cast<int>(row - first);
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t left = columns - b * kActivationBlock;
      float padded[kActivationBlock];
      const float* values = x + row * x_stride + b * kActivationBlock;
      if (left < kActivationBlock) {
        std::memset(padded, 0, sizeof padded);
        std::memcpy(padded, values, static_cast<size_t>(left) * sizeof(float));
        values = padded;
      }
      int8_t codes[kActivationBlock];
      int32_t low;
      int32_t high;
      const float scale = Isa::quantize_block(values, codes, low, high);
      if (!std::isfinite(scale)) {
        std::memset(codes, 0, sizeof codes);
        low = high = 0;
      }
      auto* quads = reinterpret_cast<uint32_t*>(tile + b * rows * kActivationBlockBytes);
      for (int j = 0; j < 8; ++j) std::memcpy(quads + j * rows + r, codes + 4 * j, 4);
      auto* floats = reinterpret_cast<float*>(quads + 8 * rows);
      auto* sums = reinterpret_cast<int32_t*>(floats + 2 * rows);
      floats[r] = scale;
      floats[rows + r] = scale * static_cast<float>(low + high);
      sums[r] = low + high;
      sums[rows + r] = low;
      sums[2 * rows + r] = high;
    }
  }
}

}  // namespace ftllm
