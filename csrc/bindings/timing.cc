#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "bindings/bindings.h"
#include "graph/linear_loop.h"
#include "kernels/activations.h"
#include "kernels/table.h"

namespace py = pybind11;

namespace ftllm {
namespace {

using Clock = std::chrono::steady_clock;
using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Limit = int64_t (*)(int64_t rounds, float* sink) noexcept;
using Weights = std::vector<std::shared_ptr<Weight>>;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Limit find_limit(const std::string& kind) {
  const KernelTable& table = kernel_table();
  if (kind == "float32") return table.float_limit;
  if (kind == "int8") return table.int8_limit;
  if (kind == "int4") return table.int4_limit;
  throw std::invalid_argument("kind is '" + kind + "'; it must be float32, int8 or int4");
}

// Operations a second of all threads together, measured for about `seconds`.
double arithmetic_rate(const std::string& kind, ThreadPool& pool, double seconds) {
  const Limit limit = find_limit(kind);
  if (!(seconds > 0 && seconds <= 60)) throw std::invalid_argument("seconds must be in (0, 60]");
  const py::gil_scoped_release release;
  // One item for each thread: an item lasts as long as the measurement.
  const auto run = [&](int64_t rounds) {
    std::vector<int64_t> operations(static_cast<size_t>(pool.size()));
    const Clock::time_point start = Clock::now();
    pool.parallel_for(pool.size(), [&](int64_t item, int) {
      float sink[kLimitSink];
      operations[static_cast<size_t>(item)] = limit(rounds, sink);
    });
    const double elapsed = seconds_since(start);
    int64_t total = 0;
    for (const int64_t count : operations) total += count;
    return std::make_pair(elapsed, static_cast<double>(total));
  };
  int64_t rounds = 1024;
  while (run(rounds).first < seconds / 8) rounds *= 2;
  const auto [elapsed, operations] = run(8 * rounds);
  return operations / elapsed;
}

// Seconds to read all bytes of the weights once, on all threads.
double read_seconds(const Weights& weights, ThreadPool& pool) {
  constexpr int64_t kItemBytes = 1 << 20;
  const py::gil_scoped_release release;
  const Clock::time_point start = Clock::now();
  for (const std::shared_ptr<Weight>& weight : weights) {
    const auto bytes = static_cast<int64_t>(weight->bytes());
    pool.parallel_for((bytes + kItemBytes - 1) / kItemBytes, [&](int64_t item, int) {
      float sink[kLimitSink];
      const int64_t begin = item * kItemBytes;
      kernel_table().read_limit(weight->panel(0, 0) + begin, std::min(kItemBytes, bytes - begin),
                                sink);
    });
  }
  return seconds_since(start);
}

// Seconds of one product with each weight, one after the other: as a step runs them, with
// activations quantized anew for each.
double linear_seconds(const Weights& weights, const Floats& x, ThreadPool& pool) {
  if (x.ndim() != 2 || x.size() == 0) throw std::invalid_argument("x must be (M, K)");
  const int64_t rows = x.shape(0);
  int64_t width = 0;
  for (const std::shared_ptr<Weight>& weight : weights) {
    if (weight->columns() != x.shape(1)) throw std::invalid_argument("x must be (M, K)");
    width = std::max(width, weight->rows());
  }
  const KernelTable& kernels = kernel_table();
  std::vector<float> y(static_cast<size_t>(rows * width));
  std::vector<uint8_t> tiles(static_cast<size_t>(activation_tile_bytes(x.shape(1), rows)));
  const int64_t scratch_bytes = linear_scratch_bytes(kernels, x.shape(1));
  std::vector<uint8_t> scratch(static_cast<size_t>(scratch_bytes * pool.size()));
  const int64_t chunk = kernels.tile_rows;
  const py::gil_scoped_release release;
  const Clock::time_point start = Clock::now();
  for (const std::shared_ptr<Weight>& weight : weights) {
    if (weight->is_block()) {
      pool.parallel_for((rows + chunk - 1) / chunk, [&](int64_t item, int) {
        kernels.quantize_rows(x.data(), weight->columns(), weight->columns(), item * chunk,
                              std::min(rows, (item + 1) * chunk), rows, tiles.data());
      });
    }
    const auto items = [&](int group) { return LinearItems(*weight, rows, kernels, pool, group); };
    int64_t counts[ThreadPool::kMaxGroups];
    for (int g = 0; g < pool.groups(); ++g) counts[g] = items(g).count();
    pool.parallel_for_groups(counts, [&](int group, int64_t item, int thread) {
      run_linear_item(items(group), item, *weight, 0, rows, x.data(), tiles.data(), nullptr,
                      y.data(), scratch.data() + thread * scratch_bytes, kernels);
    });
  }
  return seconds_since(start);
}

// Seconds of one parallel_for of `items` items that do nothing: the mean of `loops` of them.
double barrier_seconds(ThreadPool& pool, int64_t items, int64_t loops) {
  if (items < 1 || loops < 1) throw std::invalid_argument("items and loops must be at least 1");
  const py::gil_scoped_release release;
  const Clock::time_point start = Clock::now();
  for (int64_t loop = 0; loop < loops; ++loop) pool.parallel_for(items, [](int64_t, int) {});
  return seconds_since(start) / static_cast<double>(loops);
}

}  // namespace

void bind_timing(py::module_& module) {
  py::module_ m = module.def_submodule("timing", "Kernels and the machine's limits, timed.");
  m.def("arithmetic_rate", &arithmetic_rate, py::kw_only(), py::arg("kind"), py::arg("pool"),
        py::arg("seconds"));
  m.def("read_seconds", &read_seconds, py::kw_only(), py::arg("weights"), py::arg("pool"));
  m.def("linear_seconds", &linear_seconds, py::kw_only(), py::arg("weights"), py::arg("x"),
        py::arg("pool"));
  m.def("barrier_seconds", &barrier_seconds, py::kw_only(), py::arg("pool"), py::arg("items"),
        py::arg("loops"));
}

}  // namespace ftllm
