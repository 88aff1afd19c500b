#pragma once
// The instances of a model version as threads that may come and go while it serves, and the gate at which those that
// need scarce resources wait for them.

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "serving/batching/rate_limiter.h"

namespace inference {
class ModelConfig;  // <model_config.pb.h>
}

namespace inazuma {

/// A RateLimiter that instances of all models share. Thread-safe.
class RateGate {
 public:
  struct Seat {
    uint64_t id = 0;
    std::condition_variable changed;
    bool granted = false, closed = false;
  };

  explicit RateGate(DeclaredResources declared) : limiter_(std::move(declared)) {}

  /// invalid: as RateLimiter::add.
  Result<std::shared_ptr<Seat>> add(const InstanceSpec& spec);
  void remove(Seat& seat);
  /// Asks to execute; true when the instance may at once.
  bool ask(Seat& seat);
  /// Waits until the instance may execute; false when its seat was closed meanwhile.
  bool acquire(Seat& seat);
  /// After either. `again`: it asks for the next execution at once, in front of whoever waits with less right.
  void release(Seat& seat, bool executed, bool again);
  /// It wants nothing for now, whatever it asked for.
  void rest(Seat& seat);
  /// Whoever waits there, or will, goes home.
  void close(Seat& seat);

 private:
  void ask_locked(Seat& seat);
  void distribute();

  std::mutex mutex_;
  RateLimiter limiter_;
  std::map<uint64_t, std::shared_ptr<Seat>> seats_;
};

/// One spec for each instance that the configuration asks for. Resources only where `limited`.
std::vector<InstanceSpec> instance_specs(const inference::ModelConfig& config, bool limited);

struct Instance {
  InstanceSpec spec;
  std::shared_ptr<RateGate::Seat> seat;  ///< null: it needs nothing
  std::atomic<bool> leaving = false;     ///< its work should return
  std::atomic<bool> gone = false;
  std::thread thread;
};

/// Each instance runs `work`, which returns when its instance is leaving. `gate` may be null where no spec has
/// resources.
class InstanceThreads {
 public:
  InstanceThreads(std::shared_ptr<RateGate> gate, std::function<void(Instance&)> work)
      : gate_(std::move(gate)), work_(std::move(work)) {}
  ~InstanceThreads() { stop(); }

  /// From now on these: instances that are wanted as before stay, new ones begin, others leave after the batch they
  /// work. Whoever waits for work has to be woken afterwards. All or nothing; status: invalid, of the gate.
  Status set(const std::vector<InstanceSpec>& specs);
  /// Marks all as leaving. The destructor waits for them.
  void leave();
  void stop();
  size_t size() const { return instances_.size(); }
  bool limited() const;
  RateGate& gate() { return *gate_; }

 private:
  void send_away(std::unique_ptr<Instance> instance);

  std::shared_ptr<RateGate> gate_;
  std::function<void(Instance&)> work_;
  std::vector<std::unique_ptr<Instance>> instances_, leaving_;
};

}  // namespace inazuma
