#include <algorithm>
#include <string>

#include "graph/ops.h"
#include "graph/row_loop.h"

namespace ftllm {
namespace {

struct Shape {
  int layer;
  int heads;
  int kv_heads;
  int head_dim;
  float scale;
  int64_t window;
};

// Query rows of one sequence that one item computes for one KV head.
struct Tile {
  int32_t sequence;
  int32_t row;
  int32_t rows;
};

class AttentionOp final : public Op {
 public:
  AttentionOp(ValueId q, ValueId k, ValueId v, ValueId y, Shape shape)
      : Op({q, k, v}, {y}),
        shape_(shape),
        group_(shape.heads / shape.kv_heads),
        // Heads of a group beyond kAttentionRows go to further items.
        heads_per_item_(std::min(group_, kAttentionRows)),
        splits_((group_ + heads_per_item_ - 1) / heads_per_item_),
        tile_rows_(kAttentionRows / heads_per_item_) {}

  int64_t scratch_bytes(const StepLimits& limits) const override {
    return scratch_offset(limits.tokens, limits.sequences) +
           limits.threads * attention_scratch_floats(shape_.head_dim) * int64_t{sizeof(float)};
  }

  void run(const StepContext& step) const noexcept override {
    write_cache(step);
    auto* tiles = reinterpret_cast<Tile*>(step.scratch);
    const int64_t count = cut(step.rows, tiles);
    auto* scratch = reinterpret_cast<float*>(step.scratch +
                                             scratch_offset(step.rows.tokens, step.rows.sequences));
    const int64_t per_tile = int64_t{shape_.kv_heads} * splits_;
    // Longest contexts last in a chunk: hand them out first.
    step.pool.parallel_for(count * per_tile, [&](int64_t item, int thread) {
      const Tile& tile = tiles[count - 1 - item / per_tile];
      attend(step, tile, static_cast<int>(item % per_tile),
             scratch + thread * attention_scratch_floats(shape_.head_dim));
    });
  }

 private:
  int64_t max_tiles(int64_t tokens, int64_t sequences) const {
    return tokens / tile_rows_ + sequences;
  }

  int64_t scratch_offset(int64_t tokens, int64_t sequences) const {
    return (max_tiles(tokens, sequences) * int64_t{sizeof(Tile)} + 63) / 64 * 64;
  }

  int64_t cut(const StepRows& rows, Tile* tiles) const {
    int64_t count = 0;
    for (int64_t s = 0; s < rows.sequences; ++s) {
      for (int32_t row = rows.row_starts[s]; row < rows.row_starts[s + 1]; row += tile_rows_) {
        tiles[count++] = {static_cast<int32_t>(s), row,
                          std::min(tile_rows_, rows.row_starts[s + 1] - row)};
      }
    }
    return count;
  }

  void write_cache(const StepContext& step) const {
    const KvCache& cache = *step.cache;
    const int64_t width = int64_t{shape_.kv_heads} * shape_.head_dim;
    const float* k = step.values[inputs_[1]];
    const float* v = step.values[inputs_[2]];
    const auto write = step.kernels.kv_write[static_cast<int>(cache.type())];
    for_row_chunks(step.pool, step.rows.tokens, 16 * width, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        for (int head = 0; head < shape_.kv_heads; ++head) {
          uint8_t* block = cache.head(shape_.layer, head) +
                           step.rows.kv_blocks[row] * cache.block_bytes(shape_.layer);
          const int64_t at = row * width + int64_t{head} * shape_.head_dim;
          write({.k = k + at,
                 .v = v + at,
                 .k_block = block,
                 .v_block = block + cache.k_bytes(shape_.layer),
                 .head_dim = shape_.head_dim,
                 .slot = step.rows.positions[row] % kKvBlock});
        }
      }
    });
  }

  void attend(const StepContext& step, const Tile& tile, int part, float* scratch) const {
    const KvCache& cache = *step.cache;
    const int kv_head = part / splits_;
    const int first_head = part % splits_ * heads_per_item_;
    const int64_t width = int64_t{shape_.heads} * shape_.head_dim;
    const int64_t at =
        tile.row * width + (int64_t{kv_head} * group_ + first_head) * shape_.head_dim;
    const uint8_t* k = cache.head(shape_.layer, kv_head);
    step.kernels.attention[static_cast<int>(cache.type())]({
        .q = step.values[inputs_[0]] + at,
        .q_stride = width,
        .out = step.values[outputs_[0]] + at,
        .out_stride = width,
        .rows = tile.rows,
        .heads = std::min(heads_per_item_, group_ - first_head),
        .head_dim = shape_.head_dim,
        .position = step.rows.positions[tile.row],
        .block_table = step.rows.block_tables + tile.sequence * step.rows.table_width,
        .k = k,
        .v = k + cache.k_bytes(shape_.layer),
        .block_bytes = cache.block_bytes(shape_.layer),
        .scale = shape_.scale,
        .window = shape_.window,
        .scratch = scratch,
    });
  }

  Shape shape_;
  int group_;
  int heads_per_item_;
  int splits_;
  int tile_rows_;
};

}  // namespace

ValueId add_attention(Graph& graph, ValueId q, ValueId k, ValueId v, int layer, int head_dim,
                      float scale, int64_t window) {
  graph.require(
      head_dim >= 16 && head_dim % 16 == 0 && head_dim <= 512,
      "head_dim is " + std::to_string(head_dim) + "; it must be a multiple of 16 from 16 to 512");
  const int64_t q_width = graph.width(q);
  const int64_t kv_width = graph.width(k);
  graph.require(q_width % head_dim == 0 && kv_width % head_dim == 0 && graph.width(v) == kv_width &&
                    q_width % kv_width == 0,
                "q, k, v of width " + std::to_string(q_width) + ", " + std::to_string(kv_width) +
                    ", " + std::to_string(graph.width(v)) + " do not divide into heads of " +
                    std::to_string(head_dim));
  const Shape shape{layer,
                    static_cast<int>(q_width / head_dim),
                    static_cast<int>(kv_width / head_dim),
                    head_dim,
                    scale,
                    window};
  graph.add_kv_layer(layer, {shape.kv_heads, head_dim});
  const ValueId y = graph.add_value(RowKind::kTokens, q_width);
  graph.add_op(std::make_unique<AttentionOp>(q, k, v, y, shape));
  return y;
}

}  // namespace ftllm
