#pragma once

#include "kernels/table.h"

namespace ftllm {

// Writes one row's outputs of panel p, adding the bias; the last panel may be partly padding.
template <class Isa>
[[gnu::always_inline]] inline void store_panel(const LinearTask& task, int64_t row, int64_t p,
                                               typename Isa::F value) {
  const int64_t n = p * Isa::kLanes;
  float* y = task.y + row * task.y_stride + n;
  if (n + Isa::kLanes <= task.rows) {
    if (task.bias != nullptr) value = Isa::add(value, Isa::load(task.bias + n));
    Isa::store(y, value);
    return;
  }
  float lanes[Isa::kLanes];
  Isa::store(lanes, value);
  for (int64_t i = 0; n + i < task.rows; ++i) {
    y[i] = task.bias == nullptr ? lanes[i] : lanes[i] + task.bias[n + i];
  }
}

}  // namespace ftllm
