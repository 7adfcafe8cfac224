#include <string>

#include "graph/ops.h"
#include "graph/row_loop.h"

namespace ftllm {
namespace {

class LayerNormOp final : public Op {
 public:
  LayerNormOp(ValueId x, VectorPtr weight, VectorPtr bias, float eps, ValueId y, RowKind rows)
      : Op({x}, {y}), weight_(std::move(weight)), bias_(std::move(bias)), eps_(eps), rows_(rows) {}

  void run(const StepContext& step) const noexcept override {
    const float* x = step.values[inputs_[0]];
    float* y = step.values[outputs_[0]];
    const auto width = static_cast<int64_t>(weight_->size());
    for_row_chunks(step.pool, step.count(rows_), 8 * width, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin * width; at < end * width; at += width) {
        step.kernels.layer_norm(x + at, weight_->data(), bias_->data(), eps_, width, y + at);
      }
    });
  }

 private:
  VectorPtr weight_;
  VectorPtr bias_;
  float eps_;
  RowKind rows_;
};

}  // namespace

ValueId add_layer_norm(Graph& graph, ValueId x, VectorPtr weight, VectorPtr bias, float eps) {
  const RowKind rows = graph.value(x).rows;
  const int64_t width = graph.width(x);
  graph.require(static_cast<int64_t>(weight->size()) == width && bias->size() == weight->size(),
                "a norm of " + std::to_string(weight->size()) + " weights and " +
                    std::to_string(bias->size()) + " biases cannot be applied to rows of width " +
                    std::to_string(width));
  const ValueId y = graph.add_value(rows, width);
  graph.add_op(std::make_unique<LayerNormOp>(x, std::move(weight), std::move(bias), eps, y, rows));
  return y;
}

}  // namespace ftllm
