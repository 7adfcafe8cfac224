#include "sampling/distribution.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "sampling/lanes.h"

namespace ftllm::distribution {
namespace {

using lanes::Floats;

constexpr size_t kBlock = 1024;  // tokens whose weights are summed as one, in float32

// How many tokens, and their weight together.
struct Amount {
  size_t count;
  double mass;
};

// The lightest kept weight, and how many tokens of exactly this weight are kept.
struct Cut {
  float weight;
  size_t ties;
};

float block_largest(std::span<const float> values) noexcept {
  Floats largest[2] = {lanes::all(-lanes::kInfinity), lanes::all(-lanes::kInfinity)};
  lanes::for_each(values.size(), [&](size_t i, auto count, int slot) {
    largest[slot] = lanes::larger(lanes::load(&values[i], count, -lanes::kInfinity), largest[slot]);
  });
  return lanes::largest(lanes::larger(largest[0], largest[1]));
}

float block_mass(std::span<const float> weights, float threshold) noexcept {
  Floats mass[2] = {};
  lanes::for_each(weights.size(), [&](size_t i, auto count, int slot) {
    const Floats x = lanes::load(&weights[i], count, 0);
    mass[slot] += x >= lanes::all(threshold) ? x : lanes::all(0);
  });
  return lanes::sum(mass[0] + mass[1]);
}

template <class Values>
Values block_of(Values values, size_t index, size_t size = kBlock) {
  return values.subspan(index * size, std::min(size, values.size() - index * size));
}

constexpr size_t blocks_in(size_t size, size_t block) { return (size + block - 1) / block; }

// Writes each block's mass to `masses`; returns their sum.
double total_mass(std::span<const float> weights, float threshold,
                  std::span<float> masses) noexcept {
  double total = 0;
  for (size_t b = 0; b < blocks_in(weights.size(), kBlock); ++b) {
    masses[b] = block_mass(block_of(weights, b), threshold);
    total += static_cast<double>(masses[b]);
  }
  return total;
}

Amount at_least(std::span<const float> weights, float threshold) noexcept {
  Amount amount{0, 0};
  for (size_t b = 0; b < blocks_in(weights.size(), kBlock); ++b) {
    Floats mass[2] = {};
    lanes::Ints count[2] = {};
    lanes::for_each(block_of(weights, b).size(), [&](size_t i, auto valid, int slot) {
      const Floats x = lanes::load(&weights[b * kBlock + i], valid, 0);
      const lanes::Ints reached = x >= lanes::all(threshold);  // -1 where it holds
      mass[slot] += reached ? x : lanes::all(0);
      count[slot] -= reached;
    });
    amount.mass += static_cast<double>(lanes::sum(mass[0] + mass[1]));
    const lanes::Ints counts = count[0] + count[1];
    amount.count += static_cast<size_t>(counts[0] + counts[1] + counts[2] + counts[3]);
  }
  return amount;
}

// Copies the weights in [low, high), in order; returns the copies. `to` is of the same size, and
// may be `weights` itself.
std::span<float> collect(std::span<const float> weights, float low, float high,
                         std::span<float> to) noexcept {
  constexpr size_t kGroup = 16;  // tokens passed over at once
  size_t count = 0;
  for (size_t g = 0; g < blocks_in(weights.size(), kGroup); ++g) {
    const std::span<const float> group = block_of(weights, g, kGroup);
    if (block_largest(group) < low) continue;
    for (const float weight : group) {  // without a branch: half of them would be mispredicted
      to[count] = weight;
      count += static_cast<size_t>((weight >= low) & (weight < high));
    }
  }
  return to.first(count);
}

// Walks down a few weights until a limit is met.
Cut cut_sorted(std::span<float> weights, Amount limit) noexcept {
  std::sort(weights.begin(), weights.end(), std::greater<>());
  Cut cut{weights.front(), 0};
  for (const float weight : weights) {
    if (weight != cut.weight) cut = {weight, 0};
    ++cut.ties;
    limit.mass -= static_cast<double>(weight);
    if (--limit.count == 0 || limit.mass <= 0) break;
  }
  return cut;
}

// Where `count` tokens of one weight are more than enough for `limit`.
Cut cut_equal(float weight, size_t count, Amount limit) noexcept {
  const double by_mass = std::max(1.0, std::ceil(limit.mass / static_cast<double>(weight)));
  if (by_mass < static_cast<double>(count)) count = static_cast<size_t>(by_mass);
  return {weight, std::min(count, limit.count)};
}

// Where the count or the mass of `weights`, from the heaviest down, reaches `limit`. They lie in
// [lowest, 1] and are overwritten. Halves the range of bit patterns, which sort as positive floats
// do, until few weights are left in it.
Cut find_cut(std::span<float> weights, float lowest, const Amount& limit) noexcept {
  constexpr size_t kFew = 256;
  uint32_t low = std::bit_cast<uint32_t>(lowest);     // reaches the limit
  uint32_t high = std::bit_cast<uint32_t>(1.0F) + 1;  // does not
  size_t at_least_low = weights.size();
  Amount at_least_high{0, 0};
  while (at_least_low - at_least_high.count > kFew && high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    const Amount amount = at_least(weights, std::bit_cast<float>(middle));
    if (amount.count >= limit.count || amount.mass >= limit.mass) {
      low = middle;
      at_least_low = amount.count;
    } else {
      high = middle;
      at_least_high = amount;
    }
  }
  const Amount rest{limit.count - at_least_high.count, limit.mass - at_least_high.mass};
  const float weight = std::bit_cast<float>(low);
  const size_t left = at_least_low - at_least_high.count;
  if (left == 0) return {weight, weights.size()};  // rounding left the limit unmet: keep all
  if (high - low == 1) return cut_equal(weight, left, rest);
  return cut_sorted(collect(weights, weight, std::bit_cast<float>(high), weights), rest);
}

// Sets all but the first `cut.ties` weights equal to `cut.weight` to 0; returns cut.weight.
float drop_ties(const Cut& cut, std::span<float> weights) noexcept {
  size_t ties = 0;
  for (size_t b = 0; b < blocks_in(weights.size(), kBlock); ++b) {
    const std::span<float> block = block_of(weights, b);
    if (block_largest(block) < cut.weight) continue;
    for (float& weight : block) {
      if (weight == cut.weight && ++ties > cut.ties) weight = 0;
    }
  }
  return cut.weight;
}

// A weight that at least `count` tokens reach: of equal slices' largest weights, the count-th.
float reached_by(std::span<const float> weights, size_t count, std::span<float> spare) noexcept {
  constexpr size_t kSlicesPerToken = 4;
  const size_t slice = weights.size() / (kSlicesPerToken * count);
  if (slice < lanes::kWidth) return 0;
  const size_t slices = blocks_in(weights.size(), slice);
  for (size_t s = 0; s < slices; ++s) spare[s] = block_largest(block_of(weights, s, slice));
  const auto nth = spare.begin() + static_cast<std::ptrdiff_t>(count) - 1;
  std::nth_element(spare.begin(), nth, spare.begin() + static_cast<std::ptrdiff_t>(slices),
                   std::greater<>());
  return *nth;
}

constexpr float kSmallest = std::numeric_limits<float>::min();  // a weight of 0 is never kept

}  // namespace

int32_t first_largest(std::span<const float> values) noexcept {
  float best = -lanes::kInfinity;
  size_t best_block = 0;
  for (size_t b = 0; b < blocks_in(values.size(), kBlock); ++b) {
    const float value = block_largest(block_of(values, b));
    if (value > best) {
      best = value;
      best_block = b;
    }
  }
  if (best == -lanes::kInfinity) return -1;
  size_t id = best_block * kBlock;
  while (values[id] != best) ++id;
  return static_cast<int32_t>(id);
}

void copy_clean(std::span<const float> from, std::span<float> to) noexcept {
  lanes::for_each(from.size(), [&](size_t i, auto count, int) {
    lanes::store(lanes::clean(lanes::load(&from[i], count, 0)), &to[i], count);
  });
}

void copy_allowed(std::span<const float> from, std::span<const uint32_t> mask,
                  std::span<float> to) noexcept {
  constexpr size_t kWordBits = 32;
  constexpr uint32_t kAll = ~uint32_t{0};
  for (size_t w = 0; w < blocks_in(from.size(), kWordBits); ++w) {
    const std::span<const float> source = block_of(from, w, kWordBits);
    const std::span<float> target = block_of(to, w, kWordBits);
    const uint32_t word = w < mask.size() ? mask[w] : 0;
    if (word == kAll) {
      copy_clean(source, target);
    } else if (word == 0) {
      std::fill(target.begin(), target.end(), -lanes::kInfinity);
    } else {
      lanes::for_each(source.size(), [&](size_t i, auto count, int) {
        const lanes::Bits bits = lanes::Bits{1, 2, 4, 8} & (word >> i);
        const Floats x = lanes::clean(lanes::load(&source[i], count, 0));
        lanes::store(bits != 0 ? x : lanes::all(-lanes::kInfinity), &target[i], count);
      });
    }
  }
}

void exponentiate(std::span<float> values, float largest, float scale) noexcept {
  lanes::for_each(values.size(), [&](size_t i, auto count, int) {
    const Floats x = lanes::load(&values[i], count, 0);
    lanes::store(lanes::exp((x - largest) * scale), &values[i], count);
  });
}

float keep_count(std::span<float> weights, float threshold, size_t count,
                 std::span<float> spare) noexcept {
  if (count >= weights.size()) return threshold;
  const float lowest = std::max({threshold, reached_by(weights, count, spare), kSmallest});
  const std::span<float> candidates = collect(weights, lowest, lanes::kInfinity, spare);
  if (candidates.size() <= count) return lowest;
  return drop_ties(find_cut(candidates, lowest, {count, std::numeric_limits<double>::infinity()}),
                   weights);
}

float keep_share(std::span<float> weights, float threshold, double top_p,
                 std::span<float> spare) noexcept {
  const double total = total_mass(weights, threshold, spare);
  // Tokens lighter than this hold less than the share to leave out, even all V together: none of
  // them is needed.
  const double needless = (1 - top_p) * total / static_cast<double>(weights.size());
  // A little lower still, for the rounding of `total`.
  const float lowest = std::max({threshold, static_cast<float>(needless * 0.999), kSmallest});
  const std::span<float> candidates = collect(weights, lowest, lanes::kInfinity, spare);
  return drop_ties(find_cut(candidates, lowest, {candidates.size(), top_p * total}), weights);
}

int32_t draw(std::span<const float> weights, float threshold, double uniform,
             std::span<float> spare) noexcept {
  threshold = std::max(threshold, kSmallest);
  double rest = uniform * total_mass(weights, threshold, spare);
  const size_t blocks = blocks_in(weights.size(), kBlock);
  size_t block = 0;
  while (block + 1 < blocks && rest >= static_cast<double>(spare[block])) {
    rest -= static_cast<double>(spare[block++]);
  }
  if (spare[block] == 0) {  // rounding carried `rest` past the last kept token: draw that one
    rest = std::numeric_limits<double>::infinity();
    while (spare[block] == 0 && block > 0) --block;
  }
  size_t last = 0;
  const size_t end = std::min(weights.size(), (block + 1) * kBlock);
  for (size_t id = block * kBlock; id < end; ++id) {
    if (weights[id] < threshold) continue;
    last = id;
    rest -= static_cast<double>(weights[id]);
    if (rest < 0) break;
  }
  return static_cast<int32_t>(last);
}

}  // namespace ftllm::distribution
