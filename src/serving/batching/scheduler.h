#pragma once
// The instances of a model version: threads that take batches from a batcher and run them.

#include <functional>
#include <memory>

#include "serving/backends/program.h"
#include "serving/batching/instances.h"

namespace inazuma {

/// Where checked requests wait for an instance. Thread-safe.
class Scheduler {
 public:
  struct Counts {
    int waiting = 0;
    int running = 0;
  };
  virtual ~Scheduler() = default;  ///< what still waits fails with `unavailable`; what runs is waited for
  /// Owns the job from here on and finishes it whatever happens.
  virtual void submit(std::unique_ptr<TensorJob> job) = 0;
  virtual Counts counts() const = 0;
  /// Goes on with other instances; what waits or runs, and open sequences, stay. invalid: of the rate gate, and nothing
  /// has changed.
  virtual Status set_instances(const std::vector<InstanceSpec>& specs) = 0;
};

/// Runs a batch on the calling thread: marks its moments, calls the program, fails what a throwing program left. `hold`
/// is let go when the last of the batch's jobs has ended, which may be after the call.
using RunBatch = std::function<void(TensorJobs jobs, std::shared_ptr<void> hold)>;

/// Default and dynamic scheduling, by the model's configuration. `quick` programs run on the submitting thread when an
/// instance is free. `gate`: null without a rate limiter. Throws Error(invalid), of the gate.
std::unique_ptr<Scheduler> make_batch_scheduler(const TensorModel& model, RunBatch run, bool quick,
                                                std::shared_ptr<RateGate> gate);
/// sequence_batching, direct and oldest.
std::unique_ptr<Scheduler> make_sequence_scheduler(const TensorModel& model, RunBatch run,
                                                   std::shared_ptr<RateGate> gate);

/// Batchers know a job by its handle, and own it from push until job_of.
inline uint64_t handle_of(const TensorJob& job) {
  return reinterpret_cast<uintptr_t>(&job);
}
inline std::unique_ptr<TensorJob> job_of(uint64_t handle) {
  return std::unique_ptr<TensorJob>(reinterpret_cast<TensorJob*>(handle));
}

/// A batch of an instance that holds resources: returns when all of its jobs have ended.
void run_to_the_end(const RunBatch& run, TensorJobs jobs);

/// A configured wait; beyond a year nobody waits, and the clock's 64 bits would overflow.
Clock::duration bounded_micros(uint64_t count);

}  // namespace inazuma
