#include "graph/executor.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/error.h"
#include "graph/planner.h"
#include "graph/row_loop.h"
#include "sampling/logprobs.h"

namespace ftllm {
namespace {

// Output rows whose logits exist at one time; more are done in slices.
constexpr int64_t kOutputSlice = 32;

[[noreturn]] void refuse(const std::string& message) {
  throw Error(Error::Kind::kGraph, "step refused: " + message);
}

}  // namespace

Executor::Executor(std::shared_ptr<const Graph> graph, std::shared_ptr<ThreadPool> pool,
                   KvType kv_type, int64_t kv_blocks, int64_t max_tokens, int64_t max_sequences)
    : graph_(std::move(graph)),
      pool_(std::move(pool)),
      kernels_(kernel_table()),
      cache_(kv_type, graph_->kv_layers(), kv_blocks),
      limits_{max_tokens, max_sequences, std::min(max_tokens, kOutputSlice), pool_->size()} {
  if (graph_->logits() < 0 && graph_->hidden() < 0) {
    throw Error(Error::Kind::kGraph, "the graph has neither logits nor a hidden state");
  }
  const MemoryPlan plan = plan_memory(*graph_, limits_);
  arena_ = Buffer(static_cast<size_t>(plan.arena_bytes));
  scratch_ = Buffer(static_cast<size_t>(std::max<int64_t>(plan.scratch_bytes, 64)));
  for (const int64_t offset : plan.offsets) {
    values_.push_back(reinterpret_cast<float*>(arena_.data() + offset));
  }
  positions_.resize(static_cast<size_t>(max_tokens));
  kv_blocks_.resize(static_cast<size_t>(max_tokens));
  for (const RopeTable& table : graph_->rope_tables()) {
    rope_.emplace_back(static_cast<size_t>(max_tokens) * 2 * table.frequencies.size());
    rows_.rope.push_back(rope_.back().data());
  }
  if (graph_->logits() < 0) return;
  const auto vocabulary = static_cast<size_t>(graph_->width(graph_->logits()));
  sampling_scratch_.resize(static_cast<size_t>(pool_->size()) * Sampler::scratch_size(vocabulary));
}

int64_t Executor::hidden_width() const {
  return graph_->hidden() < 0 ? 0 : graph_->width(graph_->hidden());
}

int64_t Executor::workspace_bytes() const {
  return static_cast<int64_t>(arena_.bytes() + scratch_.bytes());
}

void Executor::check(const StepInput& input) const {
  const auto tokens = static_cast<int64_t>(input.token_ids.size());
  const auto sequences = static_cast<int64_t>(input.context_lens.size());
  const auto outputs = input.output_rows.size();
  if (tokens < 1 || tokens > limits_.tokens) {
    refuse(std::to_string(tokens) + " token rows; 1 to " + std::to_string(limits_.tokens) + " fit");
  }
  if (sequences < 1 || sequences > limits_.sequences ||
      input.row_starts.size() != static_cast<size_t>(sequences + 1) ||
      input.block_tables.size() != static_cast<size_t>(sequences * input.table_width)) {
    refuse(std::to_string(sequences) + " sequences with " +
           std::to_string(input.row_starts.size()) + " row starts; up to " +
           std::to_string(limits_.sequences) + " sequences fit");
  }
  if (input.output_targets.size() != outputs || input.output_top.size() != outputs ||
      input.output_drafts.size() != outputs || input.samplers.size() != outputs) {
    refuse("the output arrays differ in length");
  }
  if (outputs > 0 && graph_->logits() < 0) refuse("the graph has no logits");
  if (!input.pooled_rows.empty() && graph_->hidden() < 0) refuse("the graph has no hidden state");
  if (input.row_starts[0] != 0 || input.row_starts[sequences] != tokens) {
    refuse("row_starts do not cover the token rows");
  }
  const int64_t vocabulary = graph_->vocabulary();
  for (const int32_t id : input.token_ids) {
    if (id < 0 || id >= vocabulary) refuse("token id " + std::to_string(id) + " is no token");
  }
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t rows = input.row_starts[s + 1] - input.row_starts[s];
    const int64_t end = input.context_lens[s] + rows;
    if (rows < 1 || input.context_lens[s] < 0) refuse("a sequence has no rows");
    const int64_t blocks = (end + kKvBlock - 1) / kKvBlock;
    if (blocks > input.table_width) refuse("a block table is too short");
    for (int64_t b = 0; b < blocks; ++b) {
      const int32_t block = input.block_tables[s * input.table_width + b];
      if (block < 0 || block >= cache_.blocks()) {
        refuse("KV block " + std::to_string(block) + " does not exist");
      }
    }
  }
  for (const int32_t row : input.pooled_rows) {
    if (row < 0 || row >= tokens) refuse("pooled row " + std::to_string(row) + " does not exist");
  }
  for (size_t i = 0; i < outputs; ++i) {
    const bool samples = input.output_targets[i] < 0;
    if (input.output_rows[i] < 0 || input.output_rows[i] >= tokens ||
        input.output_targets[i] >= vocabulary || samples != (input.samplers[i] != nullptr) ||
        input.output_drafts[i] < 0 || input.output_drafts[i] > input.output_rows[i]) {
      refuse("output " + std::to_string(i) + " is malformed");
    }
  }
  check_masks(input);
}

void Executor::check_masks(const StepInput& input) const {
  if (!input.output_masks.empty() && input.output_masks.size() != input.output_rows.size()) {
    refuse("the output arrays differ in length");
  }
  const int64_t rows = input.masks == nullptr ? 0 : input.masks->rows();
  for (size_t i = 0; i < input.output_masks.size(); ++i) {
    const int32_t mask = input.output_masks[i];
    if (mask < -1 || mask >= rows || (mask >= 0 && input.output_targets[i] >= 0)) {
      refuse("mask " + std::to_string(mask) + " of output " + std::to_string(i) +
             " does not exist");
    }
  }
  if (input.masks != nullptr && input.masks->vocab_size() != graph_->vocabulary()) {
    refuse("the masks are for " + std::to_string(input.masks->vocab_size()) + " tokens, not " +
           std::to_string(graph_->vocabulary()));
  }
}

void Executor::locate_rows(const StepInput& input) {
  for (size_t s = 0; s < input.context_lens.size(); ++s) {
    const int32_t* table = input.block_tables.data() + s * static_cast<size_t>(input.table_width);
    for (int32_t row = input.row_starts[s]; row < input.row_starts[s + 1]; ++row) {
      const int32_t position = input.context_lens[s] + row - input.row_starts[s];
      positions_[static_cast<size_t>(row)] = position;
      kv_blocks_[static_cast<size_t>(row)] = table[position / kKvBlock];
    }
  }
  rows_.tokens = static_cast<int64_t>(input.token_ids.size());
  rows_.token_ids = input.token_ids.data();
  rows_.positions = positions_.data();
  rows_.kv_blocks = kv_blocks_.data();
  rows_.sequences = static_cast<int64_t>(input.context_lens.size());
  rows_.row_starts = input.row_starts.data();
  rows_.block_tables = input.block_tables.data();
  rows_.table_width = input.table_width;
}

void Executor::fill_rope() {
  for (size_t t = 0; t < rope_.size(); ++t) {
    const RopeTable& table = graph_->rope_tables()[t];
    const auto pairs = static_cast<int64_t>(table.frequencies.size());
    float* angles = rope_[t].data();
    for_row_chunks(*pool_, rows_.tokens, 64 * pairs, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        float* cos = angles + row * 2 * pairs;
        for (int64_t i = 0; i < pairs; ++i) {
          const float angle = static_cast<float>(positions_[static_cast<size_t>(row)]) *
                              table.frequencies[static_cast<size_t>(i)];
          cos[i] = static_cast<float>(std::cos(static_cast<double>(angle))) * table.factor;
          cos[pairs + i] = static_cast<float>(std::sin(static_cast<double>(angle))) * table.factor;
        }
      }
    });
  }
}

void Executor::run_ops(size_t begin, size_t end, const StepContext& context,
                       const Trace* trace) const {
  for (size_t i = begin; i < end; ++i) {
    const Op& op = *graph_->ops()[i];
    op.run(context);
    if (trace == nullptr) continue;
    for (const ValueId v : op.outputs()) {
      (*trace)(v, values_[static_cast<size_t>(v)],
               context.count(graph_->values()[static_cast<size_t>(v)].rows));
    }
  }
}

void Executor::select_slice(std::span<const int32_t> rows, size_t first) {
  rows_.outputs = std::min(limits_.outputs, static_cast<int64_t>(rows.size() - first));
  rows_.output_rows = rows.data() + first;
}

void Executor::sample_slice(const StepInput& input, const StepOutput& output, int64_t first) {
  const auto vocabulary = static_cast<size_t>(graph_->width(graph_->logits()));
  const size_t scratch_size = Sampler::scratch_size(vocabulary);
  const float* logits = values_[static_cast<size_t>(graph_->logits())];
  pool_->parallel_for(rows_.outputs, [&](int64_t i, int thread) {
    const auto row = static_cast<size_t>(first + i);
    const std::span<const float> row_logits(logits + static_cast<size_t>(i) * vocabulary,
                                            vocabulary);
    const std::span<float> scratch(
        sampling_scratch_.data() + static_cast<size_t>(thread) * scratch_size, scratch_size);
    int32_t token = input.output_targets[row];
    if (token < 0) {
      const auto count = static_cast<size_t>(input.output_drafts[row]);
      const auto end = static_cast<size_t>(input.output_rows[row]) + 1;
      const int32_t mask = input.output_masks.empty() ? -1 : input.output_masks[row];
      const std::span<const uint32_t> allowed =
          mask < 0 ? std::span<const uint32_t>{} : input.masks->row(mask);
      token =
          input.samplers[row]
              ->sample(row_logits, scratch, input.token_ids.subspan(end - count, count), allowed)
              .token_id;
    }
    output.token_ids[row] = token;
    output.logprobs[row] = 0.0f;
    output.ranks[row] = 0;
    const auto width = static_cast<size_t>(output.top_width);
    const std::span<int32_t> top_ids(output.top_ids + row * width, width);
    const std::span<float> top_logprobs(output.top_logprobs + row * width, width);
    std::fill(top_ids.begin(), top_ids.end(), -1);
    std::fill(top_logprobs.begin(), top_logprobs.end(), 0.0f);
    const int32_t top = input.output_top[row];
    if (top >= 0 && token >= 0) {
      score(row_logits, token, output.logprobs[row], output.ranks[row],
            top_ids.first(static_cast<size_t>(top)), top_logprobs.first(static_cast<size_t>(top)));
    }
  });
}

void Executor::step(const StepInput& input, const StepOutput& output, const Trace* trace) {
  check(input);
  locate_rows(input);
  fill_rope();
  const StepContext context{rows_, values_.data(), scratch_.data(), &cache_, *pool_, kernels_};
  run_ops(0, graph_->first_output_op(), context, trace);
  for (size_t first = 0; first < input.output_rows.size(); first += limits_.outputs) {
    select_slice(input.output_rows, first);
    run_ops(graph_->first_output_op(), graph_->ops().size(), context, trace);
    if (input.masks != nullptr) input.masks->wait();
    sample_slice(input, output, static_cast<int64_t>(first));
  }
  for (size_t first = 0; first < input.pooled_rows.size(); first += limits_.outputs) {
    select_slice(input.pooled_rows, first);
    run_ops(graph_->first_output_op(), graph_->hidden_end(), context, trace);
    const auto width = static_cast<size_t>(hidden_width());
    std::copy_n(values_[static_cast<size_t>(graph_->hidden())],
                static_cast<size_t>(rows_.outputs) * width, output.hidden + first * width);
  }
}

}  // namespace ftllm
