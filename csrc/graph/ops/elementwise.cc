#include <string>

#include "graph/ops.h"
#include "graph/row_loop.h"

namespace ftllm {
namespace {

constexpr ValueId kNone = -1;

enum class Kind : uint8_t { kAdd, kScale, kSoftCap, kGelu, kSiluMul, kGeluMul };

constexpr bool is_binary(Kind kind) {
  return kind == Kind::kAdd || kind == Kind::kSiluMul || kind == Kind::kGeluMul;
}

// y = op(a, b), or op(a) with a parameter, value by value.
class ElementwiseOp final : public Op {
 public:
  ElementwiseOp(Kind kind, ValueId a, ValueId b, ValueId y, RowKind rows, int64_t width,
                float factor)
      : Op(b == kNone ? std::vector<ValueId>{a} : std::vector<ValueId>{a, b}, {y}),
        kind_(kind),
        rows_(rows),
        width_(width),
        factor_(factor) {}

  void run(const StepContext& step) const noexcept override {
    const float* a = step.values[inputs_[0]];
    const float* b = step.values[inputs_.back()];
    float* y = step.values[outputs_[0]];
    for_row_chunks(step.pool, step.count(rows_), 4 * width_, [&](int64_t begin, int64_t end) {
      const int64_t at = begin * width_;
      const int64_t count = (end - begin) * width_;
      const KernelTable& kernels = step.kernels;
      switch (kind_) {
        case Kind::kAdd:
          return kernels.add(a + at, b + at, count, y + at);
        case Kind::kScale:
          return kernels.scale(a + at, factor_, count, y + at);
        case Kind::kSoftCap:
          return kernels.soft_cap(a + at, factor_, count, y + at);
        case Kind::kGelu:
          return kernels.gelu(a + at, count, y + at);
        case Kind::kSiluMul:
          return kernels.silu_mul(a + at, b + at, count, y + at);
        case Kind::kGeluMul:
          return kernels.gelu_mul(a + at, b + at, count, y + at);
      }
    });
  }

 private:
  Kind kind_;
  RowKind rows_;
  int64_t width_;
  float factor_;
};

ValueId record(Graph& graph, Kind kind, ValueId a, ValueId b, float factor) {
  const Value& first = graph.value(a);
  if (is_binary(kind)) {
    const Value& second = graph.value(b);
    graph.require(first.width == second.width && first.rows == second.rows,
                  "operands differ: " + first.name + " has width " + std::to_string(first.width) +
                      ", " + second.name + " has width " + std::to_string(second.width));
  }
  const RowKind rows = first.rows;
  const int64_t width = first.width;
  const ValueId y = graph.add_value(rows, width);
  graph.add_op(std::make_unique<ElementwiseOp>(kind, a, b, y, rows, width, factor));
  return y;
}

}  // namespace

ValueId add_add(Graph& graph, ValueId a, ValueId b) {
  return record(graph, Kind::kAdd, a, b, 0.0f);
}

ValueId add_scale(Graph& graph, ValueId x, float factor) {
  return record(graph, Kind::kScale, x, kNone, factor);
}

ValueId add_soft_cap(Graph& graph, ValueId x, float limit) {
  return record(graph, Kind::kSoftCap, x, kNone, limit);
}

ValueId add_gelu(Graph& graph, ValueId x) { return record(graph, Kind::kGelu, x, kNone, 0.0f); }

ValueId add_gated(Graph& graph, ValueId gate, ValueId up, Activation activation) {
  const Kind kind = activation == Activation::kSilu ? Kind::kSiluMul : Kind::kGeluMul;
  return record(graph, kind, gate, up, 0.0f);
}

}  // namespace ftllm
