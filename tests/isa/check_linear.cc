#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "checks.h"
#include "formats/packing.h"
#include "guarded_buffer.h"
#include "kernels/activations.h"

namespace ftllm::checks {
namespace {

constexpr int kMostRows = 40;

// A weight of N × K in the panels of one table.
class PackedWeight {
 public:
  PackedWeight(const KernelTable& kernels, FormatId format, int64_t n, int64_t columns,
               const std::vector<float>& values)
      : kernels_(kernels),
        format_(format),
        n_(n),
        columns_(columns),
        panel_bytes_(panel_bytes(format, kernels.lanes, columns)),
        panels_((n + kernels.lanes - 1) / kernels.lanes),
        packed_(static_cast<size_t>(panels_) * panel_bytes_) {
    for (int64_t p = 0; p < panels_; ++p) {
      std::vector<const uint8_t*> rows;
      for (int64_t row = p * kernels.lanes; row < (p + 1) * kernels.lanes; ++row) {
        rows.push_back(row < n ? reinterpret_cast<const uint8_t*>(values.data() + row * columns)
                               : nullptr);
      }
      pack_panel(format, FormatId::kF32, rows.data(), kernels.lanes, columns,
                 packed_.bytes() + static_cast<size_t>(p) * panel_bytes_);
    }
  }

  int64_t panels() const { return panels_; }

  // (N, K) as float32.
  std::vector<float> unpack() const {
    std::vector<float> values(static_cast<size_t>(n_ * columns_));
    for (int64_t row = 0; row < n_; ++row) {
      unpack_row(format_, packed_.bytes() + row / kernels_.lanes * panel_bytes_, kernels_.lanes,
                 static_cast<int>(row % kernels_.lanes), columns_, values.data() + row * columns_);
    }
    return values;
  }

  // y (m, N) for x (m, K), in calls of up to rows_per_call rows and panels_per_call panels.
  std::vector<float> multiply(const std::vector<float>& x, int64_t m, const float* bias,
                              int64_t rows_per_call, int64_t panels_per_call) const {
    const auto tile_bytes = static_cast<size_t>(activation_tile_bytes(columns_, m));
    const GuardedBuffer tiles(tile_bytes);
    kernels_.quantize_rows(x.data(), columns_, columns_, 0, m, m, tiles.bytes());
    const GuardedBuffer scratch(static_cast<size_t>(linear_scratch_bytes(kernels_, columns_)));
    const GuardedBuffer y(static_cast<size_t>(m * n_) * sizeof(float));
    for (int64_t row = 0; row < m; row += rows_per_call) {
      for (int64_t panel = 0; panel < panels_; panel += panels_per_call) {
        kernels_.linear[static_cast<int>(format_)](
            {.panels = packed_.bytes(),
             .panel_bytes = static_cast<int64_t>(panel_bytes_),
             .panel_begin = panel,
             .panel_end = std::min(panels_, panel + panels_per_call),
             .rows = n_,
             .columns = columns_,
             .x = x.data(),
             .x_stride = columns_,
             .tiles = tiles.bytes(),
             .row_begin = row,
             .row_end = std::min(m, row + rows_per_call),
             .m = m,
             .y = y.floats(),
             .y_stride = n_,
             .bias = bias,
             .scratch = scratch.bytes()});
      }
    }
    return {y.floats(), y.floats() + m * n_};
  }

  std::vector<float> multiply(const std::vector<float>& x, int64_t m, const float* bias) const {
    return multiply(x, m, bias, m, panels_);
  }

 private:
  const KernelTable& kernels_;
  FormatId format_;
  int64_t n_;
  int64_t columns_;
  size_t panel_bytes_;
  int64_t panels_;
  GuardedBuffer packed_;
};

struct Shape {
  FormatId format;
  int64_t n;
  int64_t columns;

  std::string name() const {
    return std::string(format_info(format).name) + " " + std::to_string(n) + " × " +
           std::to_string(columns);
  }
};

// How far sums in another order may lie apart, for each output (m, N): each adds one rounding a
// group of 16 columns, or a column for float formats, of terms of up to Σ |x| · max |w|. Scales and
// mins of a format cancel each other, so it is the largest weight of a row that counts.
std::vector<double> bounds_of(const Shape& shape, const std::vector<float>& x, int64_t m,
                              const std::vector<float>& weights) {
  const bool block = format_info(shape.format).is_block;
  const auto terms = static_cast<double>(block ? (shape.columns + 15) / 16 : shape.columns);
  std::vector<double> bounds;
  for (int64_t row = 0; row < m; ++row) {
    double sum = 0.0;
    for (int64_t k = 0; k < shape.columns; ++k) sum += std::fabs(x[row * shape.columns + k]);
    for (int64_t n = 0; n < shape.n; ++n) {
      double peak = 0.0;
      for (int64_t k = 0; k < shape.columns; ++k) {
        peak = std::max(peak, std::fabs(double{weights[n * shape.columns + k]}));
      }
      bounds.push_back(4 * terms * kEps * sum * peak);
    }
  }
  return bounds;
}

// Against the scalar kernels, then with itself: a row has the same bits in any company.
void check_shape(const Tables& tables, const Shape& shape, Report& report) {
  const std::vector<float> values = normal_values(shape.n * shape.columns, 21);
  const std::vector<float> x = normal_values(kMostRows * shape.columns, 22);
  const std::vector<float> bias = normal_values(shape.n, 23);
  const PackedWeight truth(tables.scalar, shape.format, shape.n, shape.columns, values);
  const PackedWeight weight(tables.tested, shape.format, shape.n, shape.columns, values);
  const std::vector<float> unpacked = truth.unpack();
  report.expect_same(weight.unpack().data(), unpacked.data(), unpacked.size() * sizeof(float),
                     "weights of " + shape.name());
  const std::vector<float> expected = truth.multiply(x, kMostRows, bias.data());
  const std::vector<float> found = weight.multiply(x, kMostRows, bias.data());
  const std::vector<double> bounds = bounds_of(shape, x, kMostRows, unpacked);
  report.expect_close(found.data(), expected.data(), bounds.data(),
                      static_cast<int64_t>(found.size()), "linear " + shape.name());
  for (int rows = 1; rows <= 17; ++rows) {
    const std::vector<float> alone = weight.multiply(x, rows, bias.data());
    report.expect_same(alone.data(), found.data(), alone.size() * sizeof(float),
                       std::to_string(rows) + " rows of linear " + shape.name());
  }
  for (const int64_t tiles : {1, 2}) {
    const std::vector<float> parts =
        weight.multiply(x, kMostRows, bias.data(), tiles * tables.tested.tile_rows, tiles);
    report.expect_same(parts.data(), found.data(), parts.size() * sizeof(float),
                       "calls of " + std::to_string(tiles) + " tiles, linear " + shape.name());
  }
}

// All weights at one end of their range against activations at theirs: sums must not overflow.
void check_extremes(const Tables& tables, FormatId format, Report& report) {
  const Shape shape = {format, 17, 256};
  for (const float sign : {-1.0f, 1.0f}) {
    const std::vector<float> values(static_cast<size_t>(shape.n * shape.columns), sign);
    const std::vector<float> x(static_cast<size_t>(7 * shape.columns), 3.0f);
    const PackedWeight truth(tables.scalar, format, shape.n, shape.columns, values);
    const PackedWeight weight(tables.tested, format, shape.n, shape.columns, values);
    const std::vector<float> expected = truth.multiply(x, 7, nullptr);
    for (const int64_t m : {1, 7}) {
      const std::vector<float> found = weight.multiply(x, m, nullptr);
      const std::vector<double> bounds = bounds_of(shape, x, m, truth.unpack());
      report.expect_close(found.data(), expected.data(), bounds.data(),
                          static_cast<int64_t>(found.size()), "extremes of " + shape.name());
    }
  }
}

// A NaN or an infinity makes its own row of the result not finite, and no other.
void check_broken_rows(const Tables& tables, FormatId format, Report& report) {
  const Shape shape = {format, 18, 96};
  const PackedWeight weight(tables.tested, format, shape.n, shape.columns,
                            normal_values(shape.n * shape.columns, 24));
  for (const float broken :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    for (const int64_t m : {3, 17}) {
      std::vector<float> x = normal_values(m * shape.columns, 25);
      const std::vector<float> clean = weight.multiply(x, m, nullptr);
      x[static_cast<size_t>(shape.columns + 50)] = broken;
      std::vector<float> found = weight.multiply(x, m, nullptr);
      bool seen = true;
      for (int64_t n = 0; n < shape.n; ++n) {
        seen = seen && !std::isfinite(found[shape.n + n]);
        found[shape.n + n] = clean[shape.n + n];
      }
      report.expect(seen, "a broken row is lost in " + shape.name());
      report.expect_same(found.data(), clean.data(), clean.size() * sizeof(float),
                         "rows beside a broken one in " + shape.name());
    }
  }
}

}  // namespace

// Codes, scales and sums are the scalar ones to the bit, wherever a row lies in its tile.
void check_activations(const Tables& tables, Report& report) {
  for (const int64_t columns : {32, 70, 96}) {
    for (int64_t m = 1; m <= 17; ++m) {
      const std::vector<float> x = normal_values(m * columns, 31);
      const auto bytes = static_cast<size_t>(activation_tile_bytes(columns, m));
      const GuardedBuffer expected(bytes);
      const GuardedBuffer found(bytes);
      tables.scalar.quantize_rows(x.data(), columns, columns, 0, m, m, expected.bytes());
      tables.tested.quantize_rows(x.data(), columns, columns, 0, m, m, found.bytes());
      const int64_t blocks = (columns + kActivationBlock - 1) / kActivationBlock;
      const auto words = [&](const GuardedBuffer& tiles, int64_t tile_rows, int64_t row,
                             int64_t block) {
        const int64_t first = row / tile_rows * tile_rows;
        const int64_t rows = std::min(tile_rows, m - first);
        const auto* at = reinterpret_cast<const uint32_t*>(
            tiles.bytes() + (first * blocks + block * rows) * kActivationBlockBytes);
        std::vector<uint32_t> values;
        for (int i = 0; i < kActivationBlockBytes / 4; ++i) {
          values.push_back(at[i * rows + row - first]);
        }
        return values;
      };
      for (int64_t row = 0; row < m; ++row) {
        for (int64_t block = 0; block < blocks; ++block) {
          report.expect(words(found, tables.tested.tile_rows, row, block) ==
                            words(expected, tables.scalar.tile_rows, row, block),
                        "quantize_rows, row " + std::to_string(row) + " of " + std::to_string(m));
        }
      }
    }
  }
}

void check_linear(const Tables& tables, Report& report) {
  for (int id = 0; id < kFormatCount; ++id) {
    const auto format = static_cast<FormatId>(id);
    for (const auto& [n, columns] : {std::pair{37, 331}, {16, 256}, {1, 32}}) {
      check_shape(tables, {format, n, columns}, report);
    }
    check_extremes(tables, format, report);
    check_broken_rows(tables, format, report);
  }
}

}  // namespace ftllm::checks
