#include "graph/planner.h"

#include <algorithm>

namespace ftllm {
namespace {

struct Lifetime {
  int64_t first = -1;  // op that writes it
  int64_t last = -1;   // last op that reads it
};

std::vector<Lifetime> lifetimes(const Graph& graph) {
  std::vector<Lifetime> lives(graph.values().size());
  const auto& ops = graph.ops();
  const auto end = static_cast<int64_t>(ops.size());
  for (int64_t i = 0; i < end; ++i) {
    for (const ValueId v : ops[i]->outputs()) lives[v] = {i, i};
    for (const ValueId v : ops[i]->inputs()) {
      // The part behind select_outputs runs once per slice of outputs: what it reads from before
      // must outlive all of it.
      const auto boundary = static_cast<int64_t>(graph.first_output_op());
      lives[v].last = i >= boundary && lives[v].first < boundary ? end : i;
    }
  }
  for (const ValueId result : {graph.logits(), graph.hidden()}) {
    if (result >= 0) lives[result].last = end;
  }
  return lives;
}

}  // namespace

MemoryPlan plan_memory(const Graph& graph, const StepLimits& limits) {
  constexpr int64_t kAlign = 64;
  const std::vector<Lifetime> lives = lifetimes(graph);
  MemoryPlan plan{std::vector<int64_t>(lives.size(), 0), 0, 0};
  struct Placed {
    int64_t begin;
    int64_t end;
    int64_t last;
  };
  std::vector<Placed> placed;  // sorted by begin; values still alive
  for (size_t i = 0; i < graph.ops().size(); ++i) {
    const Op& op = *graph.ops()[i];
    plan.scratch_bytes = std::max(plan.scratch_bytes, op.scratch_bytes(limits));
    std::erase_if(placed, [&](const Placed& p) { return p.last < static_cast<int64_t>(i); });
    for (const ValueId v : op.outputs()) {
      const Value& value = graph.values()[v];
      const int64_t bytes =
          (limits.count(value.rows) * value.width * 4 + kAlign - 1) / kAlign * kAlign;
      int64_t at = 0;
      auto spot = placed.begin();
      for (; spot != placed.end() && spot->begin < at + bytes; ++spot) at = std::max(at, spot->end);
      placed.insert(spot, {at, at + bytes, lives[v].last});
      plan.offsets[v] = at;
      plan.arena_bytes = std::max(plan.arena_bytes, at + bytes);
    }
  }
  return plan;
}

}  // namespace ftllm
