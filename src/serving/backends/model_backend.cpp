#include "serving/backends/model_backend.h"

#include <model_config.pb.h>

#include <condition_variable>
#include <thread>

#include "base/log.h"
#include "serving/batching/scheduler.h"
#include "serving/batching/statistics.h"
#include "serving/tasks/task.h"
#include "serving/tensors/classify.h"

namespace inazuma {

namespace {

using Phases = ModelStatisticsBook::Phases;

// Answers of a model that must leave in the order in which requests came (preserve_ordering).
class InOrder {
 public:
  uint64_t enter() {
    const std::lock_guard lock(mutex_);
    return entered_++;
  }
  void leave(uint64_t ticket, std::function<void()> deliver) {
    std::unique_lock lock(mutex_);
    ready_[ticket] = std::move(deliver);
    if (std::exchange(delivering_, true)) return;  // who delivers now takes this one along
    while (!ready_.empty() && ready_.begin()->first == next_) {
      const std::function<void()> next = std::move(ready_.begin()->second);
      ready_.erase(ready_.begin());
      ++next_;
      lock.unlock();  // the answer may bring the next request
      next();
      lock.lock();
    }
    delivering_ = false;
  }

 private:
  std::mutex mutex_;
  uint64_t entered_ = 0, next_ = 0;
  bool delivering_ = false;
  std::map<uint64_t, std::function<void()>> ready_;
};

// What requests on their way need of a version. They hold this and not the back end: the last of them may end on an
// instance's thread, and no thread can join itself.
struct Shared {
  std::shared_ptr<const TensorModel> model;
  std::shared_ptr<ResponseCache> cache;  // null: not for this model
  BackendInfo info;
  ModelStatisticsBook statistics;
  std::unique_ptr<InOrder> in_order;  // null: answers leave as they come
  std::atomic<int> inflight = 0;
};

// One run of the program over a batch, counted when its last job ended and before that job's client hears of it.
class Execution {
 public:
  Execution(std::shared_ptr<Shared> shared, int rows, size_t jobs, std::shared_ptr<void> hold)
      : shared_(std::move(shared)), rows_(rows), open_(jobs), hold_(std::move(hold)) {}
  void ended(const Phases& phases) {
    if (--open_ == 0) shared_->statistics.execution(rows_, phases);
  }

 private:
  std::shared_ptr<Shared> shared_;
  int rows_;
  std::atomic<size_t> open_;
  std::shared_ptr<void> hold_;  // until the last job is gone
};

Phases phases_of(const TensorJob& job, Clock::time_point end) {
  Phases out;
  const Clock::time_point input_end =
      job.compute_input_end == Clock::time_point{} ? job.compute_start : job.compute_input_end;
  const Clock::time_point output_start =
      job.compute_output_start == Clock::time_point{} ? end : job.compute_output_start;
  out.input = input_end - job.compute_start;
  out.infer = output_start - input_end;
  out.output = end - output_start;
  return out;
}

// Keeps what was asked for, ranked where classes were asked for.
void select_outputs(const TensorModel& model, const std::vector<RequestedOutput>& wanted, TensorResult& result) {
  if (wanted.empty()) return;
  std::vector<NamedTensor> kept;
  for (NamedTensor& tensor : result.outputs) {
    const auto request = std::find_if(wanted.begin(), wanted.end(),
                                      [&](const RequestedOutput& output) { return output.name == tensor.name; });
    if (request == wanted.end()) continue;
    if (request->classification == 0) {
      kept.push_back(std::move(tensor));
      continue;
    }
    const TensorSpec* spec = model.output(tensor.name);
    kept.push_back(classify(tensor, request->classification, model.max_batch_size > 0,
                            spec == nullptr ? std::vector<std::string>() : spec->labels)
                       .value());
  }
  result.outputs = std::move(kept);
}

// Hears one request's job and answers its client.
class Answering : public TensorJob::Listener {
 public:
  Answering(std::shared_ptr<Shared> shared, Receiver receiver, const Request& request, const TensorInference& inference,
            Usage usage)
      : shared_(std::move(shared)),
        receiver_(std::move(receiver)),
        outputs_(inference.outputs),
        arrival_(request.arrival),
        usage_(std::move(usage)),
        trace_(request.trace),
        submitter_(std::this_thread::get_id()) {
    if (shared_->in_order) ticket_ = shared_->in_order->enter();
    trace_begin(inference);
  }

  std::string cache_key;  // "" = not to be kept
  Clock::duration lookup{};
  /// The request left the submitting thread's hands: what it hears now is posted.
  void submitted() { submitting_ = false; }

  void on_answer(TensorJob& job, TensorResult result) override {
    const Clock::time_point now = Clock::now();
    shared_->statistics.answer(answers_++, now - job.compute_start, false);
    name(result);
    trace_answer(result, now);
    const Status status = capture([&] { select_outputs(*shared_->model, outputs_, result); });
    if (!status.ok())
      log::warn("an answer could not be given", {{"model", shared_->model->name}, {"reason", status.message()}});
    else
      deliver(TensorEvent{std::move(result)});
  }

  void on_end(TensorJob& job, Status status, TensorResult result) override {
    const Clock::time_point end = Clock::now();
    name(result);
    trace_answer(result, end);
    trace_end(job, end);
    if (status.ok() && !cache_key.empty()) {
      const Clock::time_point begin = Clock::now();
      shared_->cache->insert(cache_key, result);
      usage_.cache = lookup + (Clock::now() - begin);
      shared_->statistics.cache_miss(usage_.cache);
    }
    if (status.ok()) status = capture([&] { select_outputs(*shared_->model, outputs_, result); });
    const bool ran = job.compute_start != Clock::time_point{};
    const Phases phases = ran ? phases_of(job, end) : Phases{};
    if (const auto execution = std::static_pointer_cast<Execution>(job.execution)) execution->ended(phases);
    if (shared_->model->decoupled && ran) shared_->statistics.answer(answers_++, end - job.compute_start, result.empty);

    Response response;
    response.usage = std::move(usage_);
    response.usage.queue = ran ? job.compute_start - job.queued : end - job.queued;
    response.usage.tokenization = phases.input;
    response.usage.inference = phases.infer;
    response.usage.total = end - arrival_;
    response.usage.batch = job.batch;
    // A scheduler refuses what it cannot queue (a sequence without a start), which is the client's fault alone.
    response.usage.refused = !ran && status.code() == StatusCode::invalid;
    if (status.ok())
      shared_->statistics.success(end - job.arrival, response.usage.queue, phases, job.batch);
    else if (!response.usage.refused)
      shared_->statistics.failure(end - job.arrival);
    response.status = std::move(status);
    response.outcome = std::move(result);
    finish(std::move(response));
  }

  void hit(TensorResult result, Clock::duration took) {
    trace_answer(result, Clock::now());
    if (trace_) trace_->stamp("REQUEST_END", Clock::now());
    Response response;
    response.usage = std::move(usage_);
    response.status = capture([&] { select_outputs(*shared_->model, outputs_, result); });
    response.usage.cache = took;
    response.usage.total = Clock::now() - arrival_;
    shared_->statistics.cache_hit(response.usage.total, took);
    response.outcome = std::move(result);
    finish(std::move(response));
  }

 private:
  void trace_begin(const TensorInference& inference) const {
    if (!trace_) return;
    trace_->begin(shared_->model->name, shared_->model->version, inference.id);
    trace_->stamp("REQUEST_START", Clock::now());
    trace_->stamp("QUEUE_START", Clock::now());
    if (trace_->tensors())
      for (const NamedTensor& input : inference.inputs) trace_->tensor("TENSOR_QUEUE_INPUT", input);
  }
  void trace_answer(const TensorResult& result, Clock::time_point at) const {
    if (!trace_) return;
    if (trace_->tensors())
      for (const NamedTensor& output : result.outputs) trace_->tensor("TENSOR_BACKEND_OUTPUT", output);
    trace_->stamp("INFER_RESPONSE_COMPLETE", at);
  }
  // An ensemble computes nothing itself: its steps have traces of their own.
  void trace_end(const TensorJob& job, Clock::time_point end) const {
    if (!trace_) return;
    if (job.compute_start != Clock::time_point{} && shared_->model->config->platform() != "ensemble") {
      const Phases phases = phases_of(job, end);
      trace_->stamp("COMPUTE_START", job.compute_start);
      trace_->stamp("COMPUTE_INPUT_END", job.compute_start + phases.input);
      trace_->stamp("COMPUTE_OUTPUT_START", end - phases.output);
      trace_->stamp("COMPUTE_END", end);
    }
    trace_->stamp("REQUEST_END", end);
  }
  void name(TensorResult& result) {
    result.model_name = shared_->model->name;
    result.model_version = std::to_string(shared_->model->version);
  }
  void finish(Response response) {
    --shared_->inflight;
    deliver(std::move(response));
  }
  void deliver(Event event) {
    if (!shared_->in_order) return send(std::move(event));
    if (std::holds_alternative<TensorEvent>(event)) return send(std::move(event));
    auto kept = std::make_shared<Event>(std::move(event));
    shared_->in_order->leave(ticket_, [receiver = receiver_, kept] {
      receiver.post([receiver, kept] { receiver.on_event(std::move(*kept)); });
    });
  }
  void send(Event event) {
    if (std::this_thread::get_id() == submitter_ && submitting_) return receiver_.on_event(std::move(event));
    receiver_.post([receiver = receiver_, kept = std::make_shared<Event>(std::move(event))] {
      receiver.on_event(std::move(*kept));
    });
  }

  std::shared_ptr<Shared> shared_;
  Receiver receiver_;
  std::vector<RequestedOutput> outputs_;
  Clock::time_point arrival_;
  Usage usage_;
  std::shared_ptr<RequestTrace> trace_;  // null: not traced
  uint64_t ticket_ = 0;
  uint64_t answers_ = 0;
  std::thread::id submitter_;
  bool submitting_ = true;  // read and written by the submitting thread only
};

class ModelBackend : public Backend {
 public:
  ModelBackend(std::shared_ptr<const TensorModel> model, std::shared_ptr<TensorProgram> program,
               std::shared_ptr<ResponseCache> cache, BackendInfo info, std::shared_ptr<RateGate> gate)
      : model_(std::move(model)),
        shared_(std::make_shared<Shared>()),
        program_(std::move(program)),
        text_(program_->text()),
        gate_(std::move(gate)) {
    shared_->model = model_;
    const inference::ModelConfig& config = *model_->config;
    if (config.response_cache().enable()) shared_->cache = std::move(cache);
    if (config.dynamic_batching().preserve_ordering() || config.sequence_batching().oldest().preserve_ordering())
      shared_->in_order = std::make_unique<InOrder>();
    shared_->info = text_ ? text_->info() : std::move(info);
    shared_->info.text = text_ != nullptr;
    shared_->info.id = model_->name;
    const RunBatch run = [shared = shared_, program = program_.get()](TensorJobs jobs, std::shared_ptr<void> hold) {
      run_batch(shared, *program, std::move(jobs), std::move(hold));
    };
    scheduler_ = config.has_sequence_batching() ? make_sequence_scheduler(*model_, run, gate_)
                                                : make_batch_scheduler(*model_, run, program_->quick(), gate_);
  }

  /// Another face of the same version: what requests need is shared.
  ModelBackend(const ModelBackend& other, std::shared_ptr<const TensorModel> model)
      : model_(std::move(model)),
        shared_(other.shared_),
        program_(other.program_),
        text_(other.text_),
        gate_(other.gate_),
        scheduler_(other.scheduler_) {
    if (Status set = scheduler_->set_instances(instance_specs(*model_->config, gate_ != nullptr)); !set.ok())
      throw Error(set);
  }

  const BackendInfo& info() const override { return shared_->info; }
  std::shared_ptr<const TensorModel> tensor_model() const override { return model_; }
  void write_statistics(inference::ModelStatistics& out) const override { shared_->statistics.write(out); }

  EngineStats stats() const override {
    EngineStats out = text_ ? text_->stats() : EngineStats{};
    const Scheduler::Counts counts = scheduler_->counts();
    out.waiting += counts.waiting;
    if (!text_) out.running = counts.running, out.heartbeat = Clock::now();
    return out;
  }

  bool drain(Clock::time_point until) override {
    // Whoever still holds an older face of the version may be about to submit.
    const auto busy = [&] { return shared_->inflight.load() > 0 || scheduler_.use_count() > 1; };
    while (busy() && Clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (busy()) return false;  // what waits here may still have to reach the text model
    return !text_ || text_->drain(until);
  }

  void submit(Request request, Receiver receiver) override {
    Usage usage;
    usage.model = shared_->model->name;
    usage.version = shared_->model->version;
    usage.device = shared_->info.on_gpu ? "gpu" : "cpu";
    const auto refuse = [&](Status status) {
      usage.total = Clock::now() - request.arrival;
      usage.refused = true;
      receiver.on_event(Response{std::move(status), {}, usage});
    };
    if (!std::holds_alternative<TensorInference>(request.work)) {
      if (text_) return text_->submit(std::move(request), std::move(receiver));
      return refuse(Status(StatusCode::wrong_task, fmt::format("model {} takes tensors (KServe v2), not {}",
                                                               quoted(shared_->model->name), work_name(request.work))));
    }
    auto& inference = std::get<TensorInference>(request.work);
    const Result<int> batch = check_inference(*shared_->model, inference);
    if (!batch.ok()) return refuse(batch.status());
    if (request.deadline <= Clock::now())
      return refuse(Status(StatusCode::deadline_exceeded, "the deadline passed before the request was read"));

    ++shared_->inflight;
    const auto answering =
        std::make_shared<Answering>(shared_, std::move(receiver), request, inference, std::move(usage));
    if (shared_->cache) {
      const Clock::time_point begin = Clock::now();
      std::string key = ResponseCache::key(*shared_->model, inference);
      std::optional<TensorResult> known = shared_->cache->find(key);
      answering->lookup = Clock::now() - begin;
      if (known) return answering->hit(std::move(*known), answering->lookup);
      answering->cache_key = std::move(key);
    }
    auto job = std::make_unique<TensorJob>(std::move(inference), answering);
    job->batch = *batch;
    job->cancel = request.cancelled;
    job->arrival = job->queued = Clock::now();
    job->deadline = request.deadline;
    job->engine_priority = request.priority;
    job->trace = request.trace;
    scheduler_->submit(std::move(job));
    answering->submitted();
  }

 private:
  static void run_batch(const std::shared_ptr<Shared>& shared, TensorProgram& program, TensorJobs jobs,
                        std::shared_ptr<void> hold) {
    const Clock::time_point now = Clock::now();
    int rows = 0;
    for (const auto& job : jobs) rows += job->batch;
    const auto execution = std::make_shared<Execution>(shared, rows, jobs.size(), std::move(hold));
    for (const auto& job : jobs) job->compute_start = now, job->execution = execution;
    const Status status = capture([&] { program.execute(jobs); });
    for (const auto& job : jobs)
      if (job)
        job->fail(status.ok() ? Status(StatusCode::internal, "the back end left the request unanswered") : status);
  }

  std::shared_ptr<const TensorModel> model_;
  std::shared_ptr<Shared> shared_;
  std::shared_ptr<TensorProgram> program_;
  std::shared_ptr<Backend> text_;
  std::shared_ptr<RateGate> gate_;
  std::shared_ptr<Scheduler> scheduler_;  // first to go: its threads use the rest
};

}  // namespace

std::shared_ptr<Backend> make_model_backend(std::shared_ptr<const TensorModel> model,
                                            std::shared_ptr<TensorProgram> program,
                                            std::shared_ptr<ResponseCache> cache, BackendInfo info,
                                            std::shared_ptr<RateGate> gate) {
  return std::make_shared<ModelBackend>(std::move(model), std::move(program), std::move(cache), std::move(info),
                                        std::move(gate));
}

Result<std::shared_ptr<Backend>> with_config(const std::shared_ptr<Backend>& loaded,
                                             const inference::ModelConfig& config) {
  const auto backend = std::dynamic_pointer_cast<ModelBackend>(loaded);
  if (!backend) return Status(StatusCode::internal, "the loaded model is of no repository");
  return capture([&]() -> std::shared_ptr<Backend> {
    auto model = std::make_shared<TensorModel>(*backend->tensor_model());
    auto shown = std::make_shared<inference::ModelConfig>(*model->config);
    *shown->mutable_instance_group() = config.instance_group();
    *shown->mutable_version_policy() = config.version_policy();
    model->config = std::move(shown);
    return std::make_shared<ModelBackend>(*backend, std::move(model));
  });
}

}  // namespace inazuma
