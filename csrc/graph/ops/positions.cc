#include <algorithm>
#include <string>

#include "graph/ops.h"
#include "graph/row_loop.h"

namespace ftllm {
namespace {

class PositionsOp final : public Op {
 public:
  PositionsOp(ValueId x, VectorPtr table, int64_t first, ValueId y, int64_t width)
      : Op({x}, {y}), table_(std::move(table)), first_(first), width_(width) {}

  void run(const StepContext& step) const noexcept override {
    const float* x = step.values[inputs_[0]];
    float* y = step.values[outputs_[0]];
    const int64_t last = static_cast<int64_t>(table_->size()) / width_ - 1;
    for_row_chunks(step.pool, step.rows.tokens, 2 * width_, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        // A context beyond the table is refused when the model is loaded.
        const int64_t place = std::min(step.rows.positions[row] + first_, last);
        step.kernels.add(x + row * width_, table_->data() + place * width_, width_,
                         y + row * width_);
      }
    });
  }

 private:
  VectorPtr table_;
  int64_t first_;
  int64_t width_;
};

}  // namespace

ValueId add_positions(Graph& graph, ValueId x, VectorPtr table, int64_t first) {
  const int64_t width = graph.width(x);
  graph.require(graph.value(x).rows == RowKind::kTokens, "positions belong to the step's tokens");
  const auto values = static_cast<int64_t>(table->size());
  graph.require(values > 0 && values % width == 0 && first >= 0 && first < values / width,
                "a table of " + std::to_string(values) + " values from row " +
                    std::to_string(first) + " on gives no position to rows of width " +
                    std::to_string(width));
  const ValueId y = graph.add_value(RowKind::kTokens, width);
  graph.add_op(std::make_unique<PositionsOp>(x, std::move(table), first, y, width));
  return y;
}

}  // namespace ftllm
