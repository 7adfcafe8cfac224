#pragma once

#include <cmath>
#include <cstring>

#include "kernels/elementwise.h"
#include "kernels/linear_float.h"

// Attention over the paged KV cache, block after block with an online softmax (Milakov and
// Gimelshein 2018; Dao et al. 2022).
//
// A block holds kKvBlock tokens of one KV head: K as (head_dim, kKvBlock), so that lanes run over
// tokens and a score is summed over head_dim in order; V as (kKvBlock, head_dim). int8 blocks carry
// kKvBlock float scales before the codes. Scores, probabilities and outputs are float32, and a
// query's result depends on its position alone, not on the rows computed beside it.
//
// Chunks of kAttentionChunk blocks, counted from position 0 on, are summed for themselves and then
// added up from the first to the last: by one task, or by several threads with the same bits.
namespace ftllm {

struct ElementInt8 {
  static constexpr int kBytes = 1;
  template <class Isa>
  [[gnu::always_inline]] static typename Isa::F load(const uint8_t* at) {
    return Isa::load_i8(at);
  }
};

template <class Element>
constexpr int64_t kKvHeaderBytes = Element::kBytes == 1 ? kKvBlock * int64_t{sizeof(float)} : 0;

// Fetches `kBytes` bytes that are read some hundred cycles later.
template <class Isa, int64_t kBytes>
[[gnu::always_inline]] inline void prefetch_lines(const uint8_t* at) {
#pragma GCC unroll 8
  for (int64_t line = 0; line < kBytes; line += 64) Isa::prefetch(at + line);
}

// scores[r][t] = Σ_d q[r][d] · k[d][t] for kRows rows. With kAhead it fetches the block at `ahead`.
template <class Isa, class Element, int kRows, bool kAhead>
[[gnu::noinline]] void score_rows(const float* q, const uint8_t* k, int head_dim,
                                  const uint8_t* ahead, float* scores) {
  constexpr int kVectors = kKvBlock / Isa::kLanes;
  typename Isa::F acc[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) acc[r][v] = Isa::zero();
  }
  for (int d = 0; d < head_dim; ++d) {
    constexpr int64_t kShare = kKvBlock * Element::kBytes;
    if constexpr (kAhead) prefetch_lines<Isa, kShare>(ahead + d * kShare);
    typename Isa::F keys[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      keys[v] = Element::template load<Isa>(k + (d * kKvBlock + v * Isa::kLanes) * Element::kBytes);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const auto value = Isa::set1(q[r * head_dim + d]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) acc[r][v] = Isa::fma(keys[v], value, acc[r][v]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      Isa::store(scores + r * kKvBlock + v * Isa::kLanes, acc[r][v]);
    }
  }
}

// out[r][d .. d + kVectors·lanes) += Σ_t p[r][t] · v[t][…] for kRows rows, t from low to high. With
// kAhead it fetches its share of the block at `ahead`.
template <class Isa, class Element, int kRows, int kVectors, bool kAhead>
[[gnu::always_inline]] inline void weigh_values(const float* p, const uint8_t* v, int head_dim,
                                                int d, int low, int high, const uint8_t* ahead,
                                                float* out) {
  typename Isa::F acc[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      acc[r][i] = Isa::load(out + r * head_dim + d + i * Isa::kLanes);
    }
  }
  for (int t = low; t < high; ++t) {
    constexpr int64_t kShare = int64_t{kVectors} * Isa::kLanes * Element::kBytes;
    if constexpr (kAhead) {
      prefetch_lines<Isa, kShare>(ahead + int64_t{d} * kKvBlock * Element::kBytes + t * kShare);
    }
    typename Isa::F values[kVectors];
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      const int64_t at = int64_t{t} * head_dim + d + i * Isa::kLanes;
      values[i] = Element::template load<Isa>(v + at * Element::kBytes);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const auto weight = Isa::set1(p[r * kKvBlock + t]);
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) acc[r][i] = Isa::fma(values[i], weight, acc[r][i]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < kVectors; ++i) {
      Isa::store(out + r * head_dim + d + i * Isa::kLanes, acc[r][i]);
    }
  }
}

// The same for all columns. Few rows take more of them at once: as many sums as hide the latency of
// an addition.
template <class Isa, class Element, int kRows, bool kAhead>
[[gnu::noinline]] void weigh_rows(const float* p, const uint8_t* v, int head_dim, int low, int high,
                                  const uint8_t* ahead, float* out) {
  constexpr int kVectors = kRows == 1 ? 8 : kRows == 2 ? 4 : 2;
  int d = 0;
  for (; d + kVectors * Isa::kLanes <= head_dim; d += kVectors * Isa::kLanes) {
    weigh_values<Isa, Element, kRows, kVectors, kAhead>(p, v, head_dim, d, low, high, ahead, out);
  }
  for (; d < head_dim; d += Isa::kLanes) {
    weigh_values<Isa, Element, kRows, 1, kAhead>(p, v, head_dim, d, low, high, ahead, out);
  }
}

template <class Isa>
[[gnu::always_inline]] inline float exp_one(float x) {
  float lanes[Isa::kLanes];
  Isa::store(lanes, exp<Isa>(Isa::set1(x)));
  return lanes[0];
}

// The scores of one row against one block become probabilities; its running maximum, sum and output
// are rescaled. Tokens outside [low, high) get probability 0.
template <class Isa>
[[gnu::always_inline]] inline void softmax_row(float* scores, int low, int high, float& maximum,
                                               float& sum, float* out, int head_dim) {
  float best = maximum;
  for (int t = 0; t < low; ++t) scores[t] = -INFINITY;
  for (int t = high; t < kKvBlock; ++t) scores[t] = -INFINITY;
  auto peak = Isa::load(scores);
  for (int t = Isa::kLanes; t < kKvBlock; t += Isa::kLanes) {
    peak = Isa::max(peak, Isa::load(scores + t));
  }
  const float block_best = max_lanes<Isa>(peak);
  best = block_best > best ? block_best : best;
  auto total = Isa::zero();
  for (int t = 0; t < kKvBlock; t += Isa::kLanes) {
    const auto p = exp<Isa>(Isa::sub(Isa::load(scores + t), Isa::set1(best)));
    Isa::store(scores + t, p);
    total = Isa::add(total, p);
  }
  const float shrink = maximum == best ? 1.0f : exp_one<Isa>(maximum - best);
  sum = sum * shrink + sum_lanes<Isa>(total);
  maximum = best;
  if (shrink == 1.0f) return;  // the product would change nothing
  for (int d = 0; d < head_dim; d += Isa::kLanes) {
    Isa::store(out + d, Isa::mul(Isa::load(out + d), Isa::set1(shrink)));
  }
}

// What a row has summed so far: Σ p·v (head_dim,) not yet divided by Σ p, relative to exp(maximum).
struct AttentionSum {
  float* out;
  float* maximum;
  float* sum;

  // The states of AttentionTask lie one behind the other.
  AttentionSum(float* state, int head_dim)
      : out(state), maximum(state + head_dim), sum(maximum + 1) {}
  AttentionSum(float* o, float* m, float* s) : out(o), maximum(m), sum(s) {}
};

// total += part, a later chunk. A row that attends to nothing of a chunk has the sum 0 there.
template <class Isa>
[[gnu::always_inline]] inline void add_chunk(const AttentionSum& part, int head_dim,
                                             const AttentionSum& total) {
  if (*part.sum == 0.0f) return;
  if (*total.sum == 0.0f) {
    std::memcpy(total.out, part.out, static_cast<size_t>(head_dim) * sizeof(float));
    *total.maximum = *part.maximum;
    *total.sum = *part.sum;
    return;
  }
  const float best = *part.maximum > *total.maximum ? *part.maximum : *total.maximum;
  const float keep = exp_one<Isa>(*total.maximum - best);
  const float take = exp_one<Isa>(*part.maximum - best);
  map<Isa>(total.out, part.out, head_dim, total.out, [keep, take](auto x, auto y) {
    return Isa::fma(y, Isa::set1(take), Isa::mul(x, Isa::set1(keep)));
  });
  *total.sum = *total.sum * keep + *part.sum * take;
  *total.maximum = best;
}

template <class Isa, class Element>
struct AttentionBlocks {
  const AttentionTask& task;
  float* k_floats;
  float* v_floats;
  float* out;      // (rows · heads, head_dim)
  float* q;        // (rows · heads, head_dim), scaled
  float* scores;   // (rows · heads, kKvBlock)
  float* maximum;  // (rows · heads,)
  float* sum;
  float* totals;  // (rows · heads, head_dim + 2) over chunks

  explicit AttentionBlocks(const AttentionTask& t)
      : task(t),
        k_floats(t.scratch),
        v_floats(k_floats + kKvBlock * int64_t{t.head_dim}),
        out(v_floats + kKvBlock * int64_t{t.head_dim}),
        q(out + kAttentionRows * int64_t{t.head_dim}),
        scores(q + kAttentionRows * int64_t{t.head_dim}),
        maximum(scores + kAttentionRows * kKvBlock),
        sum(maximum + kAttentionRows),
        totals(sum + kAttentionRows) {}

  int total_rows() const { return task.rows * task.heads; }

  // Tokens of block b that row r attends to: [low, high).
  void bounds(int r, int64_t b, int& low, int& high) const {
    const int64_t position = task.position + r / task.heads;
    const int64_t first =
        task.window > 0 && position >= task.window ? position - task.window + 1 : 0;
    const int64_t l = first - b * kKvBlock;
    const int64_t h = (task.end > 0 ? task.end : position + 1) - b * kKvBlock;
    low = static_cast<int>(l < 0 ? 0 : l > kKvBlock ? kKvBlock : l);
    high = static_cast<int>(h < 0 ? 0 : h > kKvBlock ? kKvBlock : h);
  }

  template <class Loaded, bool kAhead, int kRows>
  void score(int r, const uint8_t* k, const uint8_t* ahead) const {
    score_rows<Isa, Loaded, kRows, kAhead>(q + r * task.head_dim, k, task.head_dim, ahead,
                                           scores + r * kKvBlock);
  }

  template <class Loaded, bool kAhead, int kRows>
  void score_rest(int r, const uint8_t* k, const uint8_t* ahead) const {
    if constexpr (kRows > 0) {
      if (total_rows() - r == kRows) {
        score<Loaded, kAhead, kRows>(r, k, ahead);
      } else {
        score_rest<Loaded, kAhead, kRows - 1>(r, k, ahead);
      }
    }
  }

  template <class Loaded, bool kAhead>
  void score_all(const uint8_t* k, const uint8_t* ahead) const {
    constexpr int kRows = Isa::kScoreRows;
    int r = 0;
    for (; r + kRows <= total_rows(); r += kRows) score<Loaded, kAhead, kRows>(r, k, ahead);
    score_rest<Loaded, kAhead, kRows - 1>(r, k, ahead);
  }

  template <class Loaded, bool kAhead, int kRows>
  void weigh(int r, const uint8_t* v, int64_t b, const uint8_t* ahead) const {
    int low = kKvBlock;
    int high = 0;
    for (int i = r; i < r + kRows; ++i) {
      int row_low;
      int row_high;
      bounds(i, b, row_low, row_high);
      if (row_low < row_high) {
        low = row_low < low ? row_low : low;
        high = row_high > high ? row_high : high;
      }
    }
    weigh_rows<Isa, Loaded, kRows, kAhead>(scores + r * kKvBlock, v, task.head_dim, low, high,
                                           ahead, out + r * task.head_dim);
  }

  template <class Loaded, bool kAhead>
  void weigh_all(const uint8_t* v, int64_t b, const uint8_t* ahead) const {
    constexpr int kRows = 4;
    const int rows = total_rows();
    int r = 0;
    for (; r + kRows <= rows; r += kRows) weigh<Loaded, kAhead, kRows>(r, v, b, ahead);
    if (rows - r == 3) weigh<Loaded, kAhead, 3>(r, v, b, ahead);
    if (rows - r == 2) weigh<Loaded, kAhead, 2>(r, v, b, ahead);
    if (rows - r == 1) weigh<Loaded, kAhead, 1>(r, v, b, ahead);
  }

  void softmax_all(int64_t b, const float* k_scales, const float* v_scales) const {
    for (int r = 0; r < total_rows(); ++r) {
      float* s = scores + r * kKvBlock;
      int low;
      int high;
      bounds(r, b, low, high);
      if (low >= high) {
        std::memset(s, 0, kKvBlock * sizeof(float));
        continue;
      }
      if (k_scales != nullptr) {
        map<Isa>(s, k_scales, kKvBlock, s, [](auto x, auto y) { return Isa::mul(x, y); });
      }
      softmax_row<Isa>(s, low, high, maximum[r], sum[r], out + r * task.head_dim, task.head_dim);
      if (v_scales != nullptr) {
        map<Isa>(s, v_scales, kKvBlock, s, [](auto x, auto y) { return Isa::mul(x, y); });
        for (int t = 0; t < low; ++t) s[t] = 0.0f;
        for (int t = high; t < kKvBlock; ++t) s[t] = 0.0f;
      }
    }
  }

  static const uint8_t* widen(const uint8_t* from, int64_t count, float* to) {
    for (int64_t i = 0; i < count; i += Isa::kLanes) {
      Isa::store(to + i, Element::template load<Isa>(from + i * Element::kBytes));
    }
    return reinterpret_cast<const uint8_t*>(to);
  }

  const uint8_t* keys(int64_t b) const { return task.k + task.block_table[b] * task.block_bytes; }

  // While it computes with a block's keys it fetches the values, and then the keys of block `next`.
  void run_block(int64_t b, int64_t next) const {
    const int64_t at = task.block_table[b] * task.block_bytes;
    const uint8_t* k = task.k + at + kKvHeaderBytes<Element>;
    const uint8_t* v = task.v + at + kKvHeaderBytes<Element>;
    const bool scaled = kKvHeaderBytes<Element> > 0;
    const auto* k_scales = scaled ? reinterpret_cast<const float*>(task.k + at) : nullptr;
    const auto* v_scales = scaled ? reinterpret_cast<const float*>(task.v + at) : nullptr;
    // Many rows share one conversion to float; few convert as they load. The arithmetic is the
    // same.
    const bool staged = Element::kBytes < 4 && total_rows() > 2 * Isa::kScoreRows;
    const int64_t count = kKvBlock * int64_t{task.head_dim};
    if (staged) {
      score_all<ElementF32, false>(widen(k, count, k_floats), nullptr);
      softmax_all(b, k_scales, v_scales);
      weigh_all<ElementF32, false>(widen(v, count, v_floats), b, nullptr);
    } else {
      score_all<Element, true>(k, v);
      softmax_all(b, k_scales, v_scales);
      weigh_all<Element, true>(v, b, keys(next) + kKvHeaderBytes<Element>);
    }
  }

  // Sums blocks [begin, end).
  void run_chunk(int64_t begin, int64_t end) const {
    const int rows = total_rows();
    for (int r = 0; r < rows; ++r) {
      maximum[r] = -INFINITY;
      sum[r] = 0.0f;
    }
    std::memset(out, 0, static_cast<size_t>(rows) * task.head_dim * sizeof(float));
    for (int64_t b = begin; b < end; ++b) run_block(b, b + 1 < end ? b + 1 : b);
  }

  void add_to(float* states) const {
    for (int r = 0; r < total_rows(); ++r) {
      add_chunk<Isa>({out + r * task.head_dim, maximum + r, sum + r}, task.head_dim,
                     {states + r * attention_state_floats(task.head_dim), task.head_dim});
    }
  }
};

template <class Isa>
void finish_rows(const AttentionTask& task, float* states) {
  for (int r = 0; r < task.rows * task.heads; ++r) {
    float* to = task.out + r / task.heads * task.out_stride + r % task.heads * task.head_dim;
    const AttentionSum total(states + r * attention_state_floats(task.head_dim), task.head_dim);
    scale<Isa>(total.out, 1.0f / *total.sum, task.head_dim, to);
  }
}

template <class Isa, class Element>
void attention(const AttentionTask& task) noexcept {
  const AttentionBlocks<Isa, Element> blocks(task);
  const int rows = blocks.total_rows();
  const int64_t state_floats = attention_state_floats(task.head_dim);
  for (int r = 0; r < rows; ++r) {
    const float* from = task.q + r / task.heads * task.q_stride + r % task.heads * task.head_dim;
    scale<Isa>(from, task.scale, task.head_dim, blocks.q + r * task.head_dim);
  }
  const bool whole = task.states == nullptr;
  const int64_t first = task.oldest() / kKvBlock;
  const int64_t last = task.newest() / kKvBlock;
  const int64_t chunk_begin = whole ? first / kAttentionChunk : task.chunk_begin;
  const int64_t chunk_end = whole ? last / kAttentionChunk + 1 : task.chunk_end;
  if (whole)
    std::memset(blocks.totals, 0, static_cast<size_t>(rows * state_floats) * sizeof(float));
  for (int64_t c = chunk_begin; c < chunk_end; ++c) {
    const int64_t begin = c * kAttentionChunk;
    const int64_t end = begin + kAttentionChunk;
    blocks.run_chunk(first > begin ? first : begin, last + 1 < end ? last + 1 : end);
    float* states = whole ? blocks.totals : task.states + (c - chunk_begin) * rows * state_floats;
    if (!whole) std::memset(states, 0, static_cast<size_t>(rows * state_floats) * sizeof(float));
    blocks.add_to(states);
  }
  if (whole) finish_rows<Isa>(task, blocks.totals);
}

template <class Isa>
void add_chunks(const AttentionTask& task) noexcept {
  const int rows = task.rows * task.heads;
  const int64_t state_floats = attention_state_floats(task.head_dim);
  for (int64_t c = task.chunk_begin + 1; c < task.chunk_end; ++c) {
    float* states = task.states + (c - task.chunk_begin) * rows * state_floats;
    for (int r = 0; r < rows; ++r) {
      add_chunk<Isa>({states + r * state_floats, task.head_dim}, task.head_dim,
                     {task.states + r * state_floats, task.head_dim});
    }
  }
  finish_rows<Isa>(task, task.states);
}

template <class Isa, class Element>
void kv_write(const KvWriteTask& task) noexcept {
  if constexpr (Element::kBytes == 1) {
    float peaks[2] = {0.0f, 0.0f};
    for (int d = 0; d < task.head_dim; ++d) {
      peaks[0] = std::fmax(peaks[0], std::fabs(task.k[d]));
      peaks[1] = std::fmax(peaks[1], std::fabs(task.v[d]));
    }
    const auto write = [&](uint8_t* block, const float* x, float peak, int at, int step) {
      const float scale = peak / 127.0f;
      const float to_code = peak == 0.0f ? 0.0f : 127.0f / peak;
      reinterpret_cast<float*>(block)[task.slot] = scale;
      auto* codes = reinterpret_cast<int8_t*>(block + kKvHeaderBytes<Element>);
      for (int d = 0; d < task.head_dim; ++d) {
        codes[at + d * step] = static_cast<int8_t>(std::lrintf(x[d] * to_code));
      }
    };
    write(task.k_block, task.k, peaks[0], task.slot, kKvBlock);
    write(task.v_block, task.v, peaks[1], task.slot * task.head_dim, 1);
  } else {
    constexpr int kBytes = Element::kBytes;
    for (int d = 0; d < task.head_dim; d += Isa::kLanes) {
      uint8_t keys[Isa::kLanes * kBytes];
      Element::template store<Isa>(Isa::load(task.k + d), keys);
      for (int i = 0; i < Isa::kLanes; ++i) {
        std::memcpy(task.k_block + ((d + i) * kKvBlock + task.slot) * kBytes, keys + i * kBytes,
                    kBytes);
      }
      Element::template store<Isa>(
          Isa::load(task.v + d), task.v_block + (int64_t{task.slot} * task.head_dim + d) * kBytes);
    }
  }
}

}  // namespace ftllm
