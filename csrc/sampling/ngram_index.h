#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ftllm {

// A sequence's tokens, and what followed earlier occurrences of its end: drafts by prompt lookup
// (Yang et al. 2023, arXiv:2304.04487; Saxena 2023, prompt-lookup-decoding).
class NgramIndex {
 public:
  // An n-gram counts from `shortest` tokens on; those longer than `longest` are not told apart.
  // Throws std::invalid_argument unless 1 <= shortest <= longest.
  NgramIndex(int64_t shortest, int64_t longest);

  void append(std::span<const int32_t> tokens);

  // The `count` tokens that are likely next: those after the latest earlier occurrence of the
  // longest n-gram that ends the sequence and occurred before. Where these run into the end they go
  // on with themselves, as in a repetition. Empty when no n-gram occurred before.
  std::vector<int32_t> continuation(size_t count) const;

  size_t size() const noexcept { return tokens_.size(); }

 private:
  // Place after the occurrence that `continuation` means; 0: none.
  size_t find() const noexcept;
  size_t common_suffix(size_t end) const noexcept;

  size_t shortest_;
  size_t longest_;
  std::vector<int32_t> tokens_;
};

}  // namespace ftllm
