#include <algorithm>
#include <cmath>

#include "checks.h"
#include "guarded_buffer.h"

namespace ftllm::checks {
namespace {

constexpr int kBlocks = 4;  // in the cache; a sequence of up to three has its blocks out of order
constexpr int32_t kBlockTable[] = {2, 0, 3};
constexpr const char* kTypeNames[kKvTypeCount] = {"float32", "float16", "bfloat16", "int8"};

int64_t head_bytes(int type, int head_dim) {
  constexpr int kBytes[kKvTypeCount] = {4, 2, 2, 1};
  const int64_t scales = kBytes[type] == 1 ? kKvBlock * int64_t{sizeof(float)} : 0;
  return int64_t{kBytes[type]} * kKvBlock * head_dim + scales;
}

struct Case {
  int type;
  int head_dim;
  int heads;
  int tokens;
  int rows;  // of queries, at the last positions
  int64_t window;
  bool causal = true;

  std::string name() const {
    return std::string(kTypeNames[type]) + ", head_dim " + std::to_string(head_dim) + ", " +
           std::to_string(heads) + " heads, " + std::to_string(tokens) + " tokens, " +
           std::to_string(rows) + " rows, window " + std::to_string(window) +
           (causal ? "" : ", not causal");
  }
};

// Writes random keys and values of all tokens with `kernels`.
void write(const KernelTable& kernels, const Case& c, uint8_t* cache) {
  const int64_t bytes = head_bytes(c.type, c.head_dim);
  const std::vector<float> k = normal_values(int64_t{c.tokens} * c.head_dim, 11);
  const std::vector<float> v = normal_values(int64_t{c.tokens} * c.head_dim, 12);
  for (int t = 0; t < c.tokens; ++t) {
    uint8_t* block = cache + kBlockTable[t / kKvBlock] * 2 * bytes;
    kernels.kv_write[c.type]({.k = k.data() + t * c.head_dim,
                              .v = v.data() + t * c.head_dim,
                              .k_block = block,
                              .v_block = block + bytes,
                              .head_dim = c.head_dim,
                              .slot = t % kKvBlock});
  }
}

// (rows, heads, head_dim), rows_per_call rows a call.
std::vector<float> attend(const KernelTable& kernels, const Case& c, const uint8_t* cache,
                          int rows_per_call) {
  const int64_t bytes = head_bytes(c.type, c.head_dim);
  const int64_t width = int64_t{c.heads} * c.head_dim;
  const std::vector<float> q = normal_values(c.rows * width, 13);
  const GuardedBuffer scratch(static_cast<size_t>(attention_scratch_floats(c.head_dim)) *
                              sizeof(float));
  std::vector<float> out(q.size());
  for (int row = 0; row < c.rows; row += rows_per_call) {
    kernels.attention[c.type]({.q = q.data() + row * width,
                               .q_stride = width,
                               .out = out.data() + row * width,
                               .out_stride = width,
                               .rows = std::min(rows_per_call, c.rows - row),
                               .heads = c.heads,
                               .head_dim = c.head_dim,
                               .position = c.tokens - c.rows + row,
                               .block_table = kBlockTable,
                               .k = cache,
                               .v = cache + bytes,
                               .block_bytes = 2 * bytes,
                               .scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim)),
                               .window = c.window,
                               .end = c.causal ? 0 : c.tokens,
                               .scratch = scratch.floats()});
  }
  return out;
}

void check_case(const Tables& tables, const Case& c, Report& report) {
  const auto bytes = static_cast<size_t>(2 * kBlocks * head_bytes(c.type, c.head_dim));
  const GuardedBuffer expected_cache(bytes);
  const GuardedBuffer cache(bytes);
  write(tables.scalar, c, expected_cache.bytes());
  write(tables.tested, c, cache.bytes());
  report.expect_same(cache.bytes(), expected_cache.bytes(), bytes, "kv_write of " + c.name());
  const std::vector<float> expected = attend(tables.scalar, c, cache.bytes(), 1);
  const std::vector<float> found = attend(tables.tested, c, cache.bytes(), 1);
  report.expect_close(found.data(), expected.data(), 1e-5, static_cast<int64_t>(found.size()),
                      "attention of " + c.name());
  for (const int rows_per_call : {2, 3, 8}) {
    if (rows_per_call * c.heads > kAttentionRows) continue;
    const std::vector<float> together = attend(tables.tested, c, cache.bytes(), rows_per_call);
    report.expect_same(together.data(), found.data(), found.size() * sizeof(float),
                       std::to_string(rows_per_call) + " rows a call, attention of " + c.name());
  }
}

}  // namespace

void check_attention(const Tables& tables, Report& report) {
  for (int type = 0; type < kKvTypeCount; ++type) {
    for (const int head_dim : {16, 48, 64}) {
      for (const int heads : {1, 3, 4}) {
        check_case(tables, {type, head_dim, heads, 75, 9, 0}, report);
      }
    }
    for (const int tokens : {1, 31, 32, 33}) {
      check_case(tables, {type, 32, 2, tokens, std::min(tokens, 5), 0}, report);
    }
    for (const int tokens : {1, 33, 75}) {
      check_case(tables, {type, 32, 2, tokens, std::min(tokens, 40), 0, false}, report);
    }
    for (const int64_t window : {1, 31, 33, 50}) {
      check_case(tables, {type, 32, 2, 80, 11, window}, report);
    }
  }
}

}  // namespace ftllm::checks
