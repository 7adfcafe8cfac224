#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "graph/linear_loop.h"
#include "graph/ops.h"
#include "graph/row_loop.h"

namespace ftllm {
namespace {

// Scratch of one step, carved from the executor's. A pair is one token with one of its experts;
// pairs are sorted by expert, so that each expert sees consecutive rows.
struct Workspace {
  int32_t* experts;   // (tokens, top_k) chosen experts, by rank
  float* weights;     // (tokens, top_k)
  int32_t* pair_of;   // (tokens, top_k) the pair's row after sorting
  int32_t* token_of;  // (pairs,)
  int32_t* starts;    // (experts + 1,) first pair of each expert
  float* gathered;    // (pairs, hidden) inputs, later the experts' outputs
  float* gate;        // (pairs, intermediate)
  float* up;          // (pairs, intermediate)
  uint8_t* tiles;     // activation tiles of `gathered`, later of the gated product
  uint8_t* threads;   // linear_scratch_bytes() for each thread
  int64_t bytes;

  Workspace(uint8_t* base, int64_t tokens, int64_t top_k, int64_t experts_count, int64_t hidden,
            int64_t inner, int thread_count) {
    int64_t at = 0;
    const auto take = [&](int64_t size) {
      uint8_t* start = base + at;
      at += (size + 63) / 64 * 64;
      return start;
    };
    const int64_t pairs = tokens * top_k;
    experts = reinterpret_cast<int32_t*>(take(pairs * 4));
    weights = reinterpret_cast<float*>(take(pairs * 4));
    pair_of = reinterpret_cast<int32_t*>(take(pairs * 4));
    token_of = reinterpret_cast<int32_t*>(take(pairs * 4));
    starts = reinterpret_cast<int32_t*>(take((experts_count + 1) * 4));
    gathered = reinterpret_cast<float*>(take(pairs * hidden * 4));
    gate = reinterpret_cast<float*>(take(pairs * inner * 4));
    up = reinterpret_cast<float*>(take(pairs * inner * 4));
    tiles = take(activation_tile_bytes(std::max(hidden, inner), pairs));
    threads = take(thread_count * linear_scratch_bytes(kernel_table(), std::max(hidden, inner)));
    bytes = at;
  }
};

class ExpertsOp final : public Op {
 public:
  ExpertsOp(ValueId x, ValueId router, ValueId y, ExpertsSpec spec)
      : Op({x, router}, {y}), spec_(std::move(spec)) {}

  int64_t scratch_bytes(const StepLimits& limits) const override {
    return workspace(nullptr, limits.tokens, limits.threads).bytes;
  }

  void run(const StepContext& step) const noexcept override {
    const Workspace work = workspace(step.scratch, step.rows.tokens, step.pool.size());
    route(step, work);
    sort(step.rows.tokens, work);
    gather(step, work);
    multiply(step, work, *spec_.gate, work.gathered, work.gate);
    multiply(step, work, *spec_.up, work.gathered, work.up);
    const int64_t inner = spec_.gate->rows();
    for_row_chunks(step.pool, pairs(step), 8 * inner, [&](int64_t begin, int64_t end) {
      const auto gated =
          spec_.activation == Activation::kSilu ? step.kernels.silu_mul : step.kernels.gelu_mul;
      gated(work.gate + begin * inner, work.up + begin * inner, (end - begin) * inner,
            work.gate + begin * inner);
    });
    quantize(step, work, *spec_.down, work.gate);
    multiply(step, work, *spec_.down, work.gate, work.gathered);
    combine(step, work);
  }

 private:
  int64_t pairs(const StepContext& step) const { return step.rows.tokens * spec_.top_k; }

  Workspace workspace(uint8_t* base, int64_t tokens, int threads) const {
    return Workspace(base, tokens, spec_.top_k, spec_.gate->experts(), spec_.gate->columns(),
                     spec_.gate->rows(), threads);
  }

  // softmax over all experts, then the top_k largest (the lower index on ties), by rank.
  void route(const StepContext& step, const Workspace& work) const {
    const int64_t count = spec_.gate->experts();
    const float* router = step.values[inputs_[1]];
    for_row_chunks(step.pool, step.rows.tokens, 16 * count, [&](int64_t begin, int64_t end) {
      for (int64_t token = begin; token < end; ++token) {
        const float* logits = router + token * count;
        int32_t* chosen = work.experts + token * spec_.top_k;
        float* weights = work.weights + token * spec_.top_k;
        const float peak = *std::max_element(logits, logits + count);
        double total = 0.0;
        for (int64_t e = 0; e < count; ++e)
          total += std::exp(static_cast<double>(logits[e] - peak));
        double kept = 0.0;
        for (int rank = 0; rank < spec_.top_k; ++rank) {
          int32_t best = -1;
          for (int32_t e = 0; e < count; ++e) {
            const bool taken = std::find(chosen, chosen + rank, e) != chosen + rank;
            if (!taken && (best < 0 || logits[e] > logits[best])) best = e;
          }
          chosen[rank] = best;
          const double p = std::exp(static_cast<double>(logits[best] - peak)) / total;
          weights[rank] = static_cast<float>(p);
          kept += p;
        }
        if (spec_.normalize) {
          for (int rank = 0; rank < spec_.top_k; ++rank) {
            weights[rank] = static_cast<float>(weights[rank] / kept);
          }
        }
      }
    });
  }

  void sort(int64_t tokens, const Workspace& work) const {
    const int64_t count = spec_.gate->experts();
    const int64_t all = tokens * spec_.top_k;
    std::fill(work.starts, work.starts + count + 1, 0);
    for (int64_t i = 0; i < all; ++i) work.starts[work.experts[i] + 1] += 1;
    for (int64_t e = 0; e < count; ++e) work.starts[e + 1] += work.starts[e];
    for (int64_t i = 0; i < all; ++i) {
      const int32_t pair = work.starts[work.experts[i]]++;
      work.pair_of[i] = pair;
      work.token_of[pair] = static_cast<int32_t>(i / spec_.top_k);
    }
    for (int64_t e = count; e > 0; --e) work.starts[e] = work.starts[e - 1];
    work.starts[0] = 0;
  }

  void gather(const StepContext& step, const Workspace& work) const {
    const int64_t hidden = spec_.gate->columns();
    const float* x = step.values[inputs_[0]];
    for_row_chunks(step.pool, pairs(step), 4 * hidden, [&](int64_t begin, int64_t end) {
      for (int64_t pair = begin; pair < end; ++pair) {
        std::memcpy(work.gathered + pair * hidden, x + work.token_of[pair] * hidden,
                    static_cast<size_t>(hidden) * sizeof(float));
      }
    });
    const Weight& weight = spec_.gate->is_block() ? *spec_.gate : *spec_.up;
    quantize(step, work, weight, work.gathered);
  }

  // Activation tiles for each expert's rows, as `weight` wants them.
  void quantize(const StepContext& step, const Workspace& work, const Weight& weight,
                const float* x) const {
    if (!weight.is_block()) return;
    const int64_t columns = weight.columns();
    step.pool.parallel_for(weight.experts(), [&](int64_t e, int) {
      const int64_t first = work.starts[e];
      const int64_t rows = work.starts[e + 1] - first;
      step.kernels.quantize_rows(x + first * columns, columns, columns, 0, rows, rows,
                                 work.tiles + activation_tile_bytes(columns, first));
    });
  }

  // y = x Wᵀ, each expert on its own rows.
  void multiply(const StepContext& step, const Workspace& work, const Weight& weight,
                const float* x, float* y) const {
    const int64_t columns = weight.columns();
    constexpr int64_t kPanels = 16;
    const auto items_of = [&](int group) {  // of one expert
      const int64_t panels =
          step.pool.share(weight.panels(), group + 1) - step.pool.share(weight.panels(), group);
      return (panels + kPanels - 1) / kPanels;
    };
    int64_t totals[ThreadPool::kMaxGroups];
    for (int g = 0; g < step.pool.groups(); ++g) totals[g] = weight.experts() * items_of(g);
    const int64_t scratch_bytes = linear_scratch_bytes(step.kernels, columns);
    step.pool.parallel_for_groups(totals, [&](int group, int64_t item, int thread) {
      const int64_t per_expert = items_of(group);
      const int64_t e = item / per_expert;
      const int64_t first = work.starts[e];
      const int64_t rows = work.starts[e + 1] - first;
      if (rows == 0) return;
      const int64_t panel = step.pool.share(weight.panels(), group) + item % per_expert * kPanels;
      step.kernels.linear[static_cast<int>(weight.format())](LinearTask{
          .panels = weight.panel(e, 0),
          .panel_bytes = weight.panel_bytes(),
          .panel_begin = panel,
          .panel_end = std::min(step.pool.share(weight.panels(), group + 1), panel + kPanels),
          .rows = weight.rows(),
          .columns = columns,
          .x = x + first * columns,
          .x_stride = columns,
          .tiles = work.tiles + activation_tile_bytes(columns, first),
          .row_begin = 0,
          .row_end = rows,
          .m = rows,
          .y = y + first * weight.rows(),
          .y_stride = weight.rows(),
          .bias = nullptr,
          .scratch = work.threads + thread * scratch_bytes,
      });
    });
  }

  void combine(const StepContext& step, const Workspace& work) const {
    const int64_t hidden = spec_.down->rows();
    float* y = step.values[outputs_[0]];
    for_row_chunks(step.pool, step.rows.tokens, 4 * hidden * spec_.top_k,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t token = begin; token < end; ++token) {
                       float* to = y + token * hidden;
                       std::memset(to, 0, static_cast<size_t>(hidden) * sizeof(float));
                       for (int rank = 0; rank < spec_.top_k; ++rank) {
                         const int64_t i = token * spec_.top_k + rank;
                         step.kernels.scaled_add(work.gathered + work.pair_of[i] * hidden,
                                                 work.weights[i], hidden, to);
                       }
                     }
                   });
  }

  ExpertsSpec spec_;
};

}  // namespace

ValueId add_experts(Graph& graph, ValueId x, ValueId router, ExpertsSpec spec) {
  const int64_t experts = spec.gate->experts();
  const int64_t hidden = graph.width(x);
  graph.require(spec.up->experts() == experts && spec.down->experts() == experts &&
                    graph.width(router) == experts,
                "router, gate, up and down disagree on the number of experts: " +
                    std::to_string(graph.width(router)) + ", " + std::to_string(experts) + ", " +
                    std::to_string(spec.up->experts()) + ", " +
                    std::to_string(spec.down->experts()));
  graph.require(spec.gate->columns() == hidden && spec.up->columns() == hidden &&
                    spec.up->rows() == spec.gate->rows() &&
                    spec.down->columns() == spec.gate->rows() && spec.down->rows() == hidden,
                "the experts' shapes do not chain from width " + std::to_string(hidden));
  graph.require(
      spec.top_k >= 1 && spec.top_k <= experts,
      "top_k is " + std::to_string(spec.top_k) + " of " + std::to_string(experts) + " experts");
  const ValueId y = graph.add_value(RowKind::kTokens, hidden);
  graph.add_op(std::make_unique<ExpertsOp>(x, router, y, std::move(spec)));
  return y;
}

}  // namespace ftllm
