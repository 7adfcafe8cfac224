#include "formats/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"

// The searches run over every weight of a model at load, so they are compiled for AVX2 besides what
// every processor has, and the loader picks. Contraction is off: both give the same bits.
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define FTLLM_CLONES [[gnu::target_clones("avx2", "default")]]
#else
#define FTLLM_CLONES
#endif
#define FTLLM_INLINE [[gnu::always_inline]] inline

namespace ftllm {
namespace {

constexpr int kLanes = 8;
constexpr int kMaxColumns = 256;

// A vector wherever the target has one, through references only: by value its ABI would depend on
// the target.
using Lanes [[gnu::vector_size(4 * kLanes)]] = float;
using IntLanes [[gnu::vector_size(4 * kLanes)]] = int32_t;

uint8_t clamp_code(float value, int top) {
  return static_cast<uint8_t>(std::clamp(static_cast<int>(std::lrintf(value)), 0, top));
}

float inverse(float x) { return x == 0.0f ? 0.0f : 1.0f / x; }

// NaN becomes `low`.
float clamp_float(float x, float low, float high) {
  x = x > low ? x : low;
  return x < high ? x : high;
}

FTLLM_INLINE void load(const float* from, Lanes& x) { std::memcpy(&x, from, sizeof x); }
FTLLM_INLINE void store(float* to, const Lanes& x) { std::memcpy(to, &x, sizeof x); }

FTLLM_INLINE void clamp(Lanes& x, float low, float high) {
  const Lanes lowest = Lanes{} + low;
  const Lanes highest = Lanes{} + high;
  x = x > lowest ? x : lowest;
  x = x < highest ? x : highest;
}

// To nearest even, for |x| < 2^22.
FTLLM_INLINE void round(Lanes& x) { x = (x + 12582912.0f) - 12582912.0f; }

FTLLM_INLINE float sum(const Lanes& x) {
  return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

// The value of largest magnitude, with its sign.
float extreme(const float* x, int columns) {
  return *std::max_element(x, x + columns,
                           [](float a, float b) { return std::fabs(a) < std::fabs(b); });
}

// What x reaches from and to; NaN counts as nothing.
struct Range {
  float low;
  float high;
};

FTLLM_CLONES Range range_of(const float* x, int columns) {
  Lanes low = Lanes{} + HUGE_VALF;
  Lanes high = Lanes{} - HUGE_VALF;
  for (int k = 0; k < columns; k += kLanes) {
    Lanes v;
    load(x + k, v);
    low = v < low ? v : low;
    high = v > high ? v : high;
  }
  Range range{low[0], high[0]};
  for (int i = 1; i < kLanes; ++i) {
    range.low = std::min(range.low, low[i]);
    range.high = std::max(range.high, high[i]);
  }
  return range;
}

// codes = round(x · factor + offset) within 0 and `top`; NaN becomes 0.
FTLLM_CLONES void assign_codes(const float* x, int columns, float factor, float offset, int top,
                               uint8_t* codes) {
  for (int k = 0; k < columns; k += kLanes) {
    Lanes v;
    load(x + k, v);
    v = v * factor + offset;
    clamp(v, 0.0f, static_cast<float>(top));
    round(v);
    const IntLanes whole = __builtin_convertvector(v, IntLanes);
    for (int i = 0; i < kLanes; ++i) codes[k + i] = static_cast<uint8_t>(whole[i]);
  }
}

// Whether a least-squares fit of x in binary32 makes sense: not for zeros, infinities or NaN.
bool can_fit(float peak) { return std::fabs(peak) > 0x1p-60f && std::fabs(peak) < 0x1p50f; }

// Weights of the least squares, rms(x) + |x|, in units of rms(x): what a large value contributes
// matters more than what a small one does, and none is free.
FTLLM_INLINE void importance(const float* x, int columns, float* weights) {
  Lanes squares{};
  for (int k = 0; k < columns; k += kLanes) {
    Lanes v;
    load(x + k, v);
    squares += v * v;
  }
  const float to_rms = std::sqrt(static_cast<float>(columns) / sum(squares));
  for (int k = 0; k < columns; k += kLanes) {
    Lanes v;
    load(x + k, v);
    v *= to_rms;
    v = v < 0.0f ? -v : v;
    v += 1.0f;
    store(weights + k, v);
  }
}

// The scale s of least Σ w (x − s · v)² where v = nearest(x / s'), over several s' around
// peak / lowest, `tries` to either side, and then the best s itself.
template <class Nearest>
FTLLM_INLINE float fit_scale(const float* x, int columns, float lowest, int tries,
                             const Nearest& nearest) {
  const float peak = extreme(x, columns);
  float best_scale = peak / lowest;
  if (!can_fit(peak)) return best_scale;
  float w[kMaxColumns];
  importance(x, columns, w);
  double best = -1.0;
  const auto attempt = [&](float to_value) {
    Lanes xv{};
    Lanes vv{};
    for (int k = 0; k < columns; k += kLanes) {
      Lanes given;
      load(x + k, given);
      Lanes v = given * to_value;
      nearest(v);
      Lanes weight;
      load(w + k, weight);
      weight *= v;
      xv += given * weight;
      vv += v * weight;
    }
    const double product = sum(xv);
    const double squares = sum(vv);
    if (squares > 0.0 && product * product > best * squares) {
      best = product * product / squares;
      best_scale = static_cast<float>(product / squares);
    }
  };
  for (int i = -tries; i <= tries; ++i) {
    attempt(lowest * (1.0f + 0.2f * static_cast<float>(i) / static_cast<float>(tries)) / peak);
  }
  attempt(1.0f / best_scale);
  return best_scale;
}

struct NearestWhole {
  float low;
  float high;
  FTLLM_INLINE void operator()(Lanes& v) const {
    clamp(v, low, high);
    round(v);
  }
};

struct NearestInBook {
  const NearestCode& book;
  FTLLM_INLINE void operator()(Lanes& v) const {
    Lanes found = Lanes{} + book.lowest();
    for (int i = 0; i < book.step_count(); ++i) {
      const NearestCode::Step& step = book.step(i);
      found = v < Lanes{} + step.border ? found : Lanes{} + step.value;
    }
    v = found;
  }
};

FTLLM_CLONES float fit_signed(const float* x, int columns, int offset) {
  const auto low = static_cast<float>(-offset);
  const auto high = static_cast<float>(offset - 1);
  return fit_scale(x, columns, low, offset < 32 ? 3 : 8, NearestWhole{low, high});
}

FTLLM_CLONES float fit_codebook(const float* x, int columns, const NearestCode& book) {
  return fit_scale(x, columns, book.lowest(), 3, NearestInBook{book});
}

struct Affine {
  float scale;
  float min;
};

// The scale and min of least Σ w (x − scale · l − min)² where l are the codes of several ranges
// within that of x, and then those of the best fit itself. With `below_zero`, min is not above zero
// and the range includes it.
FTLLM_CLONES Affine fit_affine(const float* x, int columns, int top, bool below_zero) {
  constexpr float kCuts[] = {-0.2f, 0.2f, 0.6f};  // off either end of the range, in steps
  const Range given = range_of(x, columns);
  const float low = below_zero ? std::min(given.low, 0.0f) : given.low;
  const float range = given.high - low;
  const auto steps = static_cast<float>(top);
  Affine best{range / steps, low};
  if (!can_fit(range) || !(range > 0.0f)) return best;
  // In units of the range above its low end, so that nothing cancels.
  float y[kMaxColumns];
  float w[kMaxColumns];
  importance(x, columns, w);
  Lanes sum_w{};
  Lanes sum_y{};
  Lanes sum_yy{};
  for (int k = 0; k < columns; k += kLanes) {
    Lanes v;
    load(x + k, v);
    v = (v - low) * (1.0f / range);
    store(y + k, v);
    Lanes weight;
    load(w + k, weight);
    sum_w += weight;
    weight *= v;
    sum_y += weight;
    sum_yy += weight * v;
  }
  const double n = sum(sum_w);
  const double total = sum(sum_y);
  const double squares = sum(sum_yy);
  const double zero = -static_cast<double>(low) / range;  // where x = 0 lies
  double least = HUGE_VAL;
  double best_scale = 1.0 / steps;
  double best_min = 0.0;
  const auto attempt = [&](float to_code, float offset) {
    Lanes sum_l{};
    Lanes sum_ll{};
    Lanes sum_yl{};
    for (int k = 0; k < columns; k += kLanes) {
      Lanes v;
      load(y + k, v);
      Lanes l = v * to_code + offset;
      clamp(l, 0.0f, steps);
      round(l);
      Lanes weight;
      load(w + k, weight);
      weight *= l;
      sum_l += weight;
      sum_ll += weight * l;
      sum_yl += weight * v;
    }
    const double l = sum(sum_l);
    const double ll = sum(sum_ll);
    const double yl = sum(sum_yl);
    const double determinant = n * ll - l * l;
    if (!(determinant > 0.0)) return;
    double scale = (n * yl - total * l) / determinant;
    double min = (total - scale * l) / n;
    if (below_zero && min > zero) {
      min = zero;
      scale = (yl - min * l) / ll;
    }
    const double error = squares - 2 * scale * yl - 2 * min * total + scale * scale * ll +
                         2 * scale * min * l + min * min * n;
    if (error < least && scale > 0.0) {
      least = error;
      best_scale = scale;
      best_min = min;
    }
  };
  for (const float bottom : kCuts) {
    for (const float upper : kCuts) {
      if (std::fabs(bottom - upper) > 0.5f) continue;
      const float stretch = steps / (steps - bottom - upper);
      attempt(steps * stretch, -bottom * stretch);
    }
  }
  const double to_code = 1.0 / best_scale;
  attempt(static_cast<float>(to_code), static_cast<float>(-best_min * to_code));
  return {static_cast<float>(best_scale * range), static_cast<float>(best_min * range + low)};
}

}  // namespace

void quantize_symmetric(const float* x, int columns, int limit, int offset, DecodedBlock& block) {
  block.scale = float_to_half(std::fabs(extreme(x, columns)) / static_cast<float>(limit));
  const float to_code = inverse(half_to_float(block.scale));
  const auto shift = static_cast<float>(limit);
  assign_codes(x, columns, to_code, shift, 2 * limit, block.codes);
  for (int k = 0; k < columns; ++k) block.codes[k] += static_cast<uint8_t>(offset - limit);
}

void quantize_signed(const float* x, int columns, int offset, DecodedBlock& block) {
  block.scale = float_to_half(fit_signed(x, columns, offset));
  const float to_code = inverse(half_to_float(block.scale));
  assign_codes(x, columns, to_code, static_cast<float>(offset), 2 * offset - 1, block.codes);
}

void quantize_affine(const float* x, int columns, int top, DecodedBlock& block) {
  const Affine fit = fit_affine(x, columns, top, false);
  block.scale = float_to_half(fit.scale);
  block.min = float_to_half(fit.min);
  const float min = half_to_float(block.min);
  const float to_code = inverse(half_to_float(block.scale));
  assign_codes(x, columns, to_code, -min * to_code, top, block.codes);
}

void quantize_zero_point(const float* x, int columns, DecodedBlock& block) {
  const Range range = range_of(x, columns);
  const float bottom = std::min(range.low, 0.0f);
  block.scale = float_to_half((std::max(range.high, 0.0f) - bottom) / 15.0f);
  const float to_code = inverse(half_to_float(block.scale));
  block.min = clamp_code(-bottom * to_code, 15);
  assign_codes(x, columns, to_code, static_cast<float>(block.min), 15, block.codes);
}

void quantize_affine_two_level(const float* x, int group, int top, int limit, DecodedBlock& block) {
  const int groups = 256 / group;
  float scales[16];
  float mins[16];
  for (int g = 0; g < groups; ++g) {
    const Affine fit = fit_affine(x + group * g, group, top, true);
    scales[g] = std::max(0.0f, fit.scale);
    mins[g] = std::max(0.0f, -fit.min);
  }
  const auto steps = static_cast<float>(limit);
  block.scale = float_to_half(*std::max_element(scales, scales + groups) / steps);
  block.min = float_to_half(*std::max_element(mins, mins + groups) / steps);
  const float super_scale = half_to_float(block.scale);
  const float super_min = half_to_float(block.min);
  for (int g = 0; g < groups; ++g) {
    block.group_scale[g] = clamp_code(scales[g] * inverse(super_scale), limit);
    block.group_min[g] = clamp_code(mins[g] * inverse(super_min), limit);
    const float to_code = inverse(super_scale * block.group_scale[g]);
    const float min = super_min * block.group_min[g];
    assign_codes(x + group * g, group, to_code, min * to_code, top, block.codes + group * g);
  }
}

void quantize_signed_two_level(const float* x, int offset, DecodedBlock& block) {
  float scales[16];
  for (int g = 0; g < 16; ++g) scales[g] = fit_signed(x + 16 * g, 16, offset);
  block.scale = float_to_half(std::fabs(extreme(scales, 16)) / 127.0f);
  const float super = half_to_float(block.scale);
  for (int g = 0; g < 16; ++g) {
    const float factor = clamp_float(scales[g] * inverse(super), -127.0f, 127.0f);
    const auto scale = static_cast<int>(std::lrintf(factor));
    block.group_scale[g] = static_cast<uint8_t>(static_cast<int8_t>(scale));
    const float to_code = inverse(super * static_cast<float>(scale));
    assign_codes(x + 16 * g, 16, to_code, static_cast<float>(offset), 2 * offset - 1,
                 block.codes + 16 * g);
  }
}

NearestCode::NearestCode(const Codebook& book, int codes) : book_(book) {
  for (int i = 0; i < 513; ++i) {
    const float middle = static_cast<float>(i - 256) / 2 + 0.25f;
    int best = 0;
    for (int code = 1; code < codes; ++code) {
      if (std::fabs(static_cast<float>(book.values[code]) - middle) <
          std::fabs(static_cast<float>(book.values[best]) - middle)) {
        best = code;
      }
    }
    nearest_[i] = static_cast<uint8_t>(best);
  }
  lowest_ = *std::min_element(book.values, book.values + codes);
  int8_t sorted[16];
  std::copy(book.values, book.values + codes, sorted);
  std::sort(sorted, sorted + codes);
  for (int i = 1; i < codes; ++i) {
    steps_[i - 1] = {static_cast<float>(sorted[i - 1] + sorted[i]) / 2,
                     static_cast<float>(sorted[i])};
  }
  step_count_ = codes - 1;
}

uint8_t NearestCode::code(float value) const {
  // Borders between codes are multiples of a half.
  return nearest_[static_cast<int>(clamp_float(value, -128.0f, 128.0f) * 2.0f + 256.0f)];
}

void quantize_codebook(const float* x, int columns, const NearestCode& book, DecodedBlock& block) {
  block.scale = float_to_half(fit_codebook(x, columns, book));
  const float to_value = inverse(half_to_float(block.scale));
  for (int k = 0; k < columns; ++k) block.codes[k] = book.code(x[k] * to_value);
}

void quantize_codebook_two_level(const float* x, int group, const NearestCode& book, bool positive,
                                 float factor, DecodedBlock& block) {
  const int groups = 256 / group;
  float scales[16];
  for (int g = 0; g < groups; ++g) {
    scales[g] = fit_codebook(x + group * g, group, book);
    if (positive) scales[g] = std::fabs(scales[g]);
  }
  block.scale = float_to_half(std::fabs(extreme(scales, groups)) / (127.0f * factor));
  const float super = half_to_float(block.scale) * factor;
  for (int g = 0; g < groups; ++g) {
    const float steps = clamp_float(scales[g] * inverse(super), -127.0f, 127.0f);
    const auto scale = static_cast<int>(std::lrintf(steps));
    block.group_scale[g] = static_cast<uint8_t>(static_cast<int8_t>(scale));
    const float to_value = inverse(super * static_cast<float>(scale));
    for (int k = group * g; k < group * (g + 1); ++k) block.codes[k] = book.code(x[k] * to_value);
  }
}

void quantize_exponent(const float* x, int columns, const NearestCode& book, DecodedBlock& block) {
  const float peak = std::fabs(extreme(x, columns));
  std::fill(block.codes, block.codes + columns, book.code(0.0f));
  block.scale = 0;
  if (peak < 0x1p-120f) return;
  if (!std::isfinite(peak)) {
    block.scale = 255;
    return;
  }
  const int middle = std::ilogb(peak / book.lowest()) + 128;
  double least = HUGE_VAL;
  for (int exponent = std::max(1, middle); exponent <= std::min(254, middle + 1); ++exponent) {
    const float scale = std::ldexp(1.0f, exponent - 128);
    double error = 0.0;
    for (int k = 0; k < columns; ++k) {
      const double difference = x[k] - static_cast<double>(book.value(x[k] / scale)) * scale;
      error += difference * difference;
    }
    if (error < least) {
      least = error;
      block.scale = static_cast<uint16_t>(exponent);
    }
  }
  const float scale = std::ldexp(1.0f, block.scale - 128);
  for (int k = 0; k < columns; ++k) block.codes[k] = book.code(x[k] / scale);
}

void quantize_fp8_scales(const float* x, const NearestCode& book, DecodedBlock& block) {
  const float highest = -book.lowest() / 2;
  block.wide_scale = std::fabs(extreme(x, 256)) / (448.0f * highest);
  for (int g = 0; g < 16; ++g) {
    const float peak = std::fabs(extreme(x + 16 * g, 16));
    block.group_scale[g] = float_to_fp8(peak / highest * inverse(block.wide_scale));
    const float to_value = inverse(0.5f * block.wide_scale * fp8_to_float(block.group_scale[g]));
    for (int k = 16 * g; k < 16 * g + 16; ++k) block.codes[k] = book.code(x[k] * to_value);
  }
}

}  // namespace ftllm
