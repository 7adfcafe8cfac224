#include "sampling/token_masks.h"

#include <stdexcept>
#include <string>

namespace ftllm {
namespace {

constexpr int64_t kWordBits = 32;

int64_t at_least_one(const char* name, int64_t value) {
  if (value >= 1) return value;
  throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) +
                              "; it must be at least 1.");
}

}  // namespace

TokenMasks::TokenMasks(int64_t rows, int64_t vocab_size)
    : rows_(at_least_one("rows", rows)),
      vocab_size_(at_least_one("vocab_size", vocab_size)),
      row_words_((vocab_size + kWordBits - 1) / kWordBits),
      words_(static_cast<size_t>(rows_ * row_words_)) {}

std::span<const uint32_t> TokenMasks::row(int64_t index) const noexcept {
  const auto size = static_cast<size_t>(row_words_);
  return std::span(words_).subspan(static_cast<size_t>(index) * size, size);
}

void TokenMasks::publish() {
  const std::lock_guard lock(mutex_);
  published_ = true;
  changed_.notify_all();
}

void TokenMasks::wait() const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return published_; });
}

}  // namespace ftllm
