#include "formats/quantize.h"

#include <algorithm>
#include <cmath>

#include "base/half.h"

namespace ftllm {
namespace {

uint8_t clamp_code(float value, int top) {
  return static_cast<uint8_t>(std::clamp(static_cast<int>(std::lrintf(value)), 0, top));
}

float inverse(float x) { return x == 0.0f ? 0.0f : 1.0f / x; }

// The value of largest magnitude, with its sign.
float extreme(const float* x, int columns) {
  return *std::max_element(x, x + columns,
                           [](float a, float b) { return std::fabs(a) < std::fabs(b); });
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

void quantize_extreme(const float* x, int columns, int offset, DecodedBlock& block) {
  block.scale = float_to_half(extreme(x, columns) / static_cast<float>(-offset));
  const float to_code = inverse(half_to_float(block.scale));
  for (int k = 0; k < columns; ++k) {
    block.codes[k] = clamp_code(x[k] * to_code + static_cast<float>(offset), 2 * offset - 1);
  }
}

void quantize_affine(const float* x, int columns, int top, DecodedBlock& block) {
  const auto [low, high] = std::minmax_element(x, x + columns);
  block.min = float_to_half(*low);
  const float min = half_to_float(block.min);
  block.scale = float_to_half((*high - min) / static_cast<float>(top));
  const float to_code = inverse(half_to_float(block.scale));
  for (int k = 0; k < columns; ++k) block.codes[k] = clamp_code((x[k] - min) * to_code, top);
}

void quantize_affine_two_level(const float* x, int top, DecodedBlock& block) {
  float scales[8];
  float mins[8];
  for (int g = 0; g < 8; ++g) {
    const auto [low, high] = std::minmax_element(x + 32 * g, x + 32 * g + 32);
    mins[g] = std::max(0.0f, -*low);
    scales[g] = std::max(0.0f, *high + mins[g]) / static_cast<float>(top);
  }
  block.scale = float_to_half(*std::max_element(scales, scales + 8) / 63.0f);
  block.min = float_to_half(*std::max_element(mins, mins + 8) / 63.0f);
  const float super_scale = half_to_float(block.scale);
  const float super_min = half_to_float(block.min);
  for (int g = 0; g < 8; ++g) {
    block.group_scale[g] = clamp_code(scales[g] * inverse(super_scale), 63);
    block.group_min[g] = clamp_code(mins[g] * inverse(super_min), 63);
    const float to_code = inverse(super_scale * block.group_scale[g]);
    const float min = super_min * block.group_min[g];
    for (int k = 32 * g; k < 32 * g + 32; ++k) {
      block.codes[k] = clamp_code((x[k] + min) * to_code, top);
    }
  }
}

void quantize_symmetric_two_level(const float* x, int offset, DecodedBlock& block) {
  float scales[16];
  for (int g = 0; g < 16; ++g) scales[g] = extreme(x + 16 * g, 16) / static_cast<float>(-offset);
  block.scale = float_to_half(std::fabs(extreme(scales, 16)) / 127.0f);
  const float super = half_to_float(block.scale);
  for (int g = 0; g < 16; ++g) {
    const int scale =
        std::clamp(static_cast<int>(std::lrintf(scales[g] * inverse(super))), -127, 127);
    block.group_scale[g] = static_cast<uint8_t>(static_cast<int8_t>(scale));
    const float to_code = inverse(super * static_cast<float>(scale));
    for (int k = 16 * g; k < 16 * g + 16; ++k) {
      block.codes[k] = clamp_code(x[k] * to_code + static_cast<float>(offset), 2 * offset - 1);
    }
  }
}

}  // namespace ftllm
