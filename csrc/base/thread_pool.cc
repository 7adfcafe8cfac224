#include "base/thread_pool.h"

#include <chrono>

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

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int t = 1; t < threads; ++t) workers_.emplace_back([this, t] { work(t); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  loop_.fetch_add(1);
  loop_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(int64_t items, Invoke invoke, const void* context) {
  invoke_ = invoke;
  context_ = context;
  items_ = items;
  next_.store(0, std::memory_order_relaxed);
  busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  loop_.fetch_add(1);  // sequentially consistent: pairs with the sleeper's increment of asleep_
  if (asleep_.load() > 0) loop_.notify_all();
  drain(0);
  int spins = 0;
  while (busy_.load(std::memory_order_acquire) != 0) {
    if (++spins < 4096) {
      cpu_relax();
    } else {
      std::this_thread::yield();  // a worker was descheduled: let it have this core
    }
  }
}

void ThreadPool::drain(int thread) {
  for (;;) {
    const int64_t item = next_.fetch_add(1, std::memory_order_relaxed);
    if (item >= items_) return;
    invoke_(context_, item, thread);
  }
}

bool ThreadPool::wait_for_loop(uint32_t& seen) {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    for (int i = 0; i < kSpinsPerClockRead; ++i) {
      if (loop_.load(std::memory_order_acquire) != seen) {
        seen += 1;
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

void ThreadPool::work(int thread) {
  uint32_t seen = 0;
  while (wait_for_loop(seen)) {
    drain(thread);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace ftllm
