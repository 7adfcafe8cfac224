#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

namespace ftllm {

// A fixed team of threads for data-parallel loops; the caller works as thread 0.
//
// Workers spin for a short while after a loop, so that the next one starts within a microsecond,
// and then sleep: an idle pool uses no CPU. One loop runs at a time; loops do not nest.
//
// A loop ends when its items are done, not when its workers have come by: on a machine that others
// use too, a worker that does not get its core takes no item, and nobody waits for it.
class ThreadPool {
 public:
  // With `cpus`, worker t runs on processor cpus[t] only (as far as the system lets it), and
  // cpus[0] is left for the caller, which is not tied down: what it starts later would inherit it.
  explicit ThreadPool(int threads, std::span<const int> cpus = {});
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(item, thread) once for every item in [0, items), items handed out in order to
  // whichever thread is free. Returns when all are done. `body` must not throw.
  template <class Body>
  void parallel_for(int64_t items, const Body& body) {
    if (items <= 0) return;
    if (items == 1 || workers_.empty()) {
      for (int64_t i = 0; i < items; ++i) body(i, 0);
      return;
    }
    run(
        items,
        [](const void* context, int64_t item, int thread) {
          (*static_cast<const Body*>(context))(item, thread);
        },
        &body);
  }

 private:
  using Invoke = void (*)(const void* context, int64_t item, int thread);

  void run(int64_t items, Invoke invoke, const void* context);
  void work(int thread, int cpu);
  int64_t drain(int thread);
  bool wait_for_loop(uint32_t& seen);

  std::vector<std::thread> workers_;
  Invoke invoke_ = nullptr;
  const void* context_ = nullptr;
  // The number of items in the upper half and the next one in the lower: whoever takes an item
  // learns in the same instruction whether the loop still has it.
  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<uint32_t> loop_{0};  // counts loops; the workers' signal to start
  alignas(64) std::atomic<int64_t> done_{0};   // items of the current loop that are finished
  std::atomic<int> asleep_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace ftllm
