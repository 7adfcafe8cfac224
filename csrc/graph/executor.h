#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/thread_pool.h"
#include "cache/kv_cache.h"
#include "graph/graph.h"
#include "sampling/sampler.h"
#include "sampling/token_masks.h"

namespace ftllm {

// One step's work; shapes are those of engine/plan.py's StepPlan.
struct StepInput {
  std::span<const int32_t> token_ids;
  std::span<const int32_t> row_starts;
  std::span<const int32_t> context_lens;
  std::span<const int32_t> block_tables;
  int64_t table_width;
  std::span<const int32_t> output_rows;
  std::span<const int32_t> output_targets;
  std::span<const int32_t> output_top;
  std::span<const int32_t> output_drafts;
  std::span<const int32_t> pooled_rows;
  std::span<const Sampler* const> samplers;
  std::span<const int32_t> output_masks;  // empty: all -1
  const TokenMasks* masks = nullptr;
};

// Where a step's results go: engine/plan.py's StepResult, allocated by the caller. A row whose
// logits are all NaN or -inf gets the token -1, one whose tokens its sampler excludes -2.
struct StepOutput {
  int32_t* token_ids;
  float* logprobs;
  int32_t* ranks;
  int32_t* top_ids;
  float* top_logprobs;
  int64_t top_width;
  float* hidden;  // (pooled_rows, hidden_width)
};

// Runs a graph over its KV cache. One step at a time, from any one thread.
class Executor {
 public:
  // Called after an operator with each value it computed: (value, data, rows). For tests.
  using Trace = std::function<void(ValueId, const float*, int64_t)>;

  Executor(std::shared_ptr<const Graph> graph, std::shared_ptr<ThreadPool> pool, KvType kv_type,
           int64_t kv_blocks, int64_t max_tokens, int64_t max_sequences);

  // Throws Error if the plan is outside the limits; the KV cache is untouched then.
  void step(const StepInput& input, const StepOutput& output, const Trace* trace = nullptr);

  const KernelTable& kernels() const { return kernels_; }
  int threads() const { return pool_->size(); }
  int64_t kv_blocks() const { return cache_.blocks(); }
  int64_t max_tokens() const { return limits_.tokens; }
  int64_t max_sequences() const { return limits_.sequences; }
  int64_t hidden_width() const;  // 0: the graph does not name its hidden state
  int64_t workspace_bytes() const;

 private:
  void check(const StepInput& input) const;
  void check_masks(const StepInput& input) const;
  void locate_rows(const StepInput& input);
  void fill_rope();
  void run_ops(size_t begin, size_t end, const StepContext& context, const Trace* trace) const;
  void select_slice(std::span<const int32_t> rows, size_t first);
  void sample_slice(const StepInput& input, const StepOutput& output, int64_t first);

  std::shared_ptr<const Graph> graph_;
  std::shared_ptr<ThreadPool> pool_;
  const KernelTable& kernels_;
  KvCache cache_;
  StepLimits limits_;
  Buffer arena_;
  Buffer scratch_;
  std::vector<float*> values_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> kv_blocks_;
  std::vector<std::vector<float>> rope_;
  std::vector<float> sampling_scratch_;  // (threads, Sampler::scratch_size)
  StepRows rows_;
};

}  // namespace ftllm
