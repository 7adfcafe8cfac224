#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

namespace ftllm {

// Which tokens some rows of a step can be sampled from: a bit a token, 1 where it can. Another
// thread fills them while the step computes, and the step waits for them before it samples.
class TokenMasks {
 public:
  // All bits 0. Throws std::invalid_argument unless both are at least 1.
  TokenMasks(int64_t rows, int64_t vocab_size);
  TokenMasks(const TokenMasks&) = delete;
  TokenMasks& operator=(const TokenMasks&) = delete;

  int64_t rows() const noexcept { return rows_; }
  int64_t vocab_size() const noexcept { return vocab_size_; }
  int64_t row_words() const noexcept { return row_words_; }
  uint32_t* data() noexcept { return words_.data(); }
  std::span<const uint32_t> row(int64_t index) const noexcept;

  // The rows are complete; they must not change after this.
  void publish();
  void wait() const;

 private:
  int64_t rows_;
  int64_t vocab_size_;
  int64_t row_words_;
  std::vector<uint32_t> words_;  // (rows, row_words)
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool published_ = false;
};

}  // namespace ftllm
