#pragma once

#include <cstdint>

// Vector mathematics over an ISA's vocabulary, and loops over a float array with a partial tail.
namespace ftllm {

// e^x, relative error below 2e-7, 0 below −87.3, infinity above 88.4. NaN gives NaN: min and max
// return their second operand then. Range reduction x = n·ln2 + r with ln2 split in two (Cody and
// Waite), then a degree-6 Taylor polynomial of e^r for |r| ≤ ln2 / 2.
template <class Isa>
[[gnu::always_inline]] inline typename Isa::F exp(typename Isa::F x) {
  using F = typename Isa::F;
  const F clamped = Isa::min(Isa::set1(89.0f), Isa::max(Isa::set1(-87.33654f), x));
  const F n = Isa::round(Isa::mul(clamped, Isa::set1(1.44269504f)));
  F r = Isa::fma(n, Isa::set1(-0.693359375f), clamped);
  r = Isa::fma(n, Isa::set1(2.12194440e-4f), r);
  F p = Isa::set1(1.0f / 720.0f);
  p = Isa::fma(p, r, Isa::set1(1.0f / 120.0f));
  p = Isa::fma(p, r, Isa::set1(1.0f / 24.0f));
  p = Isa::fma(p, r, Isa::set1(1.0f / 6.0f));
  p = Isa::fma(p, r, Isa::set1(0.5f));
  p = Isa::fma(p, r, Isa::set1(1.0f));
  p = Isa::fma(p, r, Isa::set1(1.0f));
  return Isa::zero_where_less(x, Isa::set1(-87.33654f), Isa::mul(p, Isa::pow2(n)));
}

// tanh(x) = sign(x) · (1 − 2 / (e^(2|x|) + 1))
template <class Isa>
[[gnu::always_inline]] inline typename Isa::F tanh(typename Isa::F x) {
  using F = typename Isa::F;
  const F magnitude = Isa::max(Isa::sub(Isa::zero(), x), x);
  const F e = exp<Isa>(Isa::add(magnitude, magnitude));
  const F one = Isa::set1(1.0f);
  const F y = Isa::sub(one, Isa::div(Isa::set1(2.0f), Isa::add(e, one)));
  return Isa::copy_sign(y, x);
}

// Σ lanes, pairwise.
template <class Isa>
[[gnu::always_inline]] inline float sum_lanes(typename Isa::F x) {
  float lanes[Isa::kLanes];
  Isa::store(lanes, x);
  for (int width = Isa::kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

template <class Isa>
[[gnu::always_inline]] inline float max_lanes(typename Isa::F x) {
  float lanes[Isa::kLanes];
  Isa::store(lanes, x);
  float best = lanes[0];
  for (int i = 1; i < Isa::kLanes; ++i) best = lanes[i] > best ? lanes[i] : best;
  return best;
}

template <class Isa>
[[gnu::always_inline]] inline typename Isa::F load_partial(const float* x, int64_t count) {
  float lanes[Isa::kLanes] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = x[i];
  return Isa::load(lanes);
}

template <class Isa>
[[gnu::always_inline]] inline void store_partial(float* y, int64_t count, typename Isa::F value) {
  float lanes[Isa::kLanes];
  Isa::store(lanes, value);
  for (int64_t i = 0; i < count; ++i) y[i] = lanes[i];
}

// y[i] = op(a[i], b[i]), a vector at a time.
template <class Isa, class Op>
[[gnu::always_inline]] inline void map(const float* a, const float* b, int64_t count, float* y,
                                       const Op& op) {
  int64_t i = 0;
  for (; i + Isa::kLanes <= count; i += Isa::kLanes) {
    Isa::store(y + i, op(Isa::load(a + i), Isa::load(b + i)));
  }
  if (i < count) {
    const auto last = op(load_partial<Isa>(a + i, count - i), load_partial<Isa>(b + i, count - i));
    store_partial<Isa>(y + i, count - i, last);
  }
}

}  // namespace ftllm
