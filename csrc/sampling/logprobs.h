#pragma once

#include <cstdint>
#include <span>

namespace ftllm {

// Log-probabilities (natural logarithm) of a row of logits as the model gave it: before biases,
// penalties and temperature. NaN counts as -inf.
//
// Writes the log-probability of `token` (0 <= token < V) to `logprob` and its place among all
// tokens, from 1, to `rank`; and the most likely tokens, likeliest first, the lower id first among
// equals, to `top_ids` and `top_logprobs` (of equal length, at most kMaxTopLogprobs); -1 and -inf
// beyond the tokens whose probability is above 0. False, with every log-probability -inf, when no
// logit of the row is above -inf.
bool score(std::span<const float> logits, int32_t token, float& logprob, int32_t& rank,
           std::span<int32_t> top_ids, std::span<float> top_logprobs) noexcept;

inline constexpr int32_t kMaxTopLogprobs = 20;

}  // namespace ftllm
