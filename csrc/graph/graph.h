#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "cache/kv_cache.h"
#include "graph/weight.h"
#include "kernels/table.h"

// A recorded model: values and the operators between them, in order.
//
// A value is a float32 matrix (rows, width). Its row count is the only symbolic dimension: the
// step's tokens, or, after select_outputs, the rows whose logits or hidden states are wanted.
namespace ftllm {

using ValueId = int32_t;

enum class RowKind : uint8_t { kTokens, kOutputs };

struct Value {
  std::string name;    // scope path, such as "layers.3.mlp.down"
  std::string source;  // file:line that recorded it
  RowKind rows;
  int64_t width;
};

// Rotation angles of rotary embeddings: position p turns pair i by p · frequencies[i]; cos and sin
// are multiplied by `factor`.
struct RopeTable {
  std::vector<float> frequencies;
  float factor;
};

// One step's rows as the operators see them.
struct StepRows {
  int64_t tokens = 0;
  const int32_t* token_ids = nullptr;  // (tokens,)
  const int32_t* positions = nullptr;  // (tokens,)
  const int32_t* kv_blocks = nullptr;  // (tokens,) the block that takes the token's K and V
  int64_t sequences = 0;
  const int32_t* row_starts = nullptr;    // (sequences + 1,)
  const int32_t* block_tables = nullptr;  // (sequences, table_width)
  int64_t table_width = 0;
  int64_t outputs = 0;                   // rows of the current slice of outputs
  const int32_t* output_rows = nullptr;  // (outputs,)
  std::vector<const float*> rope;        // per table: (tokens, 2, pairs), cos then sin
};

// What an operator runs with. `values[v]` is value v's buffer.
struct StepContext {
  const StepRows& rows;
  float* const* values;
  uint8_t* scratch;
  KvCache* cache;
  ThreadPool& pool;
  const KernelTable& kernels;

  int64_t count(RowKind kind) const {
    return kind == RowKind::kTokens ? rows.tokens : rows.outputs;
  }
};

// Upper limits that scratch space is planned for.
struct StepLimits {
  int64_t tokens;
  int64_t sequences;
  int64_t outputs;
  int threads;

  int64_t count(RowKind kind) const { return kind == RowKind::kTokens ? tokens : outputs; }
};

// One operator. run() computes its outputs for all rows of a step; it allocates nothing.
class Op {
 public:
  Op(std::vector<ValueId> inputs, std::vector<ValueId> outputs)
      : inputs_(std::move(inputs)), outputs_(std::move(outputs)) {}
  virtual ~Op() = default;
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;

  virtual void run(const StepContext& step) const noexcept = 0;
  virtual int64_t scratch_bytes(const StepLimits&) const { return 0; }

  const std::vector<ValueId>& inputs() const { return inputs_; }
  const std::vector<ValueId>& outputs() const { return outputs_; }

 protected:
  std::vector<ValueId> inputs_;
  std::vector<ValueId> outputs_;
};

class Graph {
 public:
  // Names given to the values recorded from here on.
  void set_location(std::string scope, std::string source);

  ValueId add_value(RowKind rows, int64_t width);
  const Value& value(ValueId id) const;
  int64_t width(ValueId id) const { return value(id).width; }

  template <class T>
  T* add_op(std::unique_ptr<T> op) {
    T* added = op.get();
    ops_.push_back(std::move(op));
    return added;
  }
  Op* last_op() const { return ops_.empty() ? nullptr : ops_.back().get(); }

  int add_rope_table(RopeTable table);
  void add_kv_layer(int layer, KvLayer shape);
  void set_first_output_op() { first_output_op_ = ops_.size(); }
  void set_logits(ValueId logits);
  // The final hidden state is the value recorded last.
  void set_hidden(ValueId hidden);
  void set_vocabulary(int64_t tokens) { vocabulary_ = tokens; }

  const std::vector<Value>& values() const { return values_; }
  const std::vector<std::unique_ptr<Op>>& ops() const { return ops_; }
  const std::vector<RopeTable>& rope_tables() const { return rope_tables_; }
  const std::vector<KvLayer>& kv_layers() const { return kv_layers_; }
  size_t first_output_op() const { return first_output_op_; }
  ValueId logits() const { return logits_; }  // -1: the model has no output layer
  ValueId hidden() const { return hidden_; }  // -1: it was not named
  // The operators up to here compute the hidden state; those behind only the logits.
  size_t hidden_end() const { return hidden_end_; }
  int64_t vocabulary() const { return vocabulary_; }  // rows of the embedding table

  // Throws Error that names the scope and source line being recorded.
  [[noreturn]] void fail(const std::string& message) const;
  void require(bool condition, const std::string& message) const {
    if (!condition) fail(message);
  }

 private:
  std::string scope_;
  std::string source_;
  std::vector<Value> values_;
  std::vector<std::unique_ptr<Op>> ops_;
  std::vector<RopeTable> rope_tables_;
  std::vector<KvLayer> kv_layers_;
  size_t first_output_op_ = 0;
  size_t hidden_end_ = 0;
  ValueId logits_ = -1;
  ValueId hidden_ = -1;
  int64_t vocabulary_ = 0;
};

}  // namespace ftllm
