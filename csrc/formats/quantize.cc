#include "formats/quantize.h"

#include <algorithm>
#include <cmath>

#include "base/half.h"

namespace ftllm {
namespace {

constexpr int kLanes = 8;  // sums run in lanes, which compilers turn into vectors
constexpr int kMaxColumns = 256;

uint8_t clamp_code(float value, int top) {
  return static_cast<uint8_t>(std::clamp(static_cast<int>(std::lrintf(value)), 0, top));
}

float inverse(float x) { return x == 0.0f ? 0.0f : 1.0f / x; }

// To nearest even, for |x| < 2^22.
float round_small(float x) { return (x + 12582912.0f) - 12582912.0f; }

// NaN becomes `low`.
float clamp_float(float x, float low, float high) {
  x = x > low ? x : low;
  return x < high ? x : high;
}

// The value of largest magnitude, with its sign.
float extreme(const float* x, int columns) {
  return *std::max_element(x, x + columns,
                           [](float a, float b) { return std::fabs(a) < std::fabs(b); });
}

struct Sum {
  float lanes[kLanes] = {};
  double total() const {
    double sum = 0.0;
    for (const float lane : lanes) sum += lane;
    return sum;
  }
};

// Weights of the least squares: what a large value contributes matters more than what a small one
// does, and none is free. Returns false for x without a finite sum of squares, or all zero.
bool importance(const float* x, int columns, float* weights) {
  double squares = 0.0;
  for (int k = 0; k < columns; ++k) squares += static_cast<double>(x[k]) * x[k];
  const auto rms = static_cast<float>(std::sqrt(squares / columns));
  for (int k = 0; k < columns; ++k) weights[k] = rms + std::fabs(x[k]);
  return rms > 0x1p-60f && rms < 0x1p60f;
}

// The scale s of least Σ w (x − s · v)² where v = nearest(x / s'), over several s' around
// extreme(x) / lowest.
template <class Nearest>
float fit_scale(const float* x, int columns, float lowest, const Nearest& nearest) {
  const float peak = extreme(x, columns);
  float weights[kMaxColumns];
  if (!importance(x, columns, weights)) return peak / lowest;
  float best_scale = peak / lowest;
  double best = -1.0;
  for (int step = -8; step <= 8; ++step) {
    const float to_value = lowest * (1.0f + 0.025f * static_cast<float>(step)) / peak;
    Sum wxv;
    Sum wvv;
    for (int k = 0; k < columns; k += kLanes) {
      for (int i = 0; i < kLanes; ++i) {
        const float v = nearest(x[k + i] * to_value);
        wxv.lanes[i] += weights[k + i] * x[k + i] * v;
        wvv.lanes[i] += weights[k + i] * v * v;
      }
    }
    const double product = wxv.total();
    const double squares = wvv.total();
    if (squares > 0.0 && product * product > best * squares) {
      best = product * product / squares;
      best_scale = static_cast<float>(product / squares);
    }
  }
  return best_scale;
}

float fit_signed(const float* x, int columns, int offset) {
  const auto low = static_cast<float>(-offset);
  const auto high = static_cast<float>(offset - 1);
  return fit_scale(x, columns, low,
                   [=](float v) { return round_small(clamp_float(v, low, high)); });
}

struct Affine {
  float scale;
  float min;
};

// The scale and min of least Σ w (x − scale · l − min)² where l are the codes of several ranges
// around that of x. With `below_zero`, min is not above zero and the range includes it.
Affine fit_affine(const float* x, int columns, int top, bool below_zero) {
  const auto [low_at, high_at] = std::minmax_element(x, x + columns);
  const float low = below_zero ? std::min(*low_at, 0.0f) : *low_at;
  const float range = *high_at - low;
  Affine best{range / static_cast<float>(top), low};
  float weights[kMaxColumns];
  if (!importance(x, columns, weights) || !(range > 0.0f)) return best;
  // In units of the range above its low end, so that nothing cancels.
  float y[kMaxColumns];
  Sum sum_w;
  Sum sum_wy;
  Sum sum_wyy;
  for (int k = 0; k < columns; k += kLanes) {
    for (int i = 0; i < kLanes; ++i) {
      const float w = weights[k + i];
      y[k + i] = (x[k + i] - low) / range;
      sum_w.lanes[i] += w;
      sum_wy.lanes[i] += w * y[k + i];
      sum_wyy.lanes[i] += w * y[k + i] * y[k + i];
    }
  }
  const double w = sum_w.total();
  const double wy = sum_wy.total();
  const double wyy = sum_wyy.total();
  const double zero = -static_cast<double>(low) / range;  // where x = 0 lies
  double least = HUGE_VAL;
  for (int step = -6; step <= 6; ++step) {
    const float to_code = static_cast<float>(top) + 0.15f * static_cast<float>(step);
    Sum sum_wl;
    Sum sum_wll;
    Sum sum_wyl;
    for (int k = 0; k < columns; k += kLanes) {
      for (int i = 0; i < kLanes; ++i) {
        const float code =
            round_small(clamp_float(y[k + i] * to_code, 0.0f, static_cast<float>(top)));
        sum_wl.lanes[i] += weights[k + i] * code;
        sum_wll.lanes[i] += weights[k + i] * code * code;
        sum_wyl.lanes[i] += weights[k + i] * code * y[k + i];
      }
    }
    const double wl = sum_wl.total();
    const double wll = sum_wll.total();
    const double wyl = sum_wyl.total();
    const double determinant = w * wll - wl * wl;
    if (!(determinant > 0.0)) continue;
    double scale = (w * wyl - wy * wl) / determinant;
    double min = (wy - scale * wl) / w;
    if (below_zero && min > zero) {
      min = zero;
      scale = (wyl - min * wl) / wll;
    }
    const double error = wyy - 2 * scale * wyl - 2 * min * wy + scale * scale * wll +
                         2 * scale * min * wl + min * min * w;
    if (error < least && scale > 0.0) {
      least = error;
      best = {static_cast<float>(scale * range), static_cast<float>(min * range + low)};
    }
  }
  return best;
}

}  // namespace

void quantize_symmetric(const float* x, int columns, int limit, int offset, DecodedBlock& block) {
  block.scale = float_to_half(std::fabs(extreme(x, columns)) / static_cast<float>(limit));
  const float to_code = inverse(half_to_float(block.scale));
  for (int k = 0; k < columns; ++k) {
    const float code =
        std::clamp(x[k] * to_code, -static_cast<float>(limit), static_cast<float>(limit));
    block.codes[k] = clamp_code(code + static_cast<float>(offset), 255);
  }
}

void quantize_signed(const float* x, int columns, int offset, DecodedBlock& block) {
  block.scale = float_to_half(fit_signed(x, columns, offset));
  const float to_code = inverse(half_to_float(block.scale));
  for (int k = 0; k < columns; ++k) {
    block.codes[k] = clamp_code(x[k] * to_code + static_cast<float>(offset), 2 * offset - 1);
  }
}

void quantize_affine(const float* x, int columns, int top, DecodedBlock& block) {
  const Affine fit = fit_affine(x, columns, top, false);
  block.scale = float_to_half(fit.scale);
  block.min = float_to_half(fit.min);
  const float min = half_to_float(block.min);
  const float to_code = inverse(half_to_float(block.scale));
  for (int k = 0; k < columns; ++k) block.codes[k] = clamp_code((x[k] - min) * to_code, top);
}

void quantize_zero_point(const float* x, int columns, DecodedBlock& block) {
  const auto [low, high] = std::minmax_element(x, x + columns);
  const float bottom = std::min(*low, 0.0f);
  block.scale = float_to_half((std::max(*high, 0.0f) - bottom) / 15.0f);
  const float to_code = inverse(half_to_float(block.scale));
  block.min = clamp_code(-bottom * to_code, 15);
  for (int k = 0; k < columns; ++k) {
    block.codes[k] = clamp_code(x[k] * to_code + static_cast<float>(block.min), 15);
  }
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
    for (int k = group * g; k < group * (g + 1); ++k) {
      block.codes[k] = clamp_code((x[k] + min) * to_code, top);
    }
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
    for (int k = 16 * g; k < 16 * g + 16; ++k) {
      block.codes[k] = clamp_code(x[k] * to_code + static_cast<float>(offset), 2 * offset - 1);
    }
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
}

uint8_t NearestCode::code(float value) const {
  // Borders between codes are multiples of a half.
  return nearest_[static_cast<int>(clamp_float(value, -128.0f, 128.0f) * 2.0f + 256.0f)];
}

void quantize_codebook(const float* x, int columns, const NearestCode& book, DecodedBlock& block) {
  block.scale =
      float_to_half(fit_scale(x, columns, book.lowest(), [&](float v) { return book.value(v); }));
  const float to_value = inverse(half_to_float(block.scale));
  for (int k = 0; k < columns; ++k) block.codes[k] = book.code(x[k] * to_value);
}

void quantize_codebook_two_level(const float* x, int group, const NearestCode& book, bool positive,
                                 float factor, DecodedBlock& block) {
  const int groups = 256 / group;
  float scales[16];
  for (int g = 0; g < groups; ++g) {
    scales[g] =
        fit_scale(x + group * g, group, book.lowest(), [&](float v) { return book.value(v); });
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
