#include <cstring>
#include <string>

#include "graph/ops.h"
#include "graph/row_loop.h"

namespace ftllm {
namespace {

class RopeOp final : public Op {
 public:
  RopeOp(ValueId x, int table, int64_t pairs, int64_t head_dim, ValueId y, int64_t width)
      : Op({x}, {y}), table_(table), pairs_(pairs), head_dim_(head_dim), width_(width) {}

  void run(const StepContext& step) const noexcept override {
    const float* x = step.values[inputs_[0]];
    float* y = step.values[outputs_[0]];
    const float* angles = step.rows.rope[static_cast<size_t>(table_)];
    for_row_chunks(step.pool, step.rows.tokens, 4 * width_, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const float* cos = angles + row * 2 * pairs_;
        float* to = y + row * width_;
        std::memcpy(to, x + row * width_, static_cast<size_t>(width_) * sizeof(float));
        for (int64_t at = 0; at < width_; at += head_dim_) {
          step.kernels.rotate_half(cos, cos + pairs_, pairs_, to + at);
        }
      }
    });
  }

 private:
  int table_;
  int64_t pairs_;
  int64_t head_dim_;
  int64_t width_;
};

}  // namespace

ValueId add_rope(Graph& graph, ValueId x, int table, int head_dim) {
  const int64_t width = graph.width(x);
  graph.require(table >= 0 && static_cast<size_t>(table) < graph.rope_tables().size(),
                "rope table " + std::to_string(table) + " does not exist");
  const auto pairs =
      static_cast<int64_t>(graph.rope_tables()[static_cast<size_t>(table)].frequencies.size());
  graph.require(head_dim > 0 && width % head_dim == 0 && 2 * pairs <= head_dim,
                "cannot rotate " + std::to_string(pairs) + " pairs in heads of " +
                    std::to_string(head_dim) + " values, rows of width " + std::to_string(width));
  const ValueId y = graph.add_value(RowKind::kTokens, width);
  graph.add_op(std::make_unique<RopeOp>(x, table, pairs, head_dim, y, width));
  return y;
}

}  // namespace ftllm
