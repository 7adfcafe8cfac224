#include <string>

#include "graph/linear_loop.h"
#include "graph/ops.h"
#include "graph/row_loop.h"

namespace ftllm {
namespace {

// One or more linear layers of the same input: q, k, v, or gate and up.
class LinearOp final : public Op {
 public:
  LinearOp(ValueId x, RowKind rows) : Op({x}, {}), rows_(rows) {}

  void add_part(WeightPtr weight, VectorPtr bias, ValueId y) {
    quantized_ = quantized_ || weight->is_block();
    parts_.push_back({std::move(weight), std::move(bias)});
    outputs_.push_back(y);
  }

  int64_t scratch_bytes(const StepLimits& limits) const override {
    if (!quantized_) return 0;
    const int64_t columns = parts_[0].weight->columns();
    return tile_bytes(limits.count(rows_)) +
           limits.threads * linear_scratch_bytes(kernel_table(), columns);
  }

  void run(const StepContext& step) const noexcept override {
    const int64_t rows = step.count(rows_);
    const int64_t columns = parts_[0].weight->columns();
    const float* x = step.values[inputs_[0]];
    if (quantized_) {
      for_row_chunks(
          step.pool, rows, 4 * columns,
          [&](int64_t begin, int64_t end) {
            step.kernels.quantize_rows(x, columns, columns, begin, end, rows, step.scratch);
          },
          step.kernels.tile_rows);
    }
    int64_t totals[ThreadPool::kMaxGroups];
    for (int g = 0; g < step.pool.groups(); ++g) {
      totals[g] = 0;
      for (const Part& part : parts_) totals[g] += items(part, rows, step, g).count();
    }
    uint8_t* scratch = step.scratch + tile_bytes(rows);
    const int64_t scratch_bytes = linear_scratch_bytes(step.kernels, columns);
    step.pool.parallel_for_groups(totals, [&](int group, int64_t item, int thread) {
      size_t p = 0;
      int64_t rest = item;
      for (;; ++p) {
        const LinearItems cut = items(parts_[p], rows, step, group);
        if (rest < cut.count()) {
          const float* bias = parts_[p].bias == nullptr ? nullptr : parts_[p].bias->data();
          run_linear_item(cut, rest, *parts_[p].weight, 0, rows, x, step.scratch, bias,
                          step.values[outputs_[p]], scratch + thread * scratch_bytes, step.kernels);
          return;
        }
        rest -= cut.count();
      }
    });
  }

 private:
  struct Part {
    WeightPtr weight;
    VectorPtr bias;
  };

  int64_t tile_bytes(int64_t rows) const {
    return (activation_tile_bytes(parts_[0].weight->columns(), rows) + 63) / 64 * 64;
  }

  static LinearItems items(const Part& part, int64_t rows, const StepContext& step, int group) {
    return LinearItems(*part.weight, rows, step.kernels, step.pool, group);
  }

  RowKind rows_;
  std::vector<Part> parts_;
  bool quantized_ = false;
};

}  // namespace

ValueId add_linear(Graph& graph, ValueId x, WeightPtr weight, VectorPtr bias) {
  const RowKind rows = graph.value(x).rows;
  graph.require(weight->experts() == 1, "a linear layer takes one matrix, not experts");
  graph.require(graph.width(x) == weight->columns(),
                "a weight of " + std::to_string(weight->columns()) +
                    " columns cannot take rows of width " + std::to_string(graph.width(x)));
  graph.require(bias == nullptr || static_cast<int64_t>(bias->size()) == weight->rows(),
                "the bias and the weight's " + std::to_string(weight->rows()) + " rows differ");
  const ValueId y = graph.add_value(rows, weight->rows());
  auto* op = dynamic_cast<LinearOp*>(graph.last_op());
  if (op == nullptr || op->inputs()[0] != x) {
    op = graph.add_op(std::make_unique<LinearOp>(x, rows));
  }
  op->add_part(std::move(weight), std::move(bias), y);
  return y;
}

}  // namespace ftllm
