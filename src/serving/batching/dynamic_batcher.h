#pragma once
// Which waiting requests run together, and when: Triton's dynamic batcher as a pure function of what it was told and of
// the time it is given. No threads, no clock.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/sequence.h"

namespace inazuma {

struct QueuePolicy {
  bool delay = false;           ///< expired requests go behind the others instead of being refused
  Clock::duration timeout{};    ///< zero = none
  bool allow_override = false;  ///< a request may bring a shorter timeout (or any, where `timeout` is zero)
  size_t max_size = 0;          ///< requests waiting; 0 = no limit
};

struct BatcherOptions {
  bool batching = true;        ///< false: every request alone, first come, first served
  int max_batch = 1;           ///< rows
  std::vector<int> preferred;  ///< rows
  Clock::duration max_delay{};
  uint64_t levels = 0;  ///< priorities 1 ... levels; 0 = all alike
  uint64_t default_level = 0;
  QueuePolicy policy;
  std::map<uint64_t, QueuePolicy> level_policy;
};

class DynamicBatcher {
 public:
  /// One request as the batcher sees it. `handle` is the caller's.
  struct Item {
    uint64_t handle = 0;
    int rows = 1;
    uint64_t priority = 0;      ///< 0, or above `levels`: the default level
    Clock::duration timeout{};  ///< the request's own; zero = none
    std::string match;          ///< only requests with equal strings share a batch
    CancelFlag cancel;          ///< may be null
  };
  struct Refused {
    uint64_t handle = 0;
    Status status;
  };
  struct Decision {
    std::vector<uint64_t> batch;                  ///< to run now, in order; empty = nothing to run
    std::vector<Refused> refused;                 ///< expired (overloaded, "Request timeout expired") or cancelled
    std::optional<Clock::time_point> look_again;  ///< when something will happen without a new arrival
  };

  explicit DynamicBatcher(BatcherOptions options);

  /// overloaded "Exceeds maximum queue size".
  Status push(Item item, Clock::time_point now);
  /// For an instance that can work now: takes a batch out, or says when to look again. Requests are never split.
  Decision take(Clock::time_point now);
  /// While every instance is busy: only what expired or was cancelled, and when to look again.
  Decision expire(Clock::time_point now);
  /// Everything that waits, taken out in order.
  std::vector<uint64_t> clear();
  size_t size() const;

 private:
  struct Waiting {
    Item item;
    Clock::time_point since;
    Clock::time_point expires = Clock::time_point::max();
  };
  struct Level {
    QueuePolicy policy;
    std::deque<Waiting> queue;
    std::deque<Waiting> delayed;  ///< expired under DELAY: served when nothing else of the level waits
    size_t size() const { return queue.size() + delayed.size(); }
  };
  void sweep(Clock::time_point now, Decision& decision);
  void drop_cancelled(std::deque<Waiting>& queue, Decision& decision);
  void remove_front(size_t count, Decision& decision);

  BatcherOptions options_;
  int largest_preferred_ = 0;
  std::vector<Level> levels_;  ///< highest priority first
};

}  // namespace inazuma
