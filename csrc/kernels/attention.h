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

// scores[r][t] = Σ_d q[r][d] · k[d][t] for kRows rows.
template <class Isa, class Element, int kRows>
[[gnu::always_inline]] inline void score_rows(const float* q, const uint8_t* k, int head_dim,
                                              float* scores) {
  constexpr int kVectors = kKvBlock / Isa::kLanes;
  typename Isa::F acc[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) acc[r][v] = Isa::zero();
  }
  for (int d = 0; d < head_dim; ++d) {
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

// out[r][d .. d + kVectors·lanes) += Σ_t p[r][t] · v[t][…] for kRows rows, t from low to high.
template <class Isa, class Element, int kRows, int kVectors>
[[gnu::always_inline]] inline void weigh_values(const float* p, const uint8_t* v, int head_dim,
                                                int d, int low, int high, float* out) {
  typename Isa::F acc[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      acc[r][i] = Isa::load(out + r * head_dim + d + i * Isa::kLanes);
    }
  }
  for (int t = low; t < high; ++t) {
    typename Isa::F values[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      const int64_t at = int64_t{t} * head_dim + d + i * Isa::kLanes;
      values[i] = Element::template load<Isa>(v + at * Element::kBytes);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const auto weight = Isa::set1(p[r * kKvBlock + t]);
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) acc[r][i] = Isa::fma(values[i], weight, acc[r][i]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < kVectors; ++i) {
      Isa::store(out + r * head_dim + d + i * Isa::kLanes, acc[r][i]);
    }
  }
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
  float lanes[Isa::kLanes];
  Isa::store(lanes, exp<Isa>(Isa::set1(maximum - best)));
  const float shrink = lanes[0];
  sum = sum * shrink + sum_lanes<Isa>(total);
  maximum = best;
  if (shrink == 1.0f) return;  // no new maximum: the product would change nothing
  for (int d = 0; d < head_dim; d += Isa::kLanes) {
    Isa::store(out + d, Isa::mul(Isa::load(out + d), Isa::set1(shrink)));
  }
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

  explicit AttentionBlocks(const AttentionTask& t)
      : task(t),
        k_floats(t.scratch),
        v_floats(k_floats + kKvBlock * int64_t{t.head_dim}),
        out(v_floats + kKvBlock * int64_t{t.head_dim}),
        q(out + kAttentionRows * int64_t{t.head_dim}),
        scores(q + kAttentionRows * int64_t{t.head_dim}),
        maximum(scores + kAttentionRows * kKvBlock),
        sum(maximum + kAttentionRows) {}

  int total_rows() const { return task.rows * task.heads; }

  // Tokens of block b that row r attends to: [low, high).
  void bounds(int r, int64_t b, int& low, int& high) const {
    const int64_t position = task.position + r / task.heads;
    const int64_t first =
        task.window > 0 && position >= task.window ? position - task.window + 1 : 0;
    const int64_t l = first - b * kKvBlock;
    const int64_t h = position + 1 - b * kKvBlock;
    low = static_cast<int>(l < 0 ? 0 : l > kKvBlock ? kKvBlock : l);
    high = static_cast<int>(h < 0 ? 0 : h > kKvBlock ? kKvBlock : h);
  }

  template <class Loaded>
  void score_all(const uint8_t* k) const {
    constexpr int kRows = Isa::kScoreRows;
    const int rows = total_rows();
    int r = 0;
    for (; r + kRows <= rows; r += kRows) {
      score_rows<Isa, Loaded, kRows>(q + r * task.head_dim, k, task.head_dim,
                                     scores + r * kKvBlock);
    }
    for (; r < rows; ++r) {
      score_rows<Isa, Loaded, 1>(q + r * task.head_dim, k, task.head_dim, scores + r * kKvBlock);
    }
  }

  template <class Loaded, int kRows>
  void weigh(int r, const uint8_t* v, int low, int high) const {
    const float* p = scores + r * kKvBlock;
    float* to = out + r * task.head_dim;
    int d = 0;
    for (; d + 2 * Isa::kLanes <= task.head_dim; d += 2 * Isa::kLanes) {
      weigh_values<Isa, Loaded, kRows, 2>(p, v, task.head_dim, d, low, high, to);
    }
    for (; d < task.head_dim; d += Isa::kLanes) {
      weigh_values<Isa, Loaded, kRows, 1>(p, v, task.head_dim, d, low, high, to);
    }
  }

  template <class Loaded>
  void weigh_all(const uint8_t* v, int64_t b) const {
    constexpr int kRows = 4;
    const int rows = total_rows();
    for (int r = 0; r < rows;) {
      const int count = rows - r >= kRows ? kRows : 1;
      int low = kKvBlock;
      int high = 0;
      for (int i = r; i < r + count; ++i) {
        int row_low;
        int row_high;
        bounds(i, b, row_low, row_high);
        if (row_low < row_high) {
          low = row_low < low ? row_low : low;
          high = row_high > high ? row_high : high;
        }
      }
      if (count == kRows) {
        weigh<Loaded, kRows>(r, v, low, high);
      } else {
        weigh<Loaded, 1>(r, v, low, high);
      }
      r += count;
    }
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

  void run_block(int64_t b) const {
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
      score_all<ElementF32>(widen(k, count, k_floats));
      softmax_all(b, k_scales, v_scales);
      weigh_all<ElementF32>(widen(v, count, v_floats), b);
    } else {
      score_all<Element>(k);
      softmax_all(b, k_scales, v_scales);
      weigh_all<Element>(v, b);
    }
  }
};

template <class Isa, class Element>
void attention(const AttentionTask& task) noexcept {
  const AttentionBlocks<Isa, Element> blocks(task);
  const int rows = blocks.total_rows();
  for (int r = 0; r < rows; ++r) {
    const float* from = task.q + r / task.heads * task.q_stride + r % task.heads * task.head_dim;
    scale<Isa>(from, task.scale, task.head_dim, blocks.q + r * task.head_dim);
    blocks.maximum[r] = -INFINITY;
    blocks.sum[r] = 0.0f;
  }
  std::memset(blocks.out, 0, static_cast<size_t>(rows) * task.head_dim * sizeof(float));
  const int64_t oldest =
      task.window > 0 && task.position >= task.window ? task.position - task.window + 1 : 0;
  const int64_t last = (task.position + task.rows - 1) / kKvBlock;
  for (int64_t b = oldest / kKvBlock; b <= last; ++b) blocks.run_block(b);
  for (int r = 0; r < rows; ++r) {
    float* to = task.out + r / task.heads * task.out_stride + r % task.heads * task.head_dim;
    scale<Isa>(blocks.out + r * task.head_dim, 1.0f / blocks.sum[r], task.head_dim, to);
  }
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
