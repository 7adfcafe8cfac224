#pragma once

#include <algorithm>
#include <cstdint>

#include "graph/weight.h"
#include "kernels/activations.h"
#include "kernels/table.h"

// How a linear layer's work is cut into items: runs of weight panels × runs of rows. Cutting
// changes nothing in the result.
namespace ftllm {

// The items of one group of threads: those of the panels that it owns.
struct LinearItems {
  int64_t panel_begin;
  int64_t panel_end;
  int64_t panels_per_item;
  int64_t rows_per_item;
  int64_t panel_items;
  int64_t row_items;

  LinearItems(const Weight& weight, int64_t rows, const KernelTable& kernels,
              const ThreadPool& pool, int group)
      : panel_begin(pool.share(weight.panels(), group)),
        panel_end(pool.share(weight.panels(), group + 1)) {
    constexpr int64_t kWeightBytes = 128 << 10;  // stays in L2 beside the activations
    constexpr int64_t kRows = 96;
    const int64_t tile = kernels.tile_rows;
    rows_per_item = (std::min(rows, kRows) + tile - 1) / tile * tile;
    row_items = std::max<int64_t>(1, (rows + rows_per_item - 1) / rows_per_item);
    const int64_t fair = std::max<int64_t>(1, weight.panels() * row_items / (pool.size() * 8));
    panels_per_item = std::clamp<int64_t>(kWeightBytes / weight.panel_bytes(), 1, fair);
    panels_per_item = std::max<int64_t>(panels_per_item, std::min<int64_t>(4, fair));
    panels_per_item =
        (panels_per_item + kernels.tile_panels - 1) / kernels.tile_panels * kernels.tile_panels;
    panel_items = (panel_end - panel_begin + panels_per_item - 1) / panels_per_item;
  }

  int64_t count() const { return panel_items * row_items; }
};

// Item `item` of y = x Wᵀ (+ bias) for `rows` rows of one expert.
inline void run_linear_item(const LinearItems& items, int64_t item, const Weight& weight,
                            int64_t expert, int64_t rows, const float* x, const uint8_t* tiles,
                            const float* bias, float* y, uint8_t* scratch,
                            const KernelTable& kernels) {
  const int64_t panel = items.panel_begin + item / items.row_items * items.panels_per_item;
  const int64_t row = item % items.row_items * items.rows_per_item;
  kernels.linear[static_cast<int>(weight.format())](LinearTask{
      .panels = weight.panel(expert, 0),
      .panel_bytes = weight.panel_bytes(),
      .panel_begin = panel,
      .panel_end = std::min(items.panel_end, panel + items.panels_per_item),
      .rows = weight.rows(),
      .columns = weight.columns(),
      .x = x,
      .x_stride = weight.columns(),
      .tiles = tiles,
      .row_begin = row,
      .row_end = std::min(rows, row + items.rows_per_item),
      .m = rows,
      .y = y,
      .y_stride = weight.rows(),
      .bias = bias,
      .scratch = scratch,
  });
}

}  // namespace ftllm
