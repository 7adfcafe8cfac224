#pragma once

#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace ftllm {

// Where each value lives in one arena. Values whose lifetimes do not overlap share memory.
struct MemoryPlan {
  std::vector<int64_t> offsets;  // bytes, per value
  int64_t arena_bytes;
  int64_t scratch_bytes;  // the largest demand of any operator
};

MemoryPlan plan_memory(const Graph& graph, const StepLimits& limits);

}  // namespace ftllm
