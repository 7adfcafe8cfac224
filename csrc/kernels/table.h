#pragma once

#include <cstdint>

#include "formats/list.h"

// The border between the generic C++ and the kernels of one ISA: plain structs of pointers and one
// constant table of functions. Every kernel is noexcept, allocates nothing, and computes each
// output from its own row alone, in an order that depends neither on how many rows there are nor on
// how work is split: results are bit-identical for any batch, chunking and thread count.
namespace ftllm {

enum class KvType : uint8_t { kF32, kF16, kBF16, kInt8, kCount };
constexpr int kKvTypeCount = static_cast<int>(KvType::kCount);

// Tokens in one block of the KV cache. Lanes run over the tokens of a block.
constexpr int kKvBlock = 32;

// Activations for block formats: see kernels/activations.h.
constexpr int kActivationBlock = 32;
constexpr int64_t kActivationBlockBytes = 32 + 5 * 4;

// Most bytes that a row of an unpacked weight panel takes for 32 columns: codes, and the float
// scales and mins of two groups (kernels/linear_block.h).
constexpr int64_t kUnpackedBlockBytes = 32 + 2 * 2 * 4;

// y[m, n] = Σ_k x[m, k] · W[n, k] (+ bias[n]) for the panels [panel_begin, panel_end) of W.
struct LinearTask {
  const uint8_t* panels;  // panel 0
  int64_t panel_bytes;
  int64_t panel_begin;
  int64_t panel_end;
  int64_t rows;     // N
  int64_t columns;  // K
  const float* x;   // float formats: (M, K) row-major, x_stride apart
  int64_t x_stride;
  const uint8_t* tiles;  // block formats: activation tiles of all M rows
  int64_t row_begin;     // rows of x to compute; row_begin is a multiple of tile_rows
  int64_t row_end;
  int64_t m;  // M: rows in all tiles
  float* y;   // (M, N) row-major, y_stride apart
  int64_t y_stride;
  const float* bias;  // (N,) or nullptr
  uint8_t* scratch;   // linear_scratch_bytes(), this thread's own
};

// Attention of the query heads that share one KV head, for consecutive rows of one sequence.
struct AttentionTask {
  const float* q;    // first row's first head of the group; heads are head_dim apart
  int64_t q_stride;  // floats between rows
  float* out;        // like q
  int64_t out_stride;
  int rows;   // query tokens
  int heads;  // query heads of the group
  int head_dim;
  int64_t position;            // of the first row
  const int32_t* block_table;  // KV block ids of the sequence
  const uint8_t* k;            // this KV head's K of block 0; blocks are block_bytes apart
  const uint8_t* v;
  int64_t block_bytes;
  float scale;
  int64_t window;  // attend to the last `window` positions; 0 = all
  int64_t end;     // every row attends to the positions below; 0 = causal, up to its own
  float* scratch;  // attention_scratch_floats(head_dim)

  // Not null: only chunks [chunk_begin, chunk_end), each summed for itself into (rows · heads)
  // states of attention_state_floats(head_dim), one chunk's behind the other's.
  float* states = nullptr;
  int64_t chunk_begin = 0;
  int64_t chunk_end = 0;

  // The last position that the last row attends to.
  int64_t newest() const { return end > 0 ? end - 1 : position + rows - 1; }

  // The first position that the first row attends to.
  int64_t oldest() const { return window > 0 && position >= window ? position - window + 1 : 0; }
};

// KV blocks that are summed for themselves before they are added to those before.
constexpr int64_t kAttentionChunk = 16;

// A row's sums over a chunk: Σ p·v, the maximum that p is relative to, Σ p.
constexpr int64_t attention_state_floats(int head_dim) { return head_dim + 2; }

// Rows × heads that one attention task may hold.
constexpr int kAttentionRows = 32;

constexpr int64_t attention_scratch_floats(int head_dim) {
  return 2 * int64_t{kKvBlock} * head_dim            // K and V of one block as float
         + int64_t{kAttentionRows} * head_dim        // outputs
         + int64_t{kAttentionRows} * head_dim        // scaled queries
         + int64_t{kAttentionRows} * (kKvBlock + 2)  // scores, running maximum and sum
         + int64_t{kAttentionRows} * attention_state_floats(head_dim);  // over all chunks
}

// One token's K and V of one KV head into slot `slot` of a block.
struct KvWriteTask {
  const float* k;  // (head_dim,)
  const float* v;
  uint8_t* k_block;
  uint8_t* v_block;
  int head_dim;
  int slot;
};

struct KernelTable {
  const char* isa;
  int lanes;        // NR: rows of a weight panel
  int tile_rows;    // activation rows that block-format kernels compute together
  int tile_panels;  // panels that they compute together

  void (*linear[kFormatCount])(const LinearTask&) noexcept;

  // Quantizes rows [row_begin, row_end) of x (M, K) into activation tiles; row_begin is a multiple
  // of tile_rows.
  void (*quantize_rows)(const float* x, int64_t x_stride, int64_t columns, int64_t row_begin,
                        int64_t row_end, int64_t m, uint8_t* tiles) noexcept;

  // y = x / sqrt(mean(x²) + eps) · weight, over `columns` values.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t columns,
                   float* y) noexcept;
  // y = (x − mean) / sqrt(variance + eps) · weight + bias, over `columns` values.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps,
                     int64_t columns, float* y) noexcept;
  void (*add)(const float* a, const float* b, int64_t count, float* y) noexcept;
  void (*scale)(const float* x, float factor, int64_t count, float* y) noexcept;
  void (*silu_mul)(const float* gate, const float* up, int64_t count, float* y) noexcept;
  // GELU in its tanh form, times up.
  void (*gelu_mul)(const float* gate, const float* up, int64_t count, float* y) noexcept;
  // GELU itself, by the normal distribution.
  void (*gelu)(const float* x, int64_t count, float* y) noexcept;
  // y += factor · x
  void (*scaled_add)(const float* x, float factor, int64_t count, float* y) noexcept;
  // y = limit · tanh(x / limit)
  void (*soft_cap)(const float* x, float limit, int64_t count, float* y) noexcept;
  // Rotates pairs (x[i], x[i + half]) for i < half by the angles whose cos and sin are given.
  void (*rotate_half)(const float* cos, const float* sin, int64_t half, float* x) noexcept;

  void (*kv_write[kKvTypeCount])(const KvWriteTask&) noexcept;
  void (*attention[kKvTypeCount])(const AttentionTask&) noexcept;
  // Adds up the states of chunks [chunk_begin, chunk_end) of a task, in place, and writes `out`.
  void (*add_chunks)(const AttentionTask&) noexcept;

  // What the machine can do at most, for benchmarks (kernels/limits.h). The first three run
  // `rounds` of bare arithmetic and return the number of multiplications and additions; `sink`
  // takes kLimitSink floats, so that nothing is optimized away.
  int64_t (*float_limit)(int64_t rounds, float* sink) noexcept;
  int64_t (*int8_limit)(int64_t rounds, float* sink) noexcept;
  int64_t (*int4_limit)(int64_t rounds, float* sink) noexcept;
  void (*read_limit)(const uint8_t* data, int64_t bytes, float* sink) noexcept;
};

constexpr int kLimitSink = 64;  // at least the lanes of any ISA

// Scratch of a linear layer of K = `columns`, for each thread.
inline int64_t linear_scratch_bytes(const KernelTable& kernels, int64_t columns) {
  const int64_t blocks = (columns + kActivationBlock - 1) / kActivationBlock;
  return kernels.tile_panels * blocks * kUnpackedBlockBytes * kernels.lanes;
}

// The table of the ISA chosen for this process; throws Error if FTLLM_ISA names one that is unknown
// or that this machine cannot run.
const KernelTable& kernel_table();

}  // namespace ftllm
