#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

namespace inazuma {

namespace {

constexpr uint64_t kOpen = uint64_t{1} << 31;
constexpr auto kLookFor = std::chrono::microseconds(50);
constexpr int kLooksPerClockRead = 32;

uint32_t round_of(uint64_t state) {
  return static_cast<uint32_t>(state >> 32);
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Looks until `done` or the patience is over; true = done.
template <class Done>
bool look(Done done) {
  const auto until = std::chrono::steady_clock::now() + kLookFor;
  do {
    for (int i = 0; i < kLooksPerClockRead; ++i) {
      if (done()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < until);
  return false;
}

}  // namespace

int usable_cores() {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return std::max(1u, std::thread::hardware_concurrency());
  return std::max(1, CPU_COUNT(&mask));
}

ThreadPool::ThreadPool(int threads) {
  const int count = threads > 0 ? threads : usable_cores();
  workers_.reserve(static_cast<size_t>(count - 1));
  for (int t = 1; t < count; ++t) workers_.emplace_back([this, t] { worker(t); });
}

ThreadPool::~ThreadPool() {
  stopping_.store(true, std::memory_order_seq_cst);
  bell_.fetch_add(1, std::memory_order_seq_cst);
  bell_.notify_all();
  for (std::thread& thread : workers_) thread.join();
}

void ThreadPool::work_on_round(int thread) {
  for (int64_t task = next_.fetch_add(1, std::memory_order_relaxed); task < tasks_;
       task = next_.fetch_add(1, std::memory_order_relaxed))
    call_(context_, task, thread);
}

void ThreadPool::run_erased(int64_t tasks, Call call, void* context) {
  if (workers_.empty() || tasks <= 1) {
    for (int64_t task = 0; task < tasks; ++task) call(context, task, 0);
    return;
  }
  tasks_ = tasks;
  call_ = call;
  context_ = context;
  next_.store(0, std::memory_order_relaxed);
  const uint64_t round = uint64_t{round_of(state_.load(std::memory_order_relaxed)) + 1} << 32;
  state_.store(round | kOpen, std::memory_order_release);
  bell_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) > 0) bell_.notify_all();

  work_on_round(0);
  uint64_t state = state_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
  const auto everyone_left = [&] { return (state = state_.load(std::memory_order_acquire)) == round; };
  if (state == round || look(everyone_left)) return;
  while (!everyone_left()) state_.wait(state, std::memory_order_acquire);
}

bool ThreadPool::join_round(uint32_t& seen) {
  uint64_t state = state_.load(std::memory_order_relaxed);
  while ((state & kOpen) != 0 && round_of(state) != seen)
    if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel, std::memory_order_relaxed)) {
      seen = round_of(state);
      return true;
    }
  return false;
}

void ThreadPool::leave_round() {
  const uint64_t before = state_.fetch_sub(1, std::memory_order_acq_rel);
  // The last one out of a closed round may have the caller asleep on `state_`.
  if ((before & kOpen) == 0 && (before & (kOpen - 1)) == 1) state_.notify_one();
}

void ThreadPool::worker(int thread) {
  uint32_t seen = 0;
  while (!stopping_.load(std::memory_order_acquire)) {
    const uint32_t rung = bell_.load(std::memory_order_acquire);
    if (join_round(seen)) {
      work_on_round(thread);
      leave_round();
      continue;
    }
    const auto news = [&] { return bell_.load(std::memory_order_relaxed) != rung; };
    if (look(news)) continue;
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    bell_.wait(rung, std::memory_order_seq_cst);
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  }
}

}  // namespace inazuma
