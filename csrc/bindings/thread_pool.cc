#include "base/thread_pool.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "bindings/bindings.h"

namespace py = pybind11;

namespace ftllm {
namespace {

std::shared_ptr<ThreadPool> make_pool(int threads, const std::vector<std::vector<int>>& cpus,
                                      const std::vector<int>& groups) {
  if (threads < 1 || threads > 1024) {
    throw Error(Error::Kind::kOption,
                "threads is " + std::to_string(threads) + "; it must be from 1 to 1024");
  }
  bool ascending = groups.empty() || (groups.size() == static_cast<size_t>(threads) &&
                                      groups[0] == 0 && groups.back() < ThreadPool::kMaxGroups);
  for (size_t t = 1; ascending && t < groups.size(); ++t) {
    ascending = groups[t] == groups[t - 1] || groups[t] == groups[t - 1] + 1;
  }
  if (!ascending) {
    throw Error(Error::Kind::kOption, "groups must name the group of each of the " +
                                          std::to_string(threads) +
                                          " threads, ascending from 0 without a gap, at most " +
                                          std::to_string(ThreadPool::kMaxGroups) + " of them");
  }
  return std::make_shared<ThreadPool>(threads, cpus, groups);
}

py::tuple share(const ThreadPool& pool, int64_t count, int group) {
  if (group < 0 || group >= pool.groups()) {
    throw py::index_error("group " + std::to_string(group) + " of " +
                          std::to_string(pool.groups()));
  }
  return py::make_tuple(pool.share(count, group), pool.share(count, group + 1));
}

std::vector<std::vector<int>> item_threads(ThreadPool& pool, const std::vector<int64_t>& items,
                                           int64_t together, bool help) {
  const int64_t total = std::accumulate(items.begin(), items.end(), int64_t{0});
  if (items.size() != static_cast<size_t>(pool.groups()) ||
      *std::min_element(items.begin(), items.end()) < 0 || total > 1 << 20) {
    throw std::invalid_argument("items must be a count for each group");
  }
  if (together > std::min<int64_t>(pool.size(), total)) {
    throw std::invalid_argument("more items cannot run together than there are items and threads");
  }
  std::vector<std::vector<int>> threads;
  for (const int64_t count : items) threads.emplace_back(count, -1);
  std::atomic<int64_t> begun{0};
  const py::gil_scoped_release release;
  pool.parallel_for_groups(
      items,
      [&](int group, int64_t item, int thread) {
        threads[static_cast<size_t>(group)][static_cast<size_t>(item)] = thread;
        begun.fetch_add(1);
        while (begun.load() < together) std::this_thread::yield();
      },
      help ? ThreadPool::Help::kYes : ThreadPool::Help::kNo);
  return threads;
}

}  // namespace

void bind_thread_pool(py::module_& module) {
  py::class_<ThreadPool, std::shared_ptr<ThreadPool>>(module, "ThreadPool")
      .def(py::init(&make_pool), py::arg("threads"),
           py::arg("cpus") = std::vector<std::vector<int>>(),
           py::arg("groups") = std::vector<int>())
      .def_property_readonly("size", &ThreadPool::size)
      .def_property_readonly("groups", &ThreadPool::groups)
      .def("share", &share, py::arg("count"), py::arg("group"));
  module.def("item_threads", &item_threads, py::kw_only(), py::arg("pool"), py::arg("items"),
             py::arg("together"), py::arg("help"));
}

}  // namespace ftllm
