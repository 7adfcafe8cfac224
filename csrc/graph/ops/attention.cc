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
  bool causal;
};

// Query rows of one sequence that are computed together for one KV head.
struct Tile {
  int32_t sequence;
  int32_t row;
  int32_t rows;
};

constexpr int64_t kChunkTokens = kAttentionChunk * kKvBlock;
constexpr int64_t kMaxStates = 8192;  // sums of chunks that wait for being added up

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
    const int64_t floats = limits.threads * attention_scratch_floats(shape_.head_dim) +
                           kMaxStates * attention_state_floats(shape_.head_dim);
    return scratch_offset(limits.tokens, limits.sequences) + floats * int64_t{sizeof(float)};
  }

  void run(const StepContext& step) const noexcept override {
    write_cache(step);
    auto* tiles = reinterpret_cast<Tile*>(step.scratch);
    const int64_t count = cut(step.rows, tiles);
    auto* scratch = reinterpret_cast<float*>(step.scratch +
                                             scratch_offset(step.rows.tokens, step.rows.sequences));
    const int64_t per_tile = int64_t{shape_.kv_heads} * splits_;
    if (const int64_t chunks = chunks_to_share(step, tiles, count * per_tile); chunks > 1) {
      return share_chunks(step, tiles, count, chunks, scratch);
    }
    // Longest contexts last in a chunk: hand them out first.
    step.pool.parallel_for(count * per_tile, [&](int64_t item, int thread) {
      const Tile& tile = tiles[count - 1 - item / per_tile];
      step.kernels.attention[static_cast<int>(step.cache->type())](
          task(step, tile, static_cast<int>(item % per_tile),
               scratch + thread * attention_scratch_floats(shape_.head_dim)));
    });
  }

 private:
  // The most chunks that a tile's context has, when it takes more threads than there are items to
  // have work for all: with few sequences that decode, on many cores. Else 1.
  int64_t chunks_to_share(const StepContext& step, const Tile* tiles, int64_t items) const {
    constexpr int64_t kItemsPerThread = 4;
    if (items >= kItemsPerThread * step.pool.size()) return 1;
    int64_t chunks = 1;
    for (int64_t t = 0; t * shape_.kv_heads * splits_ < items; ++t) {
      chunks = std::max(chunks, chunk_end(step, tiles[t]) - chunk_begin(step, tiles[t]));
    }
    const int64_t states = items * chunks * tile_rows_ * heads_per_item_;
    return states <= kMaxStates ? chunks : 1;
  }

  int64_t chunk_begin(const StepContext& step, const Tile& tile) const {
    return task(step, tile, 0, nullptr).oldest() / kChunkTokens;
  }

  int64_t chunk_end(const StepContext& step, const Tile& tile) const {
    return task(step, tile, 0, nullptr).newest() / kChunkTokens + 1;
  }

  // Each chunk of each tile and head is an item of its own.
  void share_chunks(const StepContext& step, const Tile* tiles, int64_t count, int64_t chunks,
                    float* scratch) const {
    const int64_t per_tile = int64_t{shape_.kv_heads} * splits_;
    const int64_t state_floats =
        int64_t{tile_rows_} * heads_per_item_ * attention_state_floats(shape_.head_dim);
    float* states = scratch + step.pool.size() * attention_scratch_floats(shape_.head_dim);
    const auto part = [&](int64_t item, int thread) {
      AttentionTask part = task(step, tiles[item / per_tile], static_cast<int>(item % per_tile),
                                scratch + thread * attention_scratch_floats(shape_.head_dim));
      part.states = states + item * chunks * state_floats;
      part.chunk_begin = chunk_begin(step, tiles[item / per_tile]);
      part.chunk_end = chunk_end(step, tiles[item / per_tile]);
      return part;
    };
    step.pool.parallel_for(count * per_tile * chunks, [&](int64_t item, int thread) {
      AttentionTask mine = part(item / chunks, thread);
      const int64_t chunk = mine.chunk_begin + item % chunks;
      if (chunk >= mine.chunk_end) return;
      mine.states +=
          item % chunks * mine.rows * mine.heads * attention_state_floats(shape_.head_dim);
      mine.chunk_begin = chunk;
      mine.chunk_end = chunk + 1;
      step.kernels.attention[static_cast<int>(step.cache->type())](mine);
    });
    step.pool.parallel_for(count * per_tile, [&](int64_t item, int thread) {
      step.kernels.add_chunks(part(item, thread));
    });
  }

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

  // The position behind the sequence's last row.
  static int64_t end_of(const StepRows& rows, int32_t sequence) {
    return int64_t{rows.positions[rows.row_starts[sequence + 1] - 1]} + 1;
  }

  AttentionTask task(const StepContext& step, const Tile& tile, int part, float* scratch) const {
    const KvCache& cache = *step.cache;
    const int kv_head = part / splits_;
    const int first_head = part % splits_ * heads_per_item_;
    const int64_t width = int64_t{shape_.heads} * shape_.head_dim;
    const int64_t at =
        tile.row * width + (int64_t{kv_head} * group_ + first_head) * shape_.head_dim;
    const uint8_t* k = cache.head(shape_.layer, kv_head);
    return {
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
        .end = shape_.causal ? 0 : end_of(step.rows, tile.sequence),
        .scratch = scratch,
    };
  }

  Shape shape_;
  int group_;
  int heads_per_item_;
  int splits_;
  int tile_rows_;
};

}  // namespace

ValueId add_attention(Graph& graph, ValueId q, ValueId k, ValueId v, int layer, int head_dim,
                      float scale, int64_t window, bool causal) {
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
                    window,
                    causal};
  graph.add_kv_layer(layer, {shape.kv_heads, head_dim});
  const ValueId y = graph.add_value(RowKind::kTokens, q_width);
  graph.add_op(std::make_unique<AttentionOp>(q, k, v, y, shape));
  return y;
}

}  // namespace ftllm
