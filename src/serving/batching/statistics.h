#pragma once
// Triton's statistics of one model version: what each number counts is in docs/KSERVE.md.

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>

#include "engine/sequence.h"

namespace inference {
class ModelStatistics;
}

namespace inazuma {

class ModelStatisticsBook {
 public:
  struct Phases {
    Clock::duration input{}, infer{}, output{};
  };

  /// A request that ended well: `queue` and `phases` of it alone, `rows` = its batch size.
  void success(Clock::duration total, Clock::duration queue, const Phases& phases, int rows);
  void cache_hit(Clock::duration total, Clock::duration lookup);
  void cache_miss(Clock::duration took);
  void failure(Clock::duration total);
  /// One run of a back end over `rows`.
  void execution(int rows, const Phases& phases);
  /// Answer `index` of a decoupled request (the final flag alone: `empty`).
  void answer(uint64_t index, Clock::duration infer, bool empty);

  void write(inference::ModelStatistics& out) const;

 private:
  struct Duration {
    uint64_t count = 0;
    uint64_t ns = 0;
    void add(Clock::duration duration) {
      ++count;
      ns += static_cast<uint64_t>(
          std::max<int64_t>(0, std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count()));
    }
  };
  struct Batch {
    Duration input, infer, output;
  };
  struct Answer {
    Duration infer, success, empty;
  };

  mutable std::mutex mutex_;
  Duration success_, fail_, queue_, input_, infer_, output_, hit_, miss_;
  uint64_t inferences_ = 0, executions_ = 0, last_ms_ = 0;
  std::map<int, Batch> batches_;
  std::map<uint64_t, Answer> answers_;
};

}  // namespace inazuma
