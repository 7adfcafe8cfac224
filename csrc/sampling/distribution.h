#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

// The steps from a row of V logits to one token. Weights are unnormalised probabilities, the
// largest being 1. A token is "kept" when its weight is at least the threshold in force; the
// truncations below raise the threshold, and set weights to 0 only to break ties at it.
// Nothing here allocates. `spare` is working memory of V floats.
namespace ftllm::distribution {

// Id of the largest value, the lowest id among equals; NaN is passed over. -1 when no value is
// above -inf.
int32_t first_largest(std::span<const float> values) noexcept;

// Copies a row; NaN becomes -inf and +inf the largest finite float.
void copy_clean(std::span<const float> from, std::span<float> to) noexcept;

// The same, and tokens whose bit of `mask` is 0 get -inf. Bit i % 32 of word i / 32 is token i's;
// tokens beyond the mask's end are excluded too.
void copy_allowed(std::span<const float> from, std::span<const uint32_t> mask,
                  std::span<float> to) noexcept;

// Turns clean logits into weights e^((x - largest) * scale), in place; scale is 1 / temperature.
void exponentiate(std::span<float> values, float largest, float scale) noexcept;

// Keeps the `count` heaviest of the kept tokens (all, if there are fewer); among equal weights the
// lower ids. Returns the new threshold.
float keep_count(std::span<float> weights, float threshold, size_t count,
                 std::span<float> spare) noexcept;

// Keeps the heaviest tokens whose weights reach the share `top_p` (0 to 1) of all that is kept: as
// few as possible and at least one; among equal weights the lower ids. Returns the new threshold.
float keep_share(std::span<float> weights, float threshold, double top_p,
                 std::span<float> spare) noexcept;

// The token where the running sum of kept weights, in id order, passes `uniform` (in [0, 1)) times
// their total.
int32_t draw(std::span<const float> weights, float threshold, double uniform,
             std::span<float> spare) noexcept;

}  // namespace ftllm::distribution
