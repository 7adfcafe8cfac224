#pragma once

#include <memory>
#include <vector>

#include "graph/graph.h"

// Recording functions, one per operator. Each checks shapes and throws Error naming the recording
// line; execution is in ops/<operator>.cc.
namespace ftllm {

using WeightPtr = std::shared_ptr<const Weight>;
using VectorPtr = std::shared_ptr<const std::vector<float>>;

enum class Activation : uint8_t { kSilu, kGelu };

// (tokens, columns of the table): the table's row for each token id, times `factor`.
ValueId add_embedding(Graph& graph, WeightPtr table, float factor);

// y = x Wᵀ + bias. Neighbours with the same input run as one loop and share its quantization.
ValueId add_linear(Graph& graph, ValueId x, WeightPtr weight, VectorPtr bias);

// RMS normalization over runs of weight.size() values, which must divide x's width.
ValueId add_rms_norm(Graph& graph, ValueId x, VectorPtr weight, float eps);

// Layer normalization of whole rows.
ValueId add_layer_norm(Graph& graph, ValueId x, VectorPtr weight, VectorPtr bias, float eps);

// x plus the row of `table` (positions, width of x) for each token's position + `first`.
ValueId add_positions(Graph& graph, ValueId x, VectorPtr table, int64_t first);

// Rotary embedding of each head's first 2 · pairs values, as pairs (i, i + pairs).
ValueId add_rope(Graph& graph, ValueId x, int table, int head_dim);

// Attention through the KV cache of `layer`; window 0 = unlimited. Not causal: every row attends to
// all rows of its sequence, so that a step must hold the whole sequence.
ValueId add_attention(Graph& graph, ValueId q, ValueId k, ValueId v, int layer, int head_dim,
                      float scale, int64_t window, bool causal);

ValueId add_add(Graph& graph, ValueId a, ValueId b);
ValueId add_scale(Graph& graph, ValueId x, float factor);
ValueId add_soft_cap(Graph& graph, ValueId x, float limit);
ValueId add_gelu(Graph& graph, ValueId x);
// activation(gate) · up
ValueId add_gated(Graph& graph, ValueId gate, ValueId up, Activation activation);

// The rows whose logits are wanted; everything recorded afterwards works on those.
ValueId add_select_outputs(Graph& graph, ValueId x);

struct ExpertsSpec {
  WeightPtr gate;
  WeightPtr up;
  WeightPtr down;
  int top_k;
  bool normalize;  // divide the chosen probabilities by their sum
  Activation activation;
};

// Mixture of experts: each token's top_k experts by softmax(router), weighted and summed in the
// order of their rank.
ValueId add_experts(Graph& graph, ValueId x, ValueId router, ExpertsSpec spec);

}  // namespace ftllm
