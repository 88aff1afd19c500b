// `platform: "ensemble"`: other models of the server as steps of a data flow. A step runs when all its inputs are
// there; steps that do not wait for each other run side by side. Each answer of a decoupled step runs on by itself.

#include <model_config.pb.h>

#include <algorithm>
#include <deque>
#include <mutex>

#include "serving/backends/ensemble_graph.h"

namespace inazuma {

namespace {

// max_inflight_requests: so many requests of one step run at once, over all requests of the ensemble; others wait.
class StepGate {
 public:
  explicit StepGate(size_t most) : most_(most) {}
  void enter(std::function<void()> begin) {
    if (most_ == 0) return begin();
    std::unique_lock lock(mutex_);
    waiting_.push_back(std::move(begin));
    pump(lock);
  }
  void leave() {
    if (most_ == 0) return;
    std::unique_lock lock(mutex_);
    --inside_;
    pump(lock);
  }

 private:
  // Steps may end where they begin: a loop, and not a call in a call for everything that waits.
  void pump(std::unique_lock<std::mutex>& lock) {
    if (std::exchange(pumping_, true)) return;
    while (!waiting_.empty() && inside_ < most_) {
      ++inside_;
      const std::function<void()> begin = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      begin();
      lock.lock();
    }
    pumping_ = false;
  }

  size_t most_, inside_ = 0;
  std::mutex mutex_;
  std::deque<std::function<void()>> waiting_;
  bool pumping_ = false;
};

// What all requests of an ensemble share.
struct Plan {
  Plan(const ProgramContext& context, EnsembleGraph checked)
      : model(context.model), graph(std::move(checked)), submit(context.submit) {
    const uint32_t most = model->config->ensemble_scheduling().max_inflight_requests();
    for (size_t i = 0; i < graph.steps.size(); ++i) gates.emplace_back(most);
  }
  std::shared_ptr<const TensorModel> model;
  EnsembleGraph graph;
  SubmitRequest submit;
  std::deque<StepGate> gates;
};

// Tensors that belong together: the request's, or those of one answer of a decoupled step.
struct Wave {
  Wave(size_t number, size_t steps) : id(number), started(steps) {}
  size_t id;
  std::map<std::string, NamedTensor> tensors;
  std::vector<bool> started;
  size_t running = 0;
  std::deque<std::shared_ptr<Wave>> answers;  // of its step that leads to the ensemble's answers, in their order
  bool closed = false;                        // nothing more for the client will come of it
  bool said = false;                          // its result was made
  std::optional<TensorResult> result;
};

// One request on its way through the graph.
class Flow : public std::enable_shared_from_this<Flow> {
 public:
  Flow(std::shared_ptr<Plan> plan, std::unique_ptr<TensorJob> job)
      : plan_(std::move(plan)), job_(std::move(job)), root_(std::make_shared<Wave>(0, graph().steps.size())) {}

  void start() {
    std::unique_lock lock(mutex_);
    for (NamedTensor& tensor : job_->inference.inputs) {
      std::string name = tensor.name;
      root_->tensors[std::move(name)] = std::move(tensor);
    }
    advance(lock, {root_});
  }

 private:
  struct Run {
    size_t step;
    std::shared_ptr<Wave> wave;
    Request request;
  };
  struct Saying {
    TensorResult result;
    Status status;
    bool last = false;
  };

  const EnsembleGraph& graph() const { return plan_->graph; }

  // Starts what can start in the waves that changed, says what can be said, ends the request when nothing is left to
  // wait for. Submitting and saying happen without the lock: a step may answer at once.
  void advance(std::unique_lock<std::mutex>& lock, const std::vector<std::shared_ptr<Wave>>& changed) {
    if (over_) return;
    if (job_->cancelled()) return end(lock, Status(StatusCode::cancelled, "the request was cancelled"));
    std::vector<Run> runs;
    for (const std::shared_ptr<Wave>& wave : changed) {
      start_steps(wave, runs);
      settle(*wave);
    }
    if (graph().answer_wave != 0) collect(*root_);
    if (running_ == 0) return end(lock, Status());
    say(lock);
    lock.unlock();
    for (Run& run : runs) begin(std::move(run));
  }

  void start_steps(const std::shared_ptr<Wave>& wave, std::vector<Run>& runs) {
    for (size_t i = 0; i < graph().steps.size(); ++i) {
      const EnsembleStep& step = graph().steps[i];
      if (step.wave != wave->id || wave->started[i] ||
          !std::all_of(step.inputs.begin(), step.inputs.end(),
                       [&](const auto& input) { return wave->tensors.contains(input.second); }))
        continue;
      wave->started[i] = true;
      ++wave->running;
      ++running_;
      runs.push_back({i, wave, request_for(step, *wave)});
    }
  }

  // Makes the wave's answer when its tensors are there, or when nothing more will come to it.
  void settle(Wave& wave) {
    if (wave.id == graph().answer_wave && !wave.said) {
      size_t there = 0, wanted = 0;
      for (const TensorSpec& output : plan_->model->outputs) {
        if (!asked_for(output.name)) continue;
        ++wanted;
        there += wave.tensors.contains(output.name) ? 1 : 0;
      }
      if (there == wanted || (wave.running == 0 && (there > 0 || wave.id == 0)))
        wave.result = result_of(wave), wave.said = true;
    }
    if (wave.running > 0) return;
    wave.closed = true;
    wave.tensors.clear();
  }

  bool asked_for(const std::string& name) const {
    const auto& asked = job_->inference.outputs;
    return asked.empty() ||
           std::any_of(asked.begin(), asked.end(), [&](const RequestedOutput& one) { return one.name == name; });
  }

  // Answers leave in the order of the answers that they come from, whichever of them ran faster. True when nothing of
  // `wave` is left to be waited for.
  bool collect(Wave& wave) {
    if (wave.id == graph().answer_wave) {
      if (wave.result) outbox_.push_back({.result = std::move(*wave.result), .status = Status()});
      wave.result.reset();
      return wave.said || wave.closed;
    }
    while (!wave.answers.empty()) {
      if (!collect(*wave.answers.front())) return false;
      wave.answers.pop_front();
    }
    return wave.closed;
  }

  void begin(Run run) {
    const size_t step = run.step;
    plan_->gates[step].enter([self = shared_from_this(), kept = std::make_shared<Run>(std::move(run))] {
      self->plan_->submit(std::move(kept->request), {[](const std::function<void()>& task) { task(); },
                                                     [self, step = kept->step, wave = kept->wave](Event event) {
                                                       self->heard(step, wave, std::move(event));
                                                     }});
    });
  }

  Request request_for(const EnsembleStep& step, const Wave& wave) const {
    Request request;
    TensorInference inference;
    const TensorInference& own = job_->inference;
    inference.id = own.id;
    inference.version = step.version;
    inference.sequence = own.sequence;
    inference.sequence_start = own.sequence_start;
    inference.sequence_end = own.sequence_end;
    inference.priority = own.priority;
    inference.timeout_us = own.timeout_us;
    inference.parameters = own.parameters;
    for (const auto& [name, tensor] : step.inputs) {
      inference.inputs.push_back(wave.tensors.at(tensor));
      inference.inputs.back().name = name;
    }
    for (const auto& [name, tensor] : step.outputs) inference.outputs.push_back({.name = name});
    request.id = own.id;
    request.model = step.model;
    request.priority = job_->engine_priority;
    request.deadline = job_->deadline;
    request.cancelled = job_->cancel;
    if (job_->trace) request.trace = job_->trace->child();
    request.work = std::move(inference);
    return request;
  }

  void heard(size_t step, const std::shared_ptr<Wave>& wave, Event event) {
    auto* response = std::get_if<Response>(&event);
    if (response != nullptr) plan_->gates[step].leave();
    std::unique_lock lock(mutex_);
    if (over_) return;
    std::vector<std::shared_ptr<Wave>> changed;
    if (auto* more = std::get_if<TensorEvent>(&event)) {
      if (!graph().steps[step].decoupled)
        return end(lock, Status(StatusCode::unavailable,
                                fmt::format("in ensemble '{}', step of model {} has become decoupled since the "
                                            "ensemble was loaded: load the ensemble again",
                                            plan_->model->name, quoted(graph().steps[step].model))));
      changed.push_back(take(step, wave, more->result));
    } else if (response != nullptr) {
      --running_;
      --wave->running;
      if (!response->status.ok())
        return end(lock, response->status.in(fmt::format("in ensemble '{}'", plan_->model->name)));
      auto& last = std::get<TensorResult>(response->outcome);
      if (!last.empty) changed.push_back(take(step, wave, last));
      if (graph().steps[step].decoupled && graph().leads_there[step + 1]) wave->closed = true;
      if (changed.empty() || changed.front() != wave) changed.push_back(wave);
    }
    advance(lock, changed);
  }

  // Puts an answer's tensors where they belong: into the step's own wave, or into a new one.
  std::shared_ptr<Wave> take(size_t step, const std::shared_ptr<Wave>& wave, TensorResult& result) {
    std::shared_ptr<Wave> target = wave;
    if (graph().steps[step].decoupled) {
      target = std::make_shared<Wave>(step + 1, graph().steps.size());
      if (graph().leads_there[step + 1]) wave->answers.push_back(target);
    }
    for (NamedTensor& tensor : result.outputs)
      for (const auto& [name, to] : graph().steps[step].outputs)
        if (name == tensor.name) {
          NamedTensor& kept = target->tensors[to] = tensor;
          kept.name = to;
        }
    return target;
  }

  TensorResult result_of(const Wave& wave) const {
    TensorResult result;
    for (const TensorSpec& output : plan_->model->outputs)
      if (const auto found = wave.tensors.find(output.name); found != wave.tensors.end() && asked_for(output.name))
        result.outputs.push_back(found->second);
    if (const auto* text = std::get_if<std::string>(&job_->inference.sequence))
      result.parameters["sequence_id"] = *text;
    else
      result.parameters["sequence_id"] = static_cast<int64_t>(std::get<uint64_t>(job_->inference.sequence));
    result.parameters["sequence_start"] = job_->inference.sequence_start;
    result.parameters["sequence_end"] = job_->inference.sequence_end;
    return result;
  }

  // The first failure ends the request; what other steps still answer is not heard.
  void end(std::unique_lock<std::mutex>& lock, Status status) {
    over_ = true;
    if (status.ok() && graph().answer_wave == 0 && root_->result->outputs.empty())
      status = Status(StatusCode::invalid,
                      fmt::format("in ensemble '{}', none of its outputs could be made: optional inputs that the steps "
                                  "need were not sent, or steps left outputs out",
                                  plan_->model->name));
    if (!status.ok()) {
      outbox_.push_back({.result = {}, .status = std::move(status), .last = true});
    } else if (graph().answer_wave == 0) {
      outbox_.push_back({.result = std::move(root_->result).value(), .status = Status(), .last = true});
    } else if (!outbox_.empty()) {
      outbox_.back().last = true;  // the final flag goes with the last answer
    } else {
      outbox_.push_back({.result = {}, .status = Status(), .last = true});
      outbox_.back().result.empty = true;
    }
    say(lock);
  }

  // One thread at a time; whoever comes meanwhile leaves what it has to the one at it.
  void say(std::unique_lock<std::mutex>& lock) {
    if (std::exchange(saying_, true)) return;
    while (!outbox_.empty()) {
      Saying next = std::move(outbox_.front());
      outbox_.pop_front();
      lock.unlock();
      if (!next.last)
        job_->answer(std::move(next.result));
      else if (next.status.ok())
        job_->finish(std::move(next.result));
      else
        job_->fail(std::move(next.status));
      lock.lock();
    }
    saying_ = false;
  }

  std::shared_ptr<Plan> plan_;
  std::unique_ptr<TensorJob> job_;
  std::mutex mutex_;
  std::shared_ptr<Wave> root_;
  size_t running_ = 0;
  std::deque<Saying> outbox_;
  bool saying_ = false;
  bool over_ = false;
};

class Ensemble : public TensorProgram {
 public:
  explicit Ensemble(const ProgramContext& context)
      : plan_(std::make_shared<Plan>(context, check_ensemble(*context.model, context.find_model))) {}
  bool quick() const override { return true; }
  void execute(TensorJobs& jobs) override {
    for (auto& job : jobs) std::make_shared<Flow>(plan_, std::move(job))->start();
  }

 private:
  std::shared_ptr<Plan> plan_;
};

// Decoupled when its answers come of a decoupled step, whatever its own configuration says.
void prepare(const ProgramContext& context, TensorModel& model) {
  const EnsembleGraph graph = check_ensemble(model, context.find_model);
  for (TensorSpec& output : model.outputs)
    if (output.labels.empty()) output.labels = graph.labels.at(output.name);
  model.decoupled = graph.answer_wave != 0;
  model.single_answer = !model.decoupled || graph.single_answer;
  if (model.decoupled && model.config->response_cache().enable())
    throw fail(StatusCode::invalid, "model {}: response_cache does not go with a decoupled step", quoted(model.name));
  auto shown = std::make_shared<inference::ModelConfig>(*model.config);
  shown->mutable_model_transaction_policy()->set_decoupled(model.decoupled);
  model.config = std::move(shown);
}

}  // namespace

BackendKind ensemble_backend() {
  return {.name = "ensemble",
          .complete = nullptr,
          .load = [](const ProgramContext& context) -> std::shared_ptr<TensorProgram> {
            return std::make_shared<Ensemble>(context);
          },
          .prepare = prepare};
}

}  // namespace inazuma
