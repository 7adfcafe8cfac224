#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/table.h"

// Compares the kernels of one instruction set with the scalar ones, entry by entry.
namespace ftllm::checks {

constexpr double kEps = 0x1p-24;  // of one rounding in float32

// Counts comparisons and prints the first failures.
class Report {
 public:
  void expect(bool holds, const std::string& what);
  // |found − expected| ≤ bound in each place; NaN and infinities must be the same.
  void expect_close(const float* found, const float* expected, const double* bounds, int64_t count,
                    const std::string& what);
  // The same bound in all places.
  void expect_close(const float* found, const float* expected, double bound, int64_t count,
                    const std::string& what);
  void expect_same(const void* found, const void* expected, size_t bytes, const std::string& what) {
    expect(std::memcmp(found, expected, bytes) == 0, what + ": the bits differ");
  }

  int64_t count() const { return count_; }
  int64_t failed() const { return failed_; }

 private:
  int64_t count_ = 0;
  int64_t failed_ = 0;
};

inline std::vector<float> normal_values(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

struct Tables {
  const KernelTable& scalar;
  const KernelTable& tested;
};

void check_activations(const Tables& tables, Report& report);
void check_linear(const Tables& tables, Report& report);
void check_elementwise(const Tables& tables, Report& report);
void check_attention(const Tables& tables, Report& report);
void check_limits(const KernelTable& tested, Report& report);

}  // namespace ftllm::checks
