#pragma once

#include <algorithm>

#include "graph/graph.h"

namespace ftllm {

// Calls body(begin, end) over chunks of rows, each large enough to be worth handing to a thread:
// `row_cost` is roughly the float operations of one row.
template <class Body>
void for_row_chunks(ThreadPool& pool, int64_t rows, int64_t row_cost, const Body& body,
                    int64_t multiple = 1) {
  constexpr int64_t kChunkCost = 16384;
  int64_t chunk = std::max<int64_t>(1, kChunkCost / std::max<int64_t>(1, row_cost));
  chunk = (chunk + multiple - 1) / multiple * multiple;
  pool.parallel_for((rows + chunk - 1) / chunk, [&](int64_t item, int) {
    body(item * chunk, std::min(rows, (item + 1) * chunk));
  });
}

}  // namespace ftllm
