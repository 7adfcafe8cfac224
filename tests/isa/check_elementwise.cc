#include <algorithm>
#include <cmath>
#include <limits>

#include "checks.h"
#include "guarded_buffer.h"

namespace ftllm::checks {
namespace {

constexpr int64_t kCounts[] = {1, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100};

// Values of every size that a model's activations may have, then the ones that are special.
std::vector<float> wide_values(int64_t count, uint32_t seed) {
  std::vector<float> values = normal_values(count, seed);
  for (int64_t i = 0; i < count; ++i) values[i] *= std::exp2f(static_cast<float>(i % 13 - 6));
  const float infinity = std::numeric_limits<float>::infinity();
  const float specials[] = {std::numeric_limits<float>::quiet_NaN(),
                            infinity,
                            -infinity,
                            0.0f,
                            -0.0f,
                            88.0f,
                            -88.0f,
                            1e-40f};
  const int64_t first = std::max<int64_t>(1, count - 9);
  for (int64_t i = first; i < count; ++i) values[i] = specials[(i - first) % 8];
  return values;
}

// y of `run` on copies of a and b (and of a as the old y) that end at a guard page.
template <class Run>
std::vector<float> guarded(const std::vector<float>& a, const std::vector<float>& b,
                           const Run& run) {
  const size_t bytes = a.size() * sizeof(float);
  const GuardedBuffer first(bytes);
  const GuardedBuffer second(b.size() * sizeof(float));
  const GuardedBuffer result(bytes);
  std::memcpy(first.bytes(), a.data(), bytes);
  std::memcpy(second.bytes(), b.data(), b.size() * sizeof(float));
  std::memcpy(result.bytes(), a.data(), bytes);
  run(first.floats(), second.floats(), result.floats());
  return {result.floats(), result.floats() + a.size()};
}

// Runs one entry with both tables; `tolerance` is relative to the larger of 1 and the value.
template <class Run>
void compare(const Tables& tables, const std::vector<float>& a, const std::vector<float>& b,
             double tolerance, const std::string& what, const Run& run, Report& report) {
  const auto with = [&](const KernelTable& table) {
    return guarded(a, b, [&](const float* x, const float* w, float* y) { run(table, x, w, y); });
  };
  const std::vector<float> expected = with(tables.scalar);
  const std::vector<float> found = with(tables.tested);
  std::vector<double> bounds;
  for (const float value : expected) {
    bounds.push_back(std::isfinite(value) ? tolerance * std::max(1.0, std::fabs(double{value}))
                                          : 0.0);
  }
  report.expect_close(found.data(), expected.data(), bounds.data(), static_cast<int64_t>(a.size()),
                      what + " of " + std::to_string(a.size()));
}

void check_maps(const Tables& tables, int64_t count, Report& report) {
  const std::vector<float> a = wide_values(count, 1);
  const std::vector<float> b = normal_values(count, 2);
  const auto map = [&](const char* what, double tolerance, const auto& run) {
    compare(tables, a, b, tolerance, what, run, report);
  };
  using T = const KernelTable&;
  map("add", 0, [&](T t, auto* x, auto* z, float* y) { t.add(x, z, count, y); });
  map("scale", 0, [&](T t, auto* x, auto*, float* y) { t.scale(x, 0.3f, count, y); });
  map("silu_mul", 1e-6, [&](T t, auto* x, auto* z, float* y) { t.silu_mul(x, z, count, y); });
  map("gelu_mul", 1e-6, [&](T t, auto* x, auto* z, float* y) { t.gelu_mul(x, z, count, y); });
  map("gelu", 1e-6, [&](T t, auto* x, auto*, float* y) { t.gelu(x, count, y); });
  map("scaled_add", 1e-6, [&](T t, auto* x, auto*, float* y) { t.scaled_add(x, -1.7f, count, y); });
  map("soft_cap", 2e-6, [&](T t, auto* x, auto*, float* y) { t.soft_cap(x, 2.0f, count, y); });
}

}  // namespace

void check_elementwise(const Tables& tables, Report& report) {
  for (const int64_t count : kCounts) {
    check_maps(tables, count, report);
    const std::vector<float> x = normal_values(count, 3);
    const std::vector<float> weight = normal_values(count, 4);
    compare(
        tables, x, weight, 1e-6, "rms_norm",
        [&](const KernelTable& t, const float* a, const float* w, float* y) {
          t.rms_norm(a, w, 1e-6f, count, y);
        },
        report);
    compare(
        tables, x, weight, 1e-6, "layer_norm",
        [&](const KernelTable& t, const float* a, const float* w, float* y) {
          t.layer_norm(a, w, w, 1e-6f, count, y);
        },
        report);
    // cos in the first half of the second operand, sin in the other.
    compare(
        tables, normal_values(2 * count, 5), normal_values(2 * count, 6), 1e-6, "rotate_half",
        [&](const KernelTable& t, const float*, const float* angles, float* y) {
          t.rotate_half(angles, angles + count, count, y);
        },
        report);
  }
}

}  // namespace ftllm::checks
