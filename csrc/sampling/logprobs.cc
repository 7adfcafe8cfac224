#include "sampling/logprobs.h"

#include <algorithm>
#include <cmath>

#include "sampling/lanes.h"

namespace ftllm {
namespace {

using lanes::Floats;

constexpr size_t kBlock = 256;  // tokens

float cleaned(float logit) { return lanes::clean(lanes::all(logit))[0]; }

float block_largest(std::span<const float> logits) noexcept {
  Floats largest[2] = {lanes::all(-lanes::kInfinity), lanes::all(-lanes::kInfinity)};
  lanes::for_each(logits.size(), [&](size_t i, auto count, int slot) {
    largest[slot] = lanes::larger(lanes::load(&logits[i], count, -lanes::kInfinity), largest[slot]);
  });
  return cleaned(lanes::largest(lanes::larger(largest[0], largest[1])));
}

float block_mass(std::span<const float> logits, float largest) noexcept {
  Floats mass[2] = {};
  lanes::for_each(logits.size(), [&](size_t i, auto count, int slot) {
    const Floats x = lanes::load(&logits[i], count, -lanes::kInfinity);
    mass[slot] += lanes::exp(lanes::clean(x) - largest);
  });
  return lanes::sum(mass[0] + mass[1]);
}

// The most likely tokens so far, held in the caller's arrays by insertion.
class Ranking {
 public:
  Ranking(std::span<int32_t> ids, std::span<float> logits) : ids_(ids), logits_(logits) {
    std::fill(ids_.begin(), ids_.end(), -1);
    std::fill(logits_.begin(), logits_.end(), -lanes::kInfinity);
  }

  // Whether a later token of this logit has a place.
  bool takes(float logit) const { return !logits_.empty() && logit > logits_.back(); }

  void insert(int32_t id, float logit) {
    size_t place = logits_.size() - 1;
    for (; place > 0 && logit > logits_[place - 1]; --place) {
      logits_[place] = logits_[place - 1];
      ids_[place] = ids_[place - 1];
    }
    logits_[place] = logit;
    ids_[place] = id;
  }

 private:
  std::span<int32_t> ids_;
  std::span<float> logits_;
};

// 1 + the number of tokens in front of `token`. What is not a number is in front of none.
int32_t rank_of(std::span<const float> logits, size_t token) noexcept {
  const float own = cleaned(logits[token]);
  int32_t rank = 1;
  for (size_t i = 0; i < token; ++i) rank += std::min(logits[i], lanes::kLargest) >= own;
  for (size_t i = token + 1; i < logits.size(); ++i) {
    rank += std::min(logits[i], lanes::kLargest) > own;
  }
  return rank;
}

}  // namespace

bool score(std::span<const float> logits, int32_t token, float& logprob, int32_t& rank,
           std::span<int32_t> top_ids, std::span<float> top_logprobs) noexcept {
  rank = rank_of(logits, static_cast<size_t>(token));
  Ranking ranking(top_ids, top_logprobs);
  float largest = -lanes::kInfinity;
  for (size_t start = 0; start < logits.size(); start += kBlock) {
    const auto block = logits.subspan(start, std::min(kBlock, logits.size() - start));
    const float highest = block_largest(block);
    largest = std::max(largest, highest);
    if (!ranking.takes(highest)) continue;
    for (size_t i = 0; i < block.size(); ++i) {
      const float logit = cleaned(block[i]);
      if (ranking.takes(logit)) ranking.insert(static_cast<int32_t>(start + i), logit);
    }
  }
  logprob = -lanes::kInfinity;
  if (largest == -lanes::kInfinity) return false;
  double mass = 0;
  for (size_t start = 0; start < logits.size(); start += kBlock) {
    const auto block = logits.subspan(start, std::min(kBlock, logits.size() - start));
    mass += static_cast<double>(block_mass(block, largest));
  }
  const double log_mass = std::log(mass);
  const auto normalised = [&](float logit) {
    return static_cast<float>(static_cast<double>(logit) - static_cast<double>(largest) - log_mass);
  };
  logprob = normalised(cleaned(logits[static_cast<size_t>(token)]));
  std::transform(top_logprobs.begin(), top_logprobs.end(), top_logprobs.begin(), normalised);
  return true;
}

}  // namespace ftllm
