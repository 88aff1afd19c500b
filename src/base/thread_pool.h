#pragma once
// Fork-join over a few threads that belong to one owner: the loops inside one operation.

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace inazuma {

/// `run(tasks, work)` calls work(task, thread) once for every task in [0, tasks), on the caller (thread 0) and the
/// workers (1 ... threads - 1), and returns when all are done. Tasks are claimed in increasing order, so which thread
/// gets which is not fixed: work must not depend on it. A worker that wakes late misses the round instead of delaying
/// it. No allocation.
///
/// Workers look for the next round for some 50 microseconds, then sleep in the kernel; an idle pool uses no CPU. One
/// caller at a time; several pools may exist. `work` must not throw.
class ThreadPool {
 public:
  /// 0 = one thread per core that the process may use; 1 = no workers, the caller does everything.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  template <class Work>
  void run(int64_t tasks, Work&& work) {
    using Callable = std::remove_reference_t<Work>;
    run_erased(
        tasks, [](void* context, int64_t task, int thread) { (*static_cast<Callable*>(context))(task, thread); },
        const_cast<void*>(static_cast<const void*>(&work)));
  }

 private:
  using Call = void (*)(void* context, int64_t task, int thread);

  void run_erased(int64_t tasks, Call call, void* context);
  void worker(int thread);
  void work_on_round(int thread);
  bool join_round(uint32_t& seen);
  void leave_round();

  // state_: number of the round in the upper half; in the lower, bit 31 = open for joining, the rest = workers inside.
  alignas(64) std::atomic<uint64_t> state_{0};
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<uint32_t> bell_{0};  ///< rung once a round; sleeping workers wait on it
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<bool> stopping_{false};
  int64_t tasks_ = 0;
  Call call_ = nullptr;
  void* context_ = nullptr;
  std::vector<std::thread> workers_;
};

/// Cores that this process may use (its affinity mask), at least 1.
int usable_cores();

}  // namespace inazuma
