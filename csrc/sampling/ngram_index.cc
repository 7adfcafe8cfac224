#include "sampling/ngram_index.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace ftllm {

NgramIndex::NgramIndex(int64_t shortest, int64_t longest)
    : shortest_(static_cast<size_t>(shortest)), longest_(static_cast<size_t>(longest)) {
  if (shortest < 1 || longest < shortest) {
    throw std::invalid_argument("n-grams of " + std::to_string(shortest) + " to " +
                                std::to_string(longest) +
                                " tokens; the shortest has at least 1, the longest no fewer.");
  }
}

void NgramIndex::append(std::span<const int32_t> tokens) {
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
}

// How many tokens before `end` equal those before the sequence's end, up to longest_.
size_t NgramIndex::common_suffix(size_t end) const noexcept {
  const size_t most = std::min(end, longest_);
  size_t length = 0;
  while (length < most && tokens_[end - 1 - length] == tokens_[tokens_.size() - 1 - length]) {
    ++length;
  }
  return length;
}

// A scan, latest first, that ends at the first n-gram of full length: in text that repeats itself
// that is soon, and a whole 32k context takes some microseconds, against a step's milliseconds.
size_t NgramIndex::find() const noexcept {
  if (tokens_.empty()) return 0;
  const int32_t last = tokens_.back();
  size_t best = shortest_ - 1;
  size_t found = 0;
  for (size_t end = tokens_.size() - 1; end > best; --end) {
    if (tokens_[end - 1] != last) continue;
    const size_t length = common_suffix(end);
    if (length <= best) continue;
    best = length;
    found = end;
    if (best == longest_) break;
  }
  return found;
}

std::vector<int32_t> NgramIndex::continuation(size_t count) const {
  std::vector<int32_t> draft;
  const size_t begin = find();
  if (begin == 0) return draft;
  draft.reserve(count);
  for (size_t place = begin; draft.size() < count; ++place) {
    draft.push_back(place < tokens_.size() ? tokens_[place] : draft[place - tokens_.size()]);
  }
  return draft;
}

}  // namespace ftllm
