#include "graph/graph.h"

#include <utility>

#include "base/error.h"

namespace ftllm {

void Graph::set_location(std::string scope, std::string source) {
  scope_ = std::move(scope);
  source_ = std::move(source);
}

ValueId Graph::add_value(RowKind rows, int64_t width) {
  values_.push_back({scope_, source_, rows, width});
  return static_cast<ValueId>(values_.size() - 1);
}

const Value& Graph::value(ValueId id) const {
  require(id >= 0 && static_cast<size_t>(id) < values_.size(),
          "value " + std::to_string(id) + " does not exist");
  return values_[static_cast<size_t>(id)];
}

int Graph::add_rope_table(RopeTable table) {
  rope_tables_.push_back(std::move(table));
  return static_cast<int>(rope_tables_.size() - 1);
}

void Graph::add_kv_layer(int layer, KvLayer shape) {
  require(layer == static_cast<int>(kv_layers_.size()), "attention layer " + std::to_string(layer) +
                                                            " is recorded out of order; expected " +
                                                            std::to_string(kv_layers_.size()));
  kv_layers_.push_back(shape);
}

void Graph::set_logits(ValueId logits) {
  require(value(logits).rows == RowKind::kOutputs, "logits must come after select_outputs");
  logits_ = logits;
}

void Graph::set_hidden(ValueId hidden) {
  require(value(hidden).rows == RowKind::kOutputs,
          "the hidden state must come after select_outputs");
  hidden_ = hidden;
  hidden_end_ = ops_.size();
}

void Graph::fail(const std::string& message) const {
  throw Error(Error::Kind::kGraph,
              (scope_.empty() ? "graph" : scope_) + " (" + source_ + "): " + message);
}

}  // namespace ftllm
