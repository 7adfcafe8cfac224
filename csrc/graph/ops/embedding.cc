#include "graph/ops.h"
#include "graph/row_loop.h"

namespace ftllm {
namespace {

class EmbeddingOp final : public Op {
 public:
  EmbeddingOp(WeightPtr table, float factor, ValueId y)
      : Op({}, {y}), table_(std::move(table)), factor_(factor) {}

  void run(const StepContext& step) const noexcept override {
    const int64_t width = table_->columns();
    float* y = step.values[outputs_[0]];
    for_row_chunks(step.pool, step.rows.tokens, 8 * width, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        table_->unpack(0, step.rows.token_ids[row], y + row * width);
        if (factor_ != 1.0f) step.kernels.scale(y + row * width, factor_, width, y + row * width);
      }
    });
  }

 private:
  WeightPtr table_;
  float factor_;
};

}  // namespace

ValueId add_embedding(Graph& graph, WeightPtr table, float factor) {
  const ValueId y = graph.add_value(RowKind::kTokens, table->columns());
  graph.set_vocabulary(table->rows());
  graph.add_op(std::make_unique<EmbeddingOp>(std::move(table), factor, y));
  return y;
}

}  // namespace ftllm
