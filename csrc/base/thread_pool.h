#pragma once

#include <atomic>
#include <cstdint>
#include <numeric>
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
//
// The team may be cut into groups, one for each NUMA node: then a loop can say which group each
// item belongs to. Which thread does an item changes nothing in its result.
class ThreadPool {
 public:
  static constexpr int kMaxGroups = 64;

  // Whether a group that has run out of items takes those of others. Without help a loop waits for
  // each group's own threads, and the caller is tied to its processors as long: for what must be
  // done there, such as touching memory first.
  enum class Help { kYes, kNo };

  // With `cpus`, worker t runs on the processors cpus[t] only (as far as the system lets it), and
  // cpus[0] is left for the caller, which is not tied down: what it starts later would inherit it.
  // `groups`: the group of each thread, from 0 on, ascending without a gap; empty: all one group.
  explicit ThreadPool(int threads, std::span<const std::vector<int>> cpus = {},
                      std::span<const int> groups = {});
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }
  int groups() const { return static_cast<int>(first_thread_.size()) - 1; }
  int group_of(int thread) const;

  // Of `count` things, group g owns those in [share(count, g), share(count, g + 1)): a run as long
  // as the group has threads.
  int64_t share(int64_t count, int group) const {
    if (tickets_.size() == 1) return group == 0 ? 0 : count;
    return count * first_thread_[static_cast<size_t>(group)] / size();
  }

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
        {&items, 1},
        [](const void* context, int, int64_t item, int thread) {
          (*static_cast<const Body*>(context))(item, thread);
        },
        &body, Help::kYes);
  }

  // Calls body(group, item, thread) once for every item in [0, items[group]) of every group, items
  // going to threads of their group first. `items` has groups() entries at least.
  template <class Body>
  void parallel_for_groups(std::span<const int64_t> items, const Body& body,
                           Help help = Help::kYes) {
    if (groups() == 1) {
      parallel_for(items[0], [&](int64_t item, int thread) { body(0, item, thread); });
      return;
    }
    items = items.first(tickets_.size());
    if (std::accumulate(items.begin(), items.end(), int64_t{0}) == 0) return;
    run(
        items,
        [](const void* context, int group, int64_t item, int thread) {
          (*static_cast<const Body*>(context))(group, item, thread);
        },
        &body, help);
  }

 private:
  using Invoke = void (*)(const void* context, int group, int64_t item, int thread);

  // The number of items in the upper half and the next one in the lower: whoever takes an item
  // learns in the same instruction whether the loop still has it. The highest bit: without help.
  struct alignas(64) Ticket {
    std::atomic<uint64_t> value{0};
  };

  void run(std::span<const int64_t> items, Invoke invoke, const void* context, Help help);
  void work(int thread, const std::vector<int>& cpus);
  int64_t drain(int group, int thread);
  int64_t assist(int group, int thread);
  int64_t drain_all(int group, int thread);
  int64_t drain_tied();
  int caller_group() const;
  bool wait_for_loop(uint32_t& seen);

  std::vector<int> first_thread_;   // of each group, and size() at the end
  std::vector<int> caller_cpus_;    // where the caller is tied to while nobody helps
  std::vector<int8_t> cpu_groups_;  // the group whose threads are tied to a processor, or -1
  std::vector<Ticket> tickets_;     // one for each group
  std::vector<std::thread> workers_;
  Invoke invoke_ = nullptr;
  const void* context_ = nullptr;
  alignas(64) std::atomic<uint32_t> loop_{0};  // counts loops; the workers' signal to start
  alignas(64) std::atomic<int64_t> done_{0};   // items of the current loop that are finished
  std::atomic<int> asleep_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace ftllm
