#pragma once

#include <cstring>

#include "base/half.h"
#include "formats/fp8.h"
#include "formats/scales.h"
#include "kernels/store.h"

// Linear layers over float formats: float32 activations, one fused multiply-add per element, k
// after k, in float32. Elements with scales are multiplied by theirs first.
namespace ftllm {

struct ElementF32 {
  static constexpr int kBytes = 4;
  template <class Isa>
  [[gnu::always_inline]] static typename Isa::F load(const uint8_t* at) {
    return Isa::load(reinterpret_cast<const float*>(at));
  }
  template <class Isa>
  [[gnu::always_inline]] static void store(typename Isa::F x, uint8_t* at) {
    Isa::store(reinterpret_cast<float*>(at), x);
  }
};
struct ElementF16 {
  static constexpr int kBytes = 2;
  template <class Isa>
  [[gnu::always_inline]] static typename Isa::F load(const uint8_t* at) {
    return Isa::load_f16(at);
  }
  // Saturates: an infinity in the KV cache would turn into NaN.
  template <class Isa>
  [[gnu::always_inline]] static void store(typename Isa::F x, uint8_t* at) {
    Isa::store_f16(at, Isa::min(Isa::max(x, Isa::set1(-65504.0f)), Isa::set1(65504.0f)));
  }
};
struct ElementBF16 {
  static constexpr int kBytes = 2;
  template <class Isa>
  [[gnu::always_inline]] static typename Isa::F load(const uint8_t* at) {
    return Isa::load_bf16(at);
  }
  template <class Isa>
  [[gnu::always_inline]] static void store(typename Isa::F x, uint8_t* at) {
    float lanes[Isa::kLanes];
    Isa::store(lanes, x);
    for (int i = 0; i < Isa::kLanes; ++i) {
      const uint16_t bfloat = float_to_bfloat(lanes[i]);
      std::memcpy(at + 2 * i, &bfloat, 2);
    }
  }
};

// Weights only.
struct ElementFp8 {
  static constexpr int kBytes = 1;
  static constexpr int kScaled = Fp8::kBlock;  // columns that share a scale
  template <class Isa>
  [[gnu::always_inline]] static typename Isa::F load(const uint8_t* at) {
    return Isa::load_fp8(at);
  }
};

template <class Element>
concept HasScales = requires { Element::kScaled; };

// kPanels panels from p on × kRows rows from `row` on.
template <class Isa, class Element, int kRows, int kPanels>
void float_tile(const LinearTask& task, int64_t row, int64_t p) noexcept {
  using F = typename Isa::F;
  F acc[kRows][kPanels];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
    for (int i = 0; i < kPanels; ++i) acc[m][i] = Isa::zero();
  }
  const float* x = task.x + row * task.x_stride;
  const uint8_t* w = task.panels + p * task.panel_bytes;
  const auto add_columns = [&](int64_t begin, int64_t end, const auto& weight)
                               [[gnu::always_inline]] {
                                 for (int64_t k = begin; k < end; ++k) {
                                   F weights[kPanels];
#pragma GCC unroll 8
                                   for (int i = 0; i < kPanels; ++i)
                                     weights[i] = weight(w + i * task.panel_bytes, i);
#pragma GCC unroll 16
                                   for (int m = 0; m < kRows; ++m) {
                                     const F value = Isa::set1(x[m * task.x_stride + k]);
#pragma GCC unroll 8
                                     for (int i = 0; i < kPanels; ++i)
                                       acc[m][i] = Isa::fma(weights[i], value, acc[m][i]);
                                   }
                                   w += Isa::kLanes * Element::kBytes;
                                 }
                               };
  if constexpr (HasScales<Element>) {
    for (int64_t k = 0; k < task.columns; k += Element::kScaled) {
      F scales[kPanels];
      for (int i = 0; i < kPanels; ++i) {
        const auto* at = reinterpret_cast<const float*>(w + i * task.panel_bytes);
        scales[i] = Isa::mul(Isa::load(at), Isa::set1(kFp8Factor));
      }
      w += Isa::kLanes * sizeof(float);
      const int64_t end = k + Element::kScaled;
      add_columns(k, end < task.columns ? end : task.columns,
                  [&](const uint8_t* at, int i) [[gnu::always_inline]] {
                    return Isa::mul(Element::template load<Isa>(at), scales[i]);
                  });
    }
  } else {
    add_columns(0, task.columns, [](const uint8_t* at, int) [[gnu::always_inline]] {
      return Element::template load<Isa>(at);
    });
  }
  for (int m = 0; m < kRows; ++m) {
    for (int i = 0; i < kPanels; ++i) store_panel<Isa>(task, row + m, p + i, acc[m][i]);
  }
}

template <class Isa, class Element, int kRows>
void linear_float_rows(const LinearTask& task, int64_t row) noexcept {
  constexpr int kPanels = kRows <= Isa::kFloatRows / 2 ? 2 * Isa::kFloatPanels : Isa::kFloatPanels;
  int64_t p = task.panel_begin;
  for (; p + kPanels <= task.panel_end; p += kPanels) {
    float_tile<Isa, Element, kRows, kPanels>(task, row, p);
  }
  for (; p < task.panel_end; ++p) float_tile<Isa, Element, kRows, 1>(task, row, p);
}

// `count` rows, at most kRows: a compile-time search for the kernel of that many.
template <class Isa, class Element, int kRows>
void linear_float_count(const LinearTask& task, int64_t row, int64_t count) noexcept {
  if constexpr (kRows > 0) {
    if (count == kRows) {
      linear_float_rows<Isa, Element, kRows>(task, row);
    } else {
      linear_float_count<Isa, Element, kRows - 1>(task, row, count);
    }
  }
}

// Passes over the weights are as few as they can be, and of nearly equal numbers of rows.
template <class Isa, class Element>
void linear_float(const LinearTask& task) noexcept {
  int64_t passes = (task.row_end - task.row_begin + Isa::kFloatRows - 1) / Isa::kFloatRows;
  for (int64_t row = task.row_begin; row < task.row_end; --passes) {
    const int64_t count = (task.row_end - row + passes - 1) / passes;
    linear_float_count<Isa, Element, Isa::kFloatRows>(task, row, count);
    row += count;
  }
}

}  // namespace ftllm
