#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ftllm {

// What a request asks of its sampler. Token ids are not negative; ids beyond the vocabulary have no
// effect.
struct SamplingOptions {
  float temperature = 1;         // below 1e-5: greedy
  int32_t top_k = 0;             // 0: off
  double top_p = 1;              // (0, 1]; 1: off
  float min_p = 0;               // [0, 1]; 0: off
  float repetition_penalty = 1;  // above 0
  float presence_penalty = 0;
  float frequency_penalty = 0;
  std::vector<std::pair<int32_t, float>> logit_bias;
  uint64_t seed = 0;
  int32_t min_tokens = 0;  // until then, no token of stop_token_ids can be drawn
  std::vector<int32_t> stop_token_ids;
  std::optional<std::vector<int32_t>> allowed_token_ids;  // nothing else can be drawn
  std::vector<std::vector<int32_t>> bad_words;  // token sequences that the output must not hold
  std::vector<int32_t> prompt_ids;
};

// What `sample` returns in place of a token.
inline constexpr int32_t kNoLogits = -1;     // no token of the row has a logit above -inf
inline constexpr int32_t kAllExcluded = -2;  // some have, but options and mask exclude them all

struct SampleResult {
  int32_t token_id;  // or one of the above
  bool ok() const noexcept { return token_id >= 0; }
};

// Sampling state of one request: options, token counts, place in its random stream.
//
// The n-th token depends on the logits, the mask, the options, the tokens accepted so far and
// (seed, n), and on nothing else. Tokens that the mask excludes take no part. In this order:
//   1. logit_bias is added (OpenAI);
//   2. repetition_penalty divides positive and multiplies negative logits of every token of prompt
//      and output (Hugging Face; Keskar et al. 2019, arXiv:1909.05858);
//   3. presence_penalty once, and frequency_penalty per occurrence, are subtracted from the logits
//      of generated tokens (OpenAI);
//   4. excluded are: stop tokens while fewer than min_tokens tokens were accepted; all but
//      allowed_token_ids; the last token of a bad word after the others of it;
//   5. greedy: the largest logit, the lowest id among equals. Otherwise temperature, top_k, min_p
//      (relative to the likeliest token; Nguyen et al. 2024, arXiv:2407.01082), top_p of what is
//      left (Holtzman et al. 2019, arXiv:1904.09751), and a draw. Among equal probabilities top_k
//      and top_p keep the lower ids, so exactly top_k tokens are kept.
// A NaN logit counts as -inf.
//
// `accept` needs outside synchronisation; `sample` changes nothing and can run on many objects at
// once.
class Sampler {
 public:
  // Throws std::invalid_argument naming the option that is out of range.
  explicit Sampler(SamplingOptions options);
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  // Counts a token as generated. Throws std::invalid_argument when it is negative.
  void accept(int32_t token_id);

  int64_t num_accepted() const noexcept { return num_accepted_; }

  // How many floats of working memory `sample` needs for a vocabulary.
  static constexpr size_t scratch_size(size_t vocab_size) { return 2 * vocab_size; }

  // The next token for a row of V logits, as if `drafts` had been accepted. `scratch` has
  // scratch_size(V) floats and is overwritten. `mask`: a bit a token (distribution::copy_allowed);
  // empty: all are allowed.
  SampleResult sample(std::span<const float> logits, std::span<float> scratch,
                      std::span<const int32_t> drafts = {},
                      std::span<const uint32_t> mask = {}) const noexcept;

 private:
  struct SeenToken {
    int32_t id;
    int32_t generated;  // how often it was accepted; 0: it is in the prompt alone
  };

  bool greedy() const noexcept;
  bool counts_tokens() const noexcept;
  bool masks_stop_tokens(int64_t accepted) const noexcept;
  bool adjusts_logits(std::span<const int32_t> drafts) const noexcept;
  void adjust(std::span<float> logits, std::span<const int32_t> drafts) const noexcept;
  void exclude(std::span<float> logits, std::span<const int32_t> drafts) const noexcept;
  bool output_ends_with(std::span<const int32_t> tokens,
                        std::span<const int32_t> drafts) const noexcept;
  void penalize(float& logit, int64_t generated) const noexcept;
  int32_t draw(std::span<float> weights, float largest, std::span<float> spare,
               int64_t accepted) const noexcept;
  int64_t accepted_with(std::span<const int32_t> drafts) const noexcept;
  SeenToken& seen(int32_t token_id);

  SamplingOptions options_;
  std::vector<SeenToken> seen_;  // tokens that a penalty can apply to, by first appearance
  std::unordered_map<int32_t, size_t> seen_index_;  // token id to its place in seen_
  std::vector<int32_t> output_;                     // accepted tokens, if bad words need them
  int64_t num_accepted_ = 0;
};

}  // namespace ftllm
