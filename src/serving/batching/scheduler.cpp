#include "serving/batching/scheduler.h"

#include <model_config.pb.h>

#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "serving/batching/dynamic_batcher.h"

namespace inazuma {

namespace {

QueuePolicy policy_of(const inference::ModelQueuePolicy& policy) {
  return {.delay = policy.timeout_action() == inference::ModelQueuePolicy::DELAY,
          .timeout = bounded_micros(policy.default_timeout_microseconds()),
          .allow_override = policy.allow_timeout_override(),
          .max_size = policy.max_queue_size()};
}

BatcherOptions batcher_options(const inference::ModelConfig& config) {
  BatcherOptions out;
  out.max_batch = std::max(1, config.max_batch_size());
  out.batching = config.has_dynamic_batching();
  if (!out.batching) return out;
  const auto& dynamic = config.dynamic_batching();
  out.preferred.assign(dynamic.preferred_batch_size().begin(), dynamic.preferred_batch_size().end());
  out.max_delay = bounded_micros(dynamic.max_queue_delay_microseconds());
  out.levels = dynamic.priority_levels();
  out.default_level = dynamic.default_priority_level();
  out.policy = policy_of(dynamic.default_queue_policy());
  for (const auto& [level, policy] : dynamic.priority_queue_policy()) out.level_policy[level] = policy_of(policy);
  return out;
}

bool has_timeouts(const BatcherOptions& options) {
  const auto some = [](const QueuePolicy& policy) { return policy.timeout.count() > 0 || policy.allow_override; };
  return some(options.policy) || std::any_of(options.level_policy.begin(), options.level_policy.end(),
                                             [&](const auto& entry) { return some(entry.second); });
}

// Shapes of the inputs that must be alike in a batch; and which inputs there are, where some are optional.
class Matcher {
 public:
  explicit Matcher(const TensorModel& model) {
    for (const TensorSpec& input : model.inputs) {
      if (input.optional) optional_ = true;
      if (!input.ragged && std::find(input.dims.begin(), input.dims.end(), -1) != input.dims.end())
        alike_.push_back(input.name);
    }
  }
  std::string operator()(const TensorInference& inference) const {
    std::string out;
    if (alike_.empty() && !optional_) return out;
    for (const NamedTensor& tensor : inference.inputs) {
      const bool shaped = std::find(alike_.begin(), alike_.end(), tensor.name) != alike_.end();
      if (optional_ || shaped) out += tensor.name;
      if (shaped)
        for (size_t i = 1; i < tensor.shape.size(); ++i) out += ',' + std::to_string(tensor.shape[i]);
      out += ';';
    }
    return out;
  }

 private:
  std::vector<std::string> alike_;
  bool optional_ = false;
};

void refuse(std::vector<DynamicBatcher::Refused> refused) {
  for (DynamicBatcher::Refused& one : refused) job_of(one.handle)->fail(std::move(one.status));
}

class BatchScheduler : public Scheduler {
 public:
  BatchScheduler(const TensorModel& model, RunBatch run, bool quick, const std::shared_ptr<RateGate>& gate)
      : batcher_(batcher_options(*model.config)),
        matcher_(model),
        run_(std::move(run)),
        may_be_quick_(quick),
        instances_(gate, [this](Instance& instance) { work(instance); }) {
    if (Status set = set_instances(instance_specs(*model.config, gate != nullptr)); !set.ok()) throw Error(set);
    if (has_timeouts(batcher_options(*model.config))) watcher_ = std::thread([this] { watch(); });
  }

  ~BatchScheduler() override {
    std::vector<uint64_t> left;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      left = batcher_.clear();
      instances_.leave();
    }
    arrival_.notify_all();
    watch_.notify_all();
    for (const uint64_t handle : left)
      job_of(handle)->fail(Status(StatusCode::unavailable, "the model was unloaded before the request ran"));
    instances_.stop();
    if (watcher_.joinable()) watcher_.join();
  }

  Status set_instances(const std::vector<InstanceSpec>& specs) override {
    {
      const std::lock_guard lock(mutex_);
      const auto before = static_cast<int>(instances_.size());
      if (Status status = instances_.set(specs); !status.ok()) return status;
      free_ += static_cast<int>(instances_.size()) - before;
      quick_ = may_be_quick_ && !instances_.limited();
    }
    arrival_.notify_all();
    return Status();
  }

  void submit(std::unique_ptr<TensorJob> job) override {
    const Clock::time_point now = job->queued = Clock::now();
    DynamicBatcher::Item item{.handle = 0,
                              .rows = job->batch,
                              .priority = job->inference.priority,
                              .timeout = bounded_micros(job->inference.timeout_us),
                              .match = matcher_(job->inference),
                              .cancel = job->cancel};
    std::unique_lock lock(mutex_);
    if (stopping_) {
      lock.unlock();
      return job->fail(Status(StatusCode::unavailable, "the model is being unloaded"));
    }
    item.handle = handle_of(*job);
    if (Status full = batcher_.push(std::move(item), now); !full.ok()) {
      lock.unlock();
      return job->fail(std::move(full));
    }
    (void)job.release();  // the batcher's now
    if (quick_ && free_ > 0) return run_here(lock);
    const bool taken = quick_;  // every instance is at work, and whoever works a quick one looks again at its end
    lock.unlock();
    if (!taken) arrival_.notify_one();
    watch_.notify_one();
  }

  Counts counts() const override {
    const std::lock_guard lock(mutex_);
    return {static_cast<int>(batcher_.size()), running_};
  }

 private:
  // On the connection's own thread, also what arrives meanwhile: waking another thread costs more than a quick batch. A
  // connection works a few of them at most, and what has to wait for its time goes to the instances' threads.
  void run_here(std::unique_lock<std::mutex>& lock) {
    constexpr int kMost = 8;
    for (int i = 0; i < kMost && free_ > 0 && batcher_.size() > 0; ++i) {
      DynamicBatcher::Decision decision = batcher_.take(Clock::now());
      if (decision.batch.empty() && decision.refused.empty()) break;
      execute(lock, decision);
    }
    const bool left = batcher_.size() > 0;
    lock.unlock();
    if (left) arrival_.notify_one();
  }

  // Called and left with the lock held. `whole`: until the last of its jobs has ended.
  void execute(std::unique_lock<std::mutex>& lock, DynamicBatcher::Decision& decision, bool whole = false) {
    if (decision.batch.empty() && decision.refused.empty()) return;
    --free_;
    running_ += static_cast<int>(decision.batch.size());
    lock.unlock();
    refuse(std::move(decision.refused));
    TensorJobs jobs;
    jobs.reserve(decision.batch.size());
    for (const uint64_t handle : decision.batch) jobs.push_back(job_of(handle));
    if (!jobs.empty() && whole)
      run_to_the_end(run_, std::move(jobs));
    else if (!jobs.empty())
      run_(std::move(jobs), nullptr);
    lock.lock();
    ++free_;
    running_ -= static_cast<int>(decision.batch.size());
  }

  void work(Instance& instance) {
    RateGate::Seat* seat = instance.seat.get();
    std::unique_lock lock(mutex_);
    while (!instance.leaving) {
      if (free_ <= 0 || batcher_.size() == 0) {
        if (seat != nullptr) instances_.gate().rest(*seat);
        arrival_.wait(lock);
        continue;
      }
      if (seat != nullptr && !instances_.gate().ask(*seat)) {
        arrival_.notify_one();  // in its place one that may need less
        lock.unlock();
        const bool mine = instances_.gate().acquire(*seat);
        lock.lock();
        if (!mine) break;
      }
      DynamicBatcher::Decision decision = batcher_.take(Clock::now());
      const bool some = !decision.batch.empty() || !decision.refused.empty();
      if (some) execute(lock, decision, seat != nullptr);
      if (seat != nullptr) instances_.gate().release(*seat, !decision.batch.empty(), some && batcher_.size() > 0);
      if (some) continue;
      if (decision.look_again)
        arrival_.wait_until(lock, *decision.look_again);
      else
        arrival_.wait(lock);
    }
    if (batcher_.size() > 0) arrival_.notify_one();  // in place of this one, which may have been woken for it
  }

  // Expiry while every instance is busy.
  void watch() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      DynamicBatcher::Decision decision = batcher_.expire(Clock::now());
      if (!decision.refused.empty()) {
        lock.unlock();
        refuse(std::move(decision.refused));
        lock.lock();
      } else if (decision.look_again) {
        watch_.wait_until(lock, *decision.look_again);
      } else {
        watch_.wait(lock);
      }
    }
  }

  mutable std::mutex mutex_;
  std::condition_variable arrival_, watch_;
  DynamicBatcher batcher_;
  Matcher matcher_;
  RunBatch run_;
  bool may_be_quick_;
  bool quick_ = false;
  int free_ = 0;
  int running_ = 0;
  bool stopping_ = false;
  std::thread watcher_;
  InstanceThreads instances_;
};

}  // namespace

void run_to_the_end(const RunBatch& run, TensorJobs jobs) {
  const auto over = std::make_shared<std::promise<void>>();
  std::future<void> end = over->get_future();
  run(std::move(jobs), std::shared_ptr<void>(nullptr, [over](void*) { over->set_value(); }));
  end.wait();
}

Clock::duration bounded_micros(uint64_t count) {
  constexpr uint64_t kMost = 366ULL * 24 * 3600 * 1'000'000;
  return std::chrono::microseconds(std::min(count, kMost));
}

std::unique_ptr<Scheduler> make_batch_scheduler(const TensorModel& model, RunBatch run, bool quick,
                                                std::shared_ptr<RateGate> gate) {
  return std::make_unique<BatchScheduler>(model, std::move(run), quick, gate);
}

}  // namespace inazuma
