#include "base/thread_pool.h"

#include <chrono>

#if defined(__linux__)
#include <sched.h>
#endif

namespace ftllm {
namespace {

constexpr int kSpinsPerClockRead = 64;
constexpr std::chrono::microseconds kSpinTime{200};

void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// A processor that this process may not use, or that is gone, leaves the thread where it is.
void run_on(int cpu) {
#if defined(__linux__)
  if (cpu < 0 || cpu >= CPU_SETSIZE) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads, std::span<const int> cpus) {
  for (int t = 1; t < threads; ++t) {
    const int cpu = static_cast<size_t>(t) < cpus.size() ? cpus[static_cast<size_t>(t)] : -1;
    workers_.emplace_back([this, t, cpu] { work(t, cpu); });
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  loop_.fetch_add(1);
  loop_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(int64_t items, Invoke invoke, const void* context) {
  // Nobody reads these between two loops: an item is taken from the ticket first, and the last
  // loop has ended, so its ticket has none.
  invoke_ = invoke;
  context_ = context;
  done_.store(0, std::memory_order_relaxed);
  ticket_.store(static_cast<uint64_t>(items) << 32, std::memory_order_release);
  loop_.fetch_add(1);  // sequentially consistent: pairs with the sleeper's increment of asleep_
  if (asleep_.load() > 0) loop_.notify_all();
  done_.fetch_add(drain(0), std::memory_order_relaxed);
  int spins = 0;
  while (done_.load(std::memory_order_acquire) != items) {
    if (++spins < 4096) {
      cpu_relax();
    } else {
      std::this_thread::yield();  // a worker was descheduled with an item: let it have this core
    }
  }
}

// Returns how many items it did. All belong to one loop, since a loop cannot end before they are
// counted in done_; it may be a later loop than the one that woke the worker.
int64_t ThreadPool::drain(int thread) {
  for (int64_t count = 0;; ++count) {
    const uint64_t ticket = ticket_.fetch_add(1, std::memory_order_acquire);
    const uint64_t item = ticket & UINT32_MAX;
    if (item >= ticket >> 32) return count;
    invoke_(context_, static_cast<int64_t>(item), thread);
  }
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

void ThreadPool::work(int thread, int cpu) {
  run_on(cpu);
  uint32_t seen = 0;
  while (wait_for_loop(seen)) {
    const int64_t count = drain(thread);
    if (count > 0) done_.fetch_add(count, std::memory_order_release);
  }
}

}  // namespace ftllm
