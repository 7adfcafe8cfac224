#include <cmath>
#include <cstdio>

#include "checks.h"
#include "isa/tables.h"

// Checks the table that FTLLM_TESTED_TABLE names against the scalar one. Prints the number of
// comparisons; the exit status is 1 if one failed.
namespace ftllm::checks {

void Report::expect(bool holds, const std::string& what) {
  constexpr int64_t kPrinted = 20;
  ++count_;
  if (holds) return;
  if (++failed_ <= kPrinted) std::fprintf(stderr, "  %s\n", what.c_str());
}

void Report::expect_close(const float* found, const float* expected, const double* bounds,
                          int64_t count, const std::string& what) {
  for (int64_t i = 0; i < count; ++i) {
    const bool same = found[i] == expected[i] || (std::isnan(found[i]) && std::isnan(expected[i]));
    const double difference = std::fabs(static_cast<double>(found[i]) - expected[i]);
    if (!same && !(difference <= bounds[i])) {
      expect(false, what + ": [" + std::to_string(i) + "] is " + std::to_string(found[i]) +
                        ", not " + std::to_string(expected[i]) + " ± " + std::to_string(bounds[i]));
      return;
    }
  }
  expect(true, what);
}

void Report::expect_close(const float* found, const float* expected, double bound, int64_t count,
                          const std::string& what) {
  const std::vector<double> bounds(static_cast<size_t>(count), bound);
  expect_close(found, expected, bounds.data(), count, what);
}

// The benchmarks' loops: they count what they do and stay within their operands.
void check_limits(const KernelTable& tested, Report& report) {
  float sink[kLimitSink] = {};
  for (const auto limit : {tested.float_limit, tested.int8_limit, tested.int4_limit}) {
    const int64_t once = limit(3, sink);
    report.expect(once > 0 && limit(6, sink) == 2 * once, "operations are not counted");
  }
  const std::vector<uint8_t> data(4096, 1);
  tested.read_limit(data.data(), static_cast<int64_t>(data.size()), sink);
  report.expect(sink[0] == static_cast<float>(0x01010101), "read_limit did not read");
}

}  // namespace ftllm::checks

int main() {
  using namespace ftllm::checks;
  const Tables tables = {ftllm::kScalarTable, ftllm::FTLLM_TESTED_TABLE};
  Report report;
  check_activations(tables, report);
  check_linear(tables, report);
  check_elementwise(tables, report);
  check_attention(tables, report);
  check_limits(tables.tested, report);
  std::printf("%lld checks, %lld failed\n", static_cast<long long>(report.count()),
              static_cast<long long>(report.failed()));
  return report.failed() == 0 ? 0 : 1;
}
