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
