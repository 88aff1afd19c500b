#pragma once
// The instances of a model version: threads that take batches from a batcher and run them.

#include <functional>
#include <memory>

#include "serving/backends/program.h"

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
};

/// Runs a batch on the calling thread: marks its moments, calls the program, fails what a throwing program left.
using RunBatch = std::function<void(TensorJobs jobs)>;

/// Default and dynamic scheduling, by the model's configuration. `quick` programs run on the submitting thread when an
/// instance is free.
std::unique_ptr<Scheduler> make_batch_scheduler(const TensorModel& model, RunBatch run, bool quick);
/// sequence_batching, direct and oldest.
std::unique_ptr<Scheduler> make_sequence_scheduler(const TensorModel& model, RunBatch run);

/// Instances that the configuration asks for, all groups together.
int instance_count(const TensorModel& model);

}  // namespace inazuma
