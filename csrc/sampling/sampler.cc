#include "sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "sampling/distribution.h"
#include "sampling/philox.h"

namespace ftllm {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kGreedyBelow = 1e-5F;  // 1 / temperature would leave float32's useful range

void require(bool holds, const char* name, double value, const char* range) {
  if (holds) return;
  throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) + "; it must be " +
                              range + ".");
}

void require_ids(const std::vector<int32_t>& ids, const char* name) {
  for (const int32_t id : ids) require(id >= 0, name, id, "token ids of at least 0");
}

void validate(const SamplingOptions& o) {
  require(std::isfinite(o.temperature) && o.temperature >= 0, "temperature",
          static_cast<double>(o.temperature), "finite and at least 0");
  require(o.top_k >= 0, "top_k", o.top_k, "at least 0");
  require(o.top_p > 0 && o.top_p <= 1, "top_p", o.top_p, "above 0 and at most 1");
  require(o.min_p >= 0 && o.min_p <= 1, "min_p", static_cast<double>(o.min_p), "from 0 to 1");
  require(std::isfinite(o.repetition_penalty) && o.repetition_penalty > 0, "repetition_penalty",
          static_cast<double>(o.repetition_penalty), "finite and above 0");
  require(std::isfinite(o.presence_penalty), "presence_penalty",
          static_cast<double>(o.presence_penalty), "finite");
  require(std::isfinite(o.frequency_penalty), "frequency_penalty",
          static_cast<double>(o.frequency_penalty), "finite");
  require(o.min_tokens >= 0, "min_tokens", o.min_tokens, "at least 0");
  for (const auto& [id, bias] : o.logit_bias) {
    require(id >= 0, "logit_bias", id, "given for token ids of at least 0");
    require(std::isfinite(bias), "logit_bias", static_cast<double>(bias), "finite");
  }
  require_ids(o.stop_token_ids, "stop_token_ids");
  if (o.allowed_token_ids) require_ids(*o.allowed_token_ids, "allowed_token_ids");
  for (const auto& word : o.bad_words) {
    require(!word.empty(), "the length of a sequence in bad_words", 0, "at least 1");
    require_ids(word, "bad_words");
  }
  require_ids(o.prompt_ids, "prompt_ids");
}

// Sets all but the tokens `kept` (ascending) to -inf.
void keep_only(std::span<const int32_t> kept, std::span<float> logits) noexcept {
  auto next = logits.begin();
  for (const int32_t id : kept) {
    if (static_cast<size_t>(id) >= logits.size()) break;
    const auto place = logits.begin() + id;
    if (place < next) continue;  // the same id again
    std::fill(next, place, -kInfinity);
    next = place + 1;
  }
  std::fill(next, logits.end(), -kInfinity);
}

}  // namespace

Sampler::Sampler(SamplingOptions options) : options_(std::move(options)) {
  validate(options_);
  if (auto& allowed = options_.allowed_token_ids) std::sort(allowed->begin(), allowed->end());
  if (options_.repetition_penalty != 1) {
    for (const int32_t id : options_.prompt_ids) seen(id);
  }
  options_.prompt_ids = {};
}

void Sampler::accept(int32_t token_id) {
  require(token_id >= 0, "token_id", token_id, "at least 0");
  if (counts_tokens()) ++seen(token_id).generated;
  if (!options_.bad_words.empty()) output_.push_back(token_id);
  ++num_accepted_;
}

bool Sampler::counts_tokens() const noexcept {
  return options_.repetition_penalty != 1 || options_.presence_penalty != 0 ||
         options_.frequency_penalty != 0;
}

int64_t Sampler::accepted_with(std::span<const int32_t> drafts) const noexcept {
  return num_accepted_ + static_cast<int64_t>(drafts.size());
}

Sampler::SeenToken& Sampler::seen(int32_t token_id) {
  const auto [entry, added] = seen_index_.try_emplace(token_id, seen_.size());
  if (added) seen_.push_back({token_id, 0});
  return seen_[entry->second];
}

bool Sampler::greedy() const noexcept { return options_.temperature < kGreedyBelow; }

bool Sampler::masks_stop_tokens(int64_t accepted) const noexcept {
  return accepted < options_.min_tokens && !options_.stop_token_ids.empty();
}

bool Sampler::adjusts_logits(std::span<const int32_t> drafts) const noexcept {
  return !options_.logit_bias.empty() || !seen_.empty() || (counts_tokens() && !drafts.empty()) ||
         masks_stop_tokens(accepted_with(drafts)) || options_.allowed_token_ids ||
         !options_.bad_words.empty();
}

// `generated`: how often the token was accepted; it may be in the prompt too.
void Sampler::penalize(float& logit, int64_t generated) const noexcept {
  logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
  if (generated > 0) {
    logit -= options_.presence_penalty;
    logit -= options_.frequency_penalty * static_cast<float>(generated);
  }
  logit = std::min(logit, std::numeric_limits<float>::max());  // a small penalty can overflow it
}

void Sampler::adjust(std::span<float> logits, std::span<const int32_t> drafts) const noexcept {
  const auto in_vocabulary = [&](int32_t id) { return static_cast<size_t>(id) < logits.size(); };
  for (const auto& [id, bias] : options_.logit_bias) {
    if (in_vocabulary(id)) logits[static_cast<size_t>(id)] += bias;
  }
  for (const auto& [id, generated] : seen_) {
    if (!in_vocabulary(id)) continue;
    penalize(logits[static_cast<size_t>(id)],
             generated + std::count(drafts.begin(), drafts.end(), id));
  }
  if (counts_tokens()) {
    for (auto draft = drafts.begin(); draft != drafts.end(); ++draft) {
      const bool repeated = std::find(drafts.begin(), draft, *draft) != draft;
      if (repeated || seen_index_.contains(*draft) || !in_vocabulary(*draft)) continue;
      penalize(logits[static_cast<size_t>(*draft)], std::count(draft, drafts.end(), *draft));
    }
  }
  exclude(logits, drafts);
}

void Sampler::exclude(std::span<float> logits, std::span<const int32_t> drafts) const noexcept {
  const auto without = [&](int32_t id) {
    if (static_cast<size_t>(id) < logits.size()) logits[static_cast<size_t>(id)] = -kInfinity;
  };
  if (masks_stop_tokens(accepted_with(drafts))) {
    for (const int32_t id : options_.stop_token_ids) without(id);
  }
  if (options_.allowed_token_ids) keep_only(*options_.allowed_token_ids, logits);
  for (const std::vector<int32_t>& word : options_.bad_words) {
    if (output_ends_with(std::span(word).first(word.size() - 1), drafts)) without(word.back());
  }
}

// Whether `tokens` are the last of what was accepted, `drafts` included.
bool Sampler::output_ends_with(std::span<const int32_t> tokens,
                               std::span<const int32_t> drafts) const noexcept {
  const std::span<const int32_t> late = tokens.last(std::min(tokens.size(), drafts.size()));
  const std::span<const int32_t> early = tokens.first(tokens.size() - late.size());
  if (early.size() > output_.size()) return false;
  return std::equal(late.rbegin(), late.rend(), drafts.rbegin()) &&
         std::equal(early.rbegin(), early.rend(), output_.rbegin());
}

SampleResult Sampler::sample(std::span<const float> logits, std::span<float> scratch,
                             std::span<const int32_t> drafts,
                             std::span<const uint32_t> mask) const noexcept {
  const std::span<float> row = scratch.first(logits.size());
  std::span<const float> adjusted = logits;
  if (!greedy() || adjusts_logits(drafts) || !mask.empty()) {
    if (mask.empty()) {
      distribution::copy_clean(logits, row);
    } else {
      distribution::copy_allowed(logits, mask, row);
    }
    adjust(row, drafts);
    adjusted = row;
  }
  const int32_t likeliest = distribution::first_largest(adjusted);
  if (likeliest < 0) return {distribution::first_largest(logits) < 0 ? kNoLogits : kAllExcluded};
  if (greedy()) return {likeliest};
  const float largest = row[static_cast<size_t>(likeliest)];
  const std::span<float> spare = scratch.subspan(row.size(), row.size());
  return {draw(row, largest, spare, accepted_with(drafts))};
}

int32_t Sampler::draw(std::span<float> weights, float largest, std::span<float> spare,
                      int64_t accepted) const noexcept {
  distribution::exponentiate(weights, largest, 1 / options_.temperature);
  float threshold = options_.min_p;
  if (options_.top_k > 0) {
    threshold =
        distribution::keep_count(weights, threshold, static_cast<size_t>(options_.top_k), spare);
  }
  if (options_.top_p < 1) {
    threshold = distribution::keep_share(weights, threshold, options_.top_p, spare);
  }
  const double number = uniform(options_.seed, static_cast<uint64_t>(accepted));
  return distribution::draw(weights, threshold, number, spare);
}

}  // namespace ftllm
