#include "base/thread_pool.h"

#include <algorithm>
#include <chrono>

#if defined(__linux__)
#include <sched.h>
#endif

namespace ftllm {
namespace {

constexpr int kSpinsPerClockRead = 64;
constexpr std::chrono::microseconds kSpinTime{200};
constexpr uint64_t kAlone = uint64_t{1} << 63;  // in a ticket: other groups leave its items

void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Processors that this process may not use, or that are gone, leave the thread where it is.
void run_on(const std::vector<int>& cpus) {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) {
    if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(cpu, &set);
  }
  if (CPU_COUNT(&set) > 0) sched_setaffinity(0, sizeof set, &set);
#endif
}

int current_cpu() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

std::vector<int> first_threads(int threads, std::span<const int> groups) {
  std::vector<int> first{0};
  for (int t = 1; t < static_cast<int>(groups.size()) && t < threads; ++t) {
    if (groups[static_cast<size_t>(t)] != groups[static_cast<size_t>(t) - 1]) first.push_back(t);
  }
  first.push_back(threads);
  return first;
}

}  // namespace

ThreadPool::ThreadPool(int threads, std::span<const std::vector<int>> cpus,
                       std::span<const int> groups)
    : first_thread_(first_threads(threads, groups)), tickets_(first_thread_.size() - 1) {
  if (tickets_.size() > 1) {
    if (!cpus.empty()) caller_cpus_ = cpus[0];
    for (int t = 0; t < threads && static_cast<size_t>(t) < cpus.size(); ++t) {
      for (const int cpu : cpus[static_cast<size_t>(t)]) {
        if (cpu < 0) continue;
        const auto place = static_cast<size_t>(cpu);
        if (place >= cpu_groups_.size()) cpu_groups_.resize(place + 1, -1);
        cpu_groups_[place] = static_cast<int8_t>(group_of(t));
      }
    }
  }
  for (int t = 1; t < threads; ++t) {
    const auto place = static_cast<size_t>(t);
    workers_.emplace_back([this, t, mine = place < cpus.size() ? cpus[place] : std::vector<int>()] {
      work(t, mine);
    });
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  loop_.fetch_add(1);
  loop_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

int ThreadPool::group_of(int thread) const {
  int group = 0;
  while (first_thread_[static_cast<size_t>(group) + 1] <= thread) ++group;
  return group;
}

// The caller is tied to no node: it helps where it runs now.
int ThreadPool::caller_group() const {
  if (cpu_groups_.empty()) return 0;
  const int cpu = current_cpu();
  if (cpu < 0 || static_cast<size_t>(cpu) >= cpu_groups_.size()) return 0;
  return std::max<int>(0, cpu_groups_[static_cast<size_t>(cpu)]);
}

void ThreadPool::run(std::span<const int64_t> items, Invoke invoke, const void* context,
                     Help help) {
  // Nobody reads these between two loops: an item is taken from a ticket first, and the last loop
  // has ended, so its tickets have none.
  invoke_ = invoke;
  context_ = context;
  done_.store(0, std::memory_order_relaxed);
  const uint64_t flag = help == Help::kYes ? 0 : kAlone;
  int64_t total = 0;
  for (size_t g = 0; g < tickets_.size(); ++g) {
    const int64_t count = g < items.size() ? items[g] : 0;
    tickets_[g].value.store(flag | static_cast<uint64_t>(count) << 32, std::memory_order_release);
    total += count;
  }
  loop_.fetch_add(1);  // sequentially consistent: pairs with the sleeper's increment of asleep_
  if (asleep_.load() > 0) loop_.notify_all();
  const int64_t mine = help == Help::kYes ? drain_all(caller_group(), 0) : drain_tied();
  done_.fetch_add(mine, std::memory_order_relaxed);
  int spins = 0;
  while (done_.load(std::memory_order_acquire) != total) {
    if (++spins < 4096) {
      cpu_relax();
    } else {
      std::this_thread::yield();  // a worker was descheduled with an item: let it have this core
    }
  }
}

// Returns how many items it did. All belong to one loop, since a loop cannot end before they are
// counted in done_; it may be a later loop than the one that woke the worker.
int64_t ThreadPool::drain(int group, int thread) {
  std::atomic<uint64_t>& value = tickets_[static_cast<size_t>(group)].value;
  for (int64_t count = 0;; ++count) {
    const uint64_t ticket = value.fetch_add(1, std::memory_order_acquire);
    const uint64_t item = ticket & UINT32_MAX;
    if (item >= (ticket & ~kAlone) >> 32) return count;
    invoke_(context_, group, static_cast<int64_t>(item), thread);
  }
}

// Items of another group, as drain() does, unless its loop is without help. A ticket is looked at
// first: taking an item of such a loop could not be undone.
int64_t ThreadPool::assist(int group, int thread) {
  std::atomic<uint64_t>& value = tickets_[static_cast<size_t>(group)].value;
  uint64_t ticket = value.load(std::memory_order_relaxed);
  for (int64_t count = 0;;) {
    const uint64_t item = ticket & UINT32_MAX;
    if (item >= ticket >> 32 || (ticket & kAlone) != 0) return count;
    if (!value.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
      continue;
    }
    invoke_(context_, group, static_cast<int64_t>(item), thread);
    ++count;
    ticket = value.load(std::memory_order_relaxed);
  }
}

// The items of `group` first, then those of the next groups.
int64_t ThreadPool::drain_all(int group, int thread) {
  int64_t count = drain(group, thread);
  const int all = groups();
  for (int step = 1; step < all; ++step) count += assist((group + step) % all, thread);
  return count;
}

// The items of the caller's own group, on its processors.
int64_t ThreadPool::drain_tied() {
#if defined(__linux__)
  cpu_set_t before;
  const bool known = sched_getaffinity(0, sizeof before, &before) == 0;
  if (known) run_on(caller_cpus_);
  const int64_t count = drain(0, 0);
  if (known) sched_setaffinity(0, sizeof before, &before);
  return count;
#else
  return drain(0, 0);
#endif
}

bool ThreadPool::wait_for_loop(uint32_t& seen) {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    for (int i = 0; i < kSpinsPerClockRead; ++i) {
      const uint32_t loop = loop_.load(std::memory_order_acquire);
      if (loop != seen) {
        seen = loop;  // loops that ended without this worker are left out
        return !stop_.load(std::memory_order_relaxed);
      }
      cpu_relax();
    }
    if (std::chrono::steady_clock::now() - start < kSpinTime) continue;
    asleep_.fetch_add(1);
    loop_.wait(seen);
    asleep_.fetch_sub(1);
  }
}

void ThreadPool::work(int thread, const std::vector<int>& cpus) {
  run_on(cpus);
  const int group = group_of(thread);
  uint32_t seen = 0;
  while (wait_for_loop(seen)) {
    const int64_t count = drain_all(group, thread);
    if (count > 0) done_.fetch_add(count, std::memory_order_release);
  }
}

}  // namespace ftllm
