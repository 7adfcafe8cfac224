#include <string>

#include "graph/ops.h"
#include "graph/row_loop.h"

namespace ftllm {
namespace {

class RmsNormOp final : public Op {
 public:
  RmsNormOp(ValueId x, VectorPtr weight, float eps, ValueId y, RowKind rows, int64_t width)
      : Op({x}, {y}), weight_(std::move(weight)), eps_(eps), rows_(rows), width_(width) {}

  void run(const StepContext& step) const noexcept override {
    const float* x = step.values[inputs_[0]];
    float* y = step.values[outputs_[0]];
    const auto run = static_cast<int64_t>(weight_->size());
    for_row_chunks(step.pool, step.count(rows_), 4 * width_, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin * width_; at < end * width_; at += run) {
        step.kernels.rms_norm(x + at, weight_->data(), eps_, run, y + at);
      }
    });
  }

 private:
  VectorPtr weight_;
  float eps_;
  RowKind rows_;
  int64_t width_;
};

}  // namespace

ValueId add_rms_norm(Graph& graph, ValueId x, VectorPtr weight, float eps) {
  const RowKind rows = graph.value(x).rows;
  const int64_t width = graph.width(x);
  graph.require(!weight->empty() && width % static_cast<int64_t>(weight->size()) == 0,
                "a norm of " + std::to_string(weight->size()) +
                    " values cannot be applied to rows of width " + std::to_string(width));
  const ValueId y = graph.add_value(rows, width);
  graph.add_op(std::make_unique<RmsNormOp>(x, std::move(weight), eps, y, rows, width));
  return y;
}

}  // namespace ftllm
