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

// kPanels panels from p on × kRows rows from `row` on. Meanwhile as many bytes as a panel has are
// fetched from `ahead`.
template <class Isa, class Element, int kRows, int kPanels>
void float_tile(const LinearTask& task, int64_t row, int64_t p, const uint8_t* ahead) noexcept {
  using F = typename Isa::F;
  F acc[kRows][kPanels];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
    for (int i = 0; i < kPanels; ++i) acc[m][i] = Isa::zero();
  }
  const float* x = task.x + row * task.x_stride;
  const uint8_t* w = task.panels + p * task.panel_bytes;
  const auto add_column = [&](int64_t k, const auto& weight) [[gnu::always_inline]] {
    F weights[kPanels];
#pragma GCC unroll 8
    for (int i = 0; i < kPanels; ++i) weights[i] = weight(w + i * task.panel_bytes, i);
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
      const F value = Isa::set1(x[m * task.x_stride + k]);
#pragma GCC unroll 8
      for (int i = 0; i < kPanels; ++i) acc[m][i] = Isa::fma(weights[i], value, acc[m][i]);
    }
    w += Isa::kLanes * Element::kBytes;
  };
  constexpr int kLine = 64 / (Isa::kLanes * Element::kBytes);
  const auto add_columns = [&](int64_t k, int64_t end, const auto& weight) [[gnu::always_inline]] {
    for (; k + kLine <= end; k += kLine, ahead += 64) {
      Isa::prefetch(ahead);
#pragma GCC unroll 8
      for (int c = 0; c < kLine; ++c) add_column(k + c, weight);
    }
    for (; k < end; ++k) add_column(k, weight);
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

// Panels [begin, end) × kRows rows.
template <class Isa, class Element, int kRows>
void linear_float_rows(const LinearTask& task, int64_t row, int64_t begin, int64_t end,
                       int64_t ahead) noexcept {
  // As many as registers hold with their weights; more than four streams are no faster.
  constexpr int kFit = (Isa::kFloatRows + 1) * Isa::kFloatPanels / (kRows + 1);
  constexpr int kPanels = kFit < 4 ? kFit : 4;
  const auto panel = [&](int64_t p) { return task.panels + p * task.panel_bytes; };
  for (; begin + kPanels <= end; begin += kPanels) {
    float_tile<Isa, Element, kRows, kPanels>(task, row, begin, panel(begin + ahead));
  }
  for (; begin < end; ++begin) {
    float_tile<Isa, Element, kRows, 1>(task, row, begin, panel(begin + ahead));
  }
}

// `count` rows, at most kRows: a compile-time search for the kernel of that many.
template <class Isa, class Element, int kRows>
void linear_float_count(const LinearTask& task, int64_t row, int64_t count, int64_t begin,
                        int64_t end, int64_t ahead) noexcept {
  if constexpr (kRows > 0) {
    if (count == kRows) {
      linear_float_rows<Isa, Element, kRows>(task, row, begin, end, ahead);
    } else {
      linear_float_count<Isa, Element, kRows - 1>(task, row, count, begin, end, ahead);
    }
  }
}

// Passes over the weights are as few as they can be, and of nearly equal numbers of rows. Two go
// over a group of panels one after the other and fetch the next group meanwhile, one panel each:
// memory and arithmetic take turns otherwise. More compute for so long that it does not matter, and
// leave the rows in the first-level cache instead.
template <class Isa, class Element>
void linear_float(const LinearTask& task) noexcept {
  constexpr int kRows = Isa::kFloatRows;
  constexpr int64_t kGroup = Isa::kFloatPanels;
  const int64_t passes = (task.row_end - task.row_begin + kRows - 1) / kRows;
  const bool two = passes == 2;
  const int64_t step = two ? kGroup : task.panel_end - task.panel_begin;
  for (int64_t begin = task.panel_begin; begin < task.panel_end; begin += step) {
    const int64_t end = begin + step < task.panel_end ? begin + step : task.panel_end;
    int64_t row = task.row_begin;
    for (int64_t pass = 0; pass < passes; ++pass) {
      const int64_t left = passes - pass;
      const int64_t count = (task.row_end - row + left - 1) / left;
      linear_float_count<Isa, Element, kRows>(task, row, count, begin, end,
                                              two ? kGroup + pass : 0);
      row += count;
    }
  }
}

}  // namespace ftllm
