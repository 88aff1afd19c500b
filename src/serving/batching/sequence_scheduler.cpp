// sequence_batching: a SequenceBatcher with threads, and the control tensors that requests get on their way.

#include <model_config.pb.h>

#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "serving/batching/scheduler.h"
#include "serving/batching/sequence_batcher.h"

namespace inazuma {

namespace {

using inference::ModelSequenceBatching;

SequenceBatcherOptions options_for(const TensorModel& model) {
  const ModelSequenceBatching& config = model.config->sequence_batching();
  SequenceBatcherOptions out;
  out.model = model.name;
  out.oldest = config.has_oldest();
  out.instances = static_cast<int>(instance_specs(*model.config, false).size());
  out.max_batch = std::max(1, model.max_batch_size);
  out.idle = bounded_micros(config.max_sequence_idle_microseconds());
  if (out.oldest) {
    out.slots = config.oldest().max_candidate_sequences();
    out.max_delay = bounded_micros(config.oldest().max_queue_delay_microseconds());
    out.preferred.assign(config.oldest().preferred_batch_size().begin(), config.oldest().preferred_batch_size().end());
  } else {
    out.slots = out.max_batch;
    out.max_delay = bounded_micros(config.direct().max_queue_delay_microseconds());
    out.minimum_utilization = config.direct().minimum_slot_utilization();
  }
  return out;
}

std::string key_of(const CorrelationId& id) {
  if (const auto* text = std::get_if<std::string>(&id)) return text->empty() ? "" : "s" + *text;
  const uint64_t number = std::get<uint64_t>(id);
  return number == 0 ? "" : "n" + std::to_string(number);
}

template <class T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// One tensor per control, in the model's input names.
class Controls {
 public:
  explicit Controls(const TensorModel& model)
      : config_(model.config),
        shape_(model.max_batch_size > 0 ? std::vector<int64_t>{1, 1} : std::vector<int64_t>{1}) {}

  /// invalid: a correlation id of the other kind than the model's.
  Status check(const CorrelationId& id) const {
    for (const auto& input : config_->sequence_batching().control_input())
      for (const auto& control : input.control())
        if (control.kind() == ModelSequenceBatching::Control::CONTROL_SEQUENCE_CORRID &&
            (control.data_type() == inference::TYPE_STRING) != std::holds_alternative<std::string>(id))
          return Status(StatusCode::invalid,
                        fmt::format("sequence id of model '{}' must be {}", config_->name(),
                                    control.data_type() == inference::TYPE_STRING ? "a string" : "an integer"));
    return Status();
  }

  void add(TensorInference& inference, bool start, bool end) const {
    using Control = ModelSequenceBatching::Control;
    for (const auto& input : config_->sequence_batching().control_input())
      for (const Control& control : input.control()) {
        NamedTensor tensor{.name = input.name(), .type = DataType::invalid, .shape = shape_, .data = {}};
        switch (control.kind()) {
          case Control::CONTROL_SEQUENCE_START: flag(control, start, tensor); break;
          case Control::CONTROL_SEQUENCE_END: flag(control, end, tensor); break;
          case Control::CONTROL_SEQUENCE_READY: flag(control, true, tensor); break;
          case Control::CONTROL_SEQUENCE_CORRID: id(control, inference.sequence, tensor); break;
          default: continue;
        }
        inference.inputs.push_back(std::move(tensor));
      }
  }

 private:
  static void flag(const ModelSequenceBatching::Control& control, bool on, NamedTensor& out) {
    const int at = on ? 1 : 0;
    if (control.int32_false_true_size() == 2)
      out.type = DataType::int32, out.data = raw(control.int32_false_true(at));
    else if (control.fp32_false_true_size() == 2)
      out.type = DataType::fp32, out.data = raw(control.fp32_false_true(at));
    else
      out.type = DataType::boolean, out.data = raw(static_cast<uint8_t>(control.bool_false_true(at)));
  }
  static void id(const ModelSequenceBatching::Control& control, const CorrelationId& id, NamedTensor& out) {
    out.type = static_cast<DataType>(control.data_type());
    if (const auto* text = std::get_if<std::string>(&id)) {
      std::string element;
      append_bytes_element(element, *text);
      out.data = std::move(element);
    } else if (element_size(out.type) == sizeof(uint64_t)) {
      out.data = raw(std::get<uint64_t>(id));
    } else {
      out.data = raw(static_cast<uint32_t>(std::get<uint64_t>(id)));
    }
  }

  std::shared_ptr<const inference::ModelConfig> config_;
  std::vector<int64_t> shape_;
};

class SequenceScheduler : public Scheduler {
 public:
  SequenceScheduler(const TensorModel& model, RunBatch run, const std::shared_ptr<RateGate>& gate)
      : batcher_(options_for(model)),
        controls_(model),
        run_(std::move(run)),
        instances_(gate, [this](Instance& instance) { work(instance); }) {
    if (Status set = set_instances(instance_specs(*model.config, gate != nullptr)); !set.ok()) throw Error(set);
  }

  ~SequenceScheduler() override {
    std::vector<uint64_t> left;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      left = batcher_.clear();
      instances_.leave();
    }
    arrival_.notify_all();
    for (const uint64_t handle : left)
      job_of(handle)->fail(Status(StatusCode::unavailable, "the model was unloaded before the request ran"));
    instances_.stop();
  }

  Status set_instances(const std::vector<InstanceSpec>& specs) override {
    {
      const std::lock_guard lock(mutex_);
      if (Status status = instances_.set(specs); !status.ok()) return status;
      batcher_.set_instances(static_cast<int>(specs.size()), Clock::now());
    }
    arrival_.notify_all();
    return Status();
  }

  void submit(std::unique_ptr<TensorJob> job) override {
    const TensorInference& inference = job->inference;
    if (Status wrong = controls_.check(inference.sequence); !wrong.ok()) return job->fail(std::move(wrong));
    if (job->batch != 1)
      return job->fail(
          Status(StatusCode::invalid, "inference request to a model with sequence batching must have batch-size 1"));
    const auto* text = std::get_if<std::string>(&inference.sequence);
    SequenceBatcher::Item item{
        .handle = handle_of(*job),
        .sequence = key_of(inference.sequence),
        .shown = text != nullptr ? *text : std::to_string(std::get<uint64_t>(inference.sequence)),
        .start = inference.sequence_start,
        .end = inference.sequence_end,
        .timeout = bounded_micros(inference.timeout_us),
        .cancel = job->cancel};
    const Clock::time_point now = job->queued = Clock::now();
    Status status;
    {
      const std::lock_guard lock(mutex_);
      status = stopping_ ? Status(StatusCode::unavailable, "the model is being unloaded")
                         : batcher_.push(std::move(item), now);
    }
    if (!status.ok()) return job->fail(std::move(status));
    (void)job.release();  // the batcher's now
    arrival_.notify_one();
  }

  Counts counts() const override {
    const std::lock_guard lock(mutex_);
    return {static_cast<int>(batcher_.size()), running_};
  }

 private:
  void work(Instance& instance) {
    RateGate::Seat* seat = instance.seat.get();
    std::unique_lock lock(mutex_);
    while (!instance.leaving) {
      if (seat != nullptr && batcher_.size() > 0 && !instances_.gate().ask(*seat)) {
        arrival_.notify_one();  // in its place one that may need less
        lock.unlock();
        const bool mine = instances_.gate().acquire(*seat);
        lock.lock();
        if (!mine) break;
      }
      SequenceBatcher::Decision decision = batcher_.take(Clock::now());
      if (decision.batch.empty() && decision.refused.empty()) {
        if (seat != nullptr) instances_.gate().rest(*seat);
        if (decision.look_again)
          arrival_.wait_until(lock, *decision.look_again);
        else
          arrival_.wait(lock);
        continue;
      }
      execute(lock, decision, seat != nullptr);
      if (seat != nullptr) instances_.gate().release(*seat, !decision.batch.empty(), batcher_.ready());
      if (batcher_.size() > 0) arrival_.notify_one();
    }
    if (batcher_.size() > 0) arrival_.notify_one();  // in place of this one, which may have been woken for it
  }

  // Called and left with the lock held. `whole`: until the last of its jobs has ended.
  void execute(std::unique_lock<std::mutex>& lock, SequenceBatcher::Decision& decision, bool whole) {
    running_ += static_cast<int>(decision.batch.size());
    lock.unlock();
    for (SequenceBatcher::Refused& one : decision.refused) job_of(one.handle)->fail(std::move(one.status));
    TensorJobs jobs;
    for (const SequenceBatcher::Ready& one : decision.batch) {
      jobs.push_back(job_of(one.handle));
      controls_.add(jobs.back()->inference, one.start, one.end);
    }
    if (!jobs.empty() && whole)
      run_to_the_end(run_, std::move(jobs));
    else if (!jobs.empty())
      run_(std::move(jobs), nullptr);
    lock.lock();
    running_ -= static_cast<int>(decision.batch.size());
    for (const SequenceBatcher::Ready& one : decision.batch) batcher_.done(one.sequence, Clock::now());
  }

  mutable std::mutex mutex_;
  std::condition_variable arrival_;
  SequenceBatcher batcher_;
  Controls controls_;
  RunBatch run_;
  int running_ = 0;
  bool stopping_ = false;
  InstanceThreads instances_;
};

}  // namespace

std::unique_ptr<Scheduler> make_sequence_scheduler(const TensorModel& model, RunBatch run,
                                                   std::shared_ptr<RateGate> gate) {
  return std::make_unique<SequenceScheduler>(model, std::move(run), gate);
}

}  // namespace inazuma
