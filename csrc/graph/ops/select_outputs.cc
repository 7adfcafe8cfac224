#include <cstring>

#include "graph/ops.h"

namespace ftllm {
namespace {

class SelectOutputsOp final : public Op {
 public:
  SelectOutputsOp(ValueId x, ValueId y, int64_t width) : Op({x}, {y}), width_(width) {}

  void run(const StepContext& step) const noexcept override {
    const float* x = step.values[inputs_[0]];
    float* y = step.values[outputs_[0]];
    for (int64_t i = 0; i < step.rows.outputs; ++i) {
      std::memcpy(y + i * width_, x + step.rows.output_rows[i] * width_,
                  static_cast<size_t>(width_) * sizeof(float));
    }
  }

 private:
  int64_t width_;
};

}  // namespace

ValueId add_select_outputs(Graph& graph, ValueId x) {
  graph.require(graph.value(x).rows == RowKind::kTokens, "the outputs are selected already");
  const int64_t width = graph.width(x);
  const ValueId y = graph.add_value(RowKind::kOutputs, width);
  graph.set_first_output_op();
  graph.add_op(std::make_unique<SelectOutputsOp>(x, y, width));
  return y;
}

}  // namespace ftllm
