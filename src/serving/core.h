#pragma once
// The door every protocol goes through: looks the model up, hands the request over, counts it.

#include <atomic>
#include <string>

#include "serving/metrics.h"
#include "serving/repository.h"

namespace inazuma {

struct CoreOptions {
  Clock::duration stall_timeout = std::chrono::seconds(30);  ///< an engine silent for longer is not ready; longer than the longest step
  Clock::duration default_deadline = Clock::duration::max(); ///< for requests that bring none
};

class Core {
 public:
  explicit Core(CoreOptions options = {}) : options_(options) {}

  Repository& repository() { return repository_; }
  Metrics& metrics() { return metrics_; }

  /// The receiver hears every request's end exactly once, refusals included: not_found (lists the names), unavailable
  /// (loading: with the state; draining), and whatever the back end says. Called on the receiver's thread.
  void submit(Request request, Receiver receiver);

  /// The model a request means: by name, or the default (the first). For front ends that must know the task beforehand.
  Result<std::shared_ptr<Backend>> backend(std::string_view model) const;

  bool ready() const;   ///< every model can serve now
  bool live() const;    ///< no engine is stalled
  bool draining() const { return draining_.load(); }

  /// Readiness false from here on; requests are still taken (balancers need time to notice).
  void start_draining() { draining_ = true; }
  /// Waits for accepted work; true when all of it ended by `until`.
  bool drain(Clock::time_point until);

  int inflight() const { return inflight_.load(); }

 private:
  CoreOptions options_;
  Repository repository_;
  Metrics metrics_;
  std::atomic<bool> draining_ = false;
  std::atomic<int> inflight_ = 0;
};

}  // namespace inazuma
