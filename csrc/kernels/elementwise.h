#pragma once

#include <cmath>

#include "kernels/math.h"

namespace ftllm {

template <class Isa>
void add(const float* a, const float* b, int64_t count, float* y) noexcept {
  map<Isa>(a, b, count, y, [](auto u, auto v) { return Isa::add(u, v); });
}

template <class Isa>
void scale(const float* x, float factor, int64_t count, float* y) noexcept {
  const auto f = Isa::set1(factor);
  map<Isa>(x, x, count, y, [f](auto u, auto) { return Isa::mul(u, f); });
}

template <class Isa>
void scaled_add(const float* x, float factor, int64_t count, float* y) noexcept {
  const auto f = Isa::set1(factor);
  map<Isa>(x, y, count, y, [f](auto u, auto v) { return Isa::fma(u, f, v); });
}

template <class Isa>
void soft_cap(const float* x, float limit, int64_t count, float* y) noexcept {
  const auto l = Isa::set1(limit);
  map<Isa>(x, x, count, y, [l](auto u, auto) { return Isa::mul(l, tanh<Isa>(Isa::div(u, l))); });
}

// silu(g) = g / (1 + e^−g)
template <class Isa>
void silu_mul(const float* gate, const float* up, int64_t count, float* y) noexcept {
  map<Isa>(gate, up, count, y, [](auto g, auto u) {
    const auto one = Isa::set1(1.0f);
    const auto e = exp<Isa>(Isa::sub(Isa::zero(), g));
    return Isa::mul(Isa::div(g, Isa::add(one, e)), u);
  });
}

// gelu(g) = g / 2 · (1 + tanh(√(2/π) · (g + 0.044715 g³))), Hendrycks and Gimpel 2016
template <class Isa>
void gelu_mul(const float* gate, const float* up, int64_t count, float* y) noexcept {
  map<Isa>(gate, up, count, y, [](auto g, auto u) {
    const auto cubic = Isa::mul(Isa::mul(g, g), Isa::mul(g, Isa::set1(0.044715f)));
    const auto inner = Isa::mul(Isa::set1(0.79788456f), Isa::add(g, cubic));
    const auto one_plus = Isa::add(Isa::set1(1.0f), tanh<Isa>(inner));
    return Isa::mul(Isa::mul(Isa::mul(Isa::set1(0.5f), g), one_plus), u);
  });
}

// gelu(x) = x · Φ(x), Φ by the complementary error function: for z = |x| / √2 it is
// t · (a1 + t · (a2 + …)) · e^−z² with t = 1 / (1 + p · z), error below 1.5e-7 (Abramowitz and
// Stegun 1964, 7.1.26).
template <class Isa>
void gelu(const float* x, int64_t count, float* y) noexcept {
  map<Isa>(x, x, count, y, [](auto u, auto) {
    const auto one = Isa::set1(1.0f);
    const auto magnitude = Isa::max(Isa::sub(Isa::zero(), u), u);
    const auto z = Isa::mul(magnitude, Isa::set1(0.70710678f));
    const auto t = Isa::div(one, Isa::fma(z, Isa::set1(0.3275911f), one));
    auto sum = Isa::set1(1.061405429f);
    sum = Isa::fma(sum, t, Isa::set1(-1.453152027f));
    sum = Isa::fma(sum, t, Isa::set1(1.421413741f));
    sum = Isa::fma(sum, t, Isa::set1(-0.284496736f));
    sum = Isa::fma(sum, t, Isa::set1(0.254829592f));
    const auto density = exp<Isa>(Isa::mul(Isa::sub(Isa::zero(), z), z));
    const auto tail = Isa::mul(Isa::mul(Isa::mul(sum, t), density), Isa::set1(0.5f));
    // x · (1 − tail) above zero, x · tail below: |x| leaves the sum of relu(x) and −|x| · tail.
    const auto positive = Isa::max(u, Isa::zero());
    const auto bounded = Isa::min(Isa::set1(100.0f), magnitude);  // keeps infinity off the tail's 0
    return Isa::sub(positive, Isa::mul(bounded, tail));
  });
}

template <class Isa>
void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t columns,
                float* y) noexcept {
  auto total = Isa::zero();
  int64_t i = 0;
  for (; i + Isa::kLanes <= columns; i += Isa::kLanes) total = Isa::add(total, Isa::load(x + i));
  if (i < columns) total = Isa::add(total, load_partial<Isa>(x + i, columns - i));
  const auto mean = Isa::set1(sum_lanes<Isa>(total) / static_cast<float>(columns));
  map<Isa>(x, x, columns, y, [mean](auto v, auto) { return Isa::sub(v, mean); });
  auto squares = Isa::zero();
  for (i = 0; i + Isa::kLanes <= columns; i += Isa::kLanes) {
    const auto v = Isa::load(y + i);
    squares = Isa::fma(v, v, squares);
  }
  if (i < columns) {
    const auto v = load_partial<Isa>(y + i, columns - i);
    squares = Isa::fma(v, v, squares);
  }
  const float variance = sum_lanes<Isa>(squares) / static_cast<float>(columns);
  const auto factor = Isa::set1(1.0f / std::sqrt(variance + eps));
  map<Isa>(y, weight, columns, y,
           [factor](auto v, auto w) { return Isa::mul(Isa::mul(v, factor), w); });
  add<Isa>(y, bias, columns, y);
}

template <class Isa>
void rms_norm(const float* x, const float* weight, float eps, int64_t columns, float* y) noexcept {
  auto squares = Isa::zero();
  int64_t i = 0;
  for (; i + Isa::kLanes <= columns; i += Isa::kLanes) {
    const auto v = Isa::load(x + i);
    squares = Isa::fma(v, v, squares);
  }
  if (i < columns) {
    const auto v = load_partial<Isa>(x + i, columns - i);
    squares = Isa::fma(v, v, squares);
  }
  const float mean = sum_lanes<Isa>(squares) / static_cast<float>(columns);
  const auto factor = Isa::set1(1.0f / std::sqrt(mean + eps));
  map<Isa>(x, weight, columns, y,
           [factor](auto v, auto w) { return Isa::mul(Isa::mul(v, factor), w); });
}

// (a, b) → (a·cos − b·sin, b·cos + a·sin)
template <class Isa>
void rotate_half(const float* cos, const float* sin, int64_t half, float* x) noexcept {
  for (int64_t i = 0; i < half; i += Isa::kLanes) {
    const int64_t left = half - i;
    const bool full = left >= Isa::kLanes;
    const auto load = [&](const float* at) {
      return full ? Isa::load(at) : load_partial<Isa>(at, left);
    };
    const auto c = load(cos + i);
    const auto s = load(sin + i);
    const auto a = load(x + i);
    const auto b = load(x + half + i);
    const auto first = Isa::sub(Isa::mul(a, c), Isa::mul(b, s));
    const auto second = Isa::add(Isa::mul(b, c), Isa::mul(a, s));
    if (full) {
      Isa::store(x + i, first);
      Isa::store(x + half + i, second);
    } else {
      store_partial<Isa>(x + i, left, first);
      store_partial<Isa>(x + half + i, left, second);
    }
  }
}

}  // namespace ftllm
