// `platform: "ensemble"`: other models of the server as steps of a data flow. A step runs when all its inputs are
// there; steps that do not wait for each other run side by side.

#include <model_config.pb.h>

#include <mutex>
#include <set>

#include "serving/backends/program.h"

namespace inazuma {

namespace {

struct Step {
  std::string model;
  int64_t version = -1;
  std::vector<std::pair<std::string, std::string>> inputs;  // the model's name, the ensemble's
  std::vector<std::pair<std::string, std::string>> outputs;
};

std::vector<Step> steps_of(const inference::ModelConfig& config) {
  std::vector<Step> out;
  for (const auto& step : config.ensemble_scheduling().step())
    out.push_back({.model = step.model_name(),
                   .version = step.model_version() > 0 ? step.model_version() : -1,
                   .inputs = {step.input_map().begin(), step.input_map().end()},
                   .outputs = {step.output_map().begin(), step.output_map().end()}});
  return out;
}

struct Port {
  DataType type;
  std::vector<int64_t> shape;
  std::vector<std::string> labels;
  std::string where;
};

void check_same(const Port& made, DataType type, const std::vector<int64_t>& shape, const std::string& tensor,
                const std::string& where) {
  if (made.type != type)
    throw fail(StatusCode::invalid, "ensemble tensor {}: {} gives {}, {} takes {}", quoted(tensor), made.where,
               wire_name(made.type), where, wire_name(type));
  const bool fits = std::equal(made.shape.begin(), made.shape.end(), shape.begin(), shape.end(),
                               [](int64_t a, int64_t b) { return a == b || a == -1 || b == -1; });
  if (!fits)
    throw fail(StatusCode::invalid, "ensemble tensor {}: {} gives shape {}, {} takes {}", quoted(tensor), made.where,
               show(made.shape), where, show(shape));
}

const TensorSpec& known(const TensorSpec* spec, const std::string& name, const std::string& model, const char* kind) {
  if (spec == nullptr)
    throw fail(StatusCode::invalid, "ensemble step {} maps {} {}, which the model does not have", quoted(model), kind,
               quoted(name));
  return *spec;
}

// Checks the whole graph; afterwards every tensor has one maker, and `ports` tells what flows.
std::map<std::string, Port> check_graph(const TensorModel& ensemble, const std::vector<Step>& steps,
                                        const FindModel& find_model) {
  std::map<std::string, Port> ports;
  for (const TensorSpec& input : ensemble.inputs)
    ports[input.name] = {input.type, ensemble.shown_shape(input), {}, "the ensemble's input"};
  std::vector<std::shared_ptr<const TensorModel>> models;
  for (const Step& step : steps) {
    const Result<std::shared_ptr<Backend>> found = find_model(step.model, step.version);
    if (!found.ok())
      throw fail(StatusCode::invalid, "ensemble step {}: {}", quoted(step.model), found.status().message());
    models.push_back((*found)->tensor_model());
    if (models.back()->decoupled)
      throw fail(StatusCode::unsupported, "ensemble step {} is a decoupled model; steps must answer once",
                 quoted(step.model));
    for (const auto& [name, tensor] : step.outputs) {
      const TensorSpec& spec = known(models.back()->output(name), name, step.model, "output");
      if (!ports
               .emplace(tensor, Port{spec.type, models.back()->shown_shape(spec), spec.labels,
                                     fmt::format("output {} of {}", quoted(name), quoted(step.model))})
               .second)
        throw fail(StatusCode::invalid, "ensemble tensor {} has two sources", quoted(tensor));
    }
  }
  for (size_t i = 0; i < steps.size(); ++i) {
    std::set<std::string> mapped;
    for (const auto& [name, tensor] : steps[i].inputs) {
      const TensorSpec& spec = known(models[i]->input(name), name, steps[i].model, "input");
      mapped.insert(name);
      const auto made = ports.find(tensor);
      if (made == ports.end())
        throw fail(StatusCode::invalid, "ensemble tensor {}, input {} of step {}, comes from nowhere", quoted(tensor),
                   quoted(name), quoted(steps[i].model));
      check_same(made->second, spec.type, models[i]->shown_shape(spec), tensor,
                 fmt::format("input {} of {}", quoted(name), quoted(steps[i].model)));
    }
    for (const TensorSpec& input : models[i]->inputs)
      if (!input.optional && !mapped.contains(input.name))
        throw fail(StatusCode::invalid, "ensemble step {}: input {} is not mapped", quoted(steps[i].model),
                   quoted(input.name));
  }
  for (const TensorSpec& output : ensemble.outputs) {
    const auto made = ports.find(output.name);
    if (made == ports.end())
      throw fail(StatusCode::invalid, "ensemble output {} comes from no step", quoted(output.name));
    check_same(made->second, output.type, ensemble.shown_shape(output), output.name, "the ensemble's output");
  }
  // Steps that can never start wait for each other.
  std::set<std::string> there;
  for (const TensorSpec& input : ensemble.inputs) there.insert(input.name);
  std::vector<bool> done(steps.size());
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t i = 0; i < steps.size(); ++i) {
      if (done[i] || !std::all_of(steps[i].inputs.begin(), steps[i].inputs.end(),
                                  [&](const auto& input) { return there.contains(input.second); }))
        continue;
      for (const auto& output : steps[i].outputs) there.insert(output.second);
      done[i] = moved = true;
    }
  }
  for (size_t i = 0; i < steps.size(); ++i)
    if (!done[i])
      throw fail(StatusCode::invalid, "ensemble step {} is part of a circle of steps", quoted(steps[i].model));
  return ports;
}

// One request on its way through the graph.
class Flow : public std::enable_shared_from_this<Flow> {
 public:
  Flow(std::shared_ptr<const TensorModel> model, std::shared_ptr<const std::vector<Step>> steps, SubmitRequest submit,
       std::unique_ptr<TensorJob> job)
      : model_(std::move(model)),
        steps_(std::move(steps)),
        submit_(std::move(submit)),
        job_(std::move(job)),
        started_(steps_->size()) {}

  void start() {
    std::unique_lock lock(mutex_);
    for (NamedTensor& tensor : job_->inference.inputs) {
      std::string name = tensor.name;
      tensors_[std::move(name)] = std::move(tensor);
    }
    advance(lock);
  }

 private:
  // Starts what can start; ends the request when nothing is left to wait for. Submitting happens without the lock: a
  // step may answer at once.
  void advance(std::unique_lock<std::mutex>& lock) {
    std::vector<size_t> ready;
    if (status_.ok() && job_->cancelled()) status_ = Status(StatusCode::cancelled, "the request was cancelled");
    for (size_t i = 0; status_.ok() && i < steps_->size(); ++i) {
      const auto& inputs = (*steps_)[i].inputs;
      if (started_[i] || !std::all_of(inputs.begin(), inputs.end(),
                                      [&](const auto& input) { return tensors_.contains(input.second); }))
        continue;
      started_[i] = true;
      ready.push_back(i);
    }
    running_ += ready.size();
    if (running_ == 0) return end();
    std::vector<Request> requests;
    for (const size_t i : ready) requests.push_back(request_for((*steps_)[i]));
    lock.unlock();
    for (size_t k = 0; k < ready.size(); ++k)
      submit_(std::move(requests[k]), {[](const std::function<void()>& task) { task(); },
                                       [self = shared_from_this(), step = ready[k]](Event event) {
                                         if (auto* response = std::get_if<Response>(&event))
                                           self->heard(step, std::move(*response));
                                       }});
  }

  Request request_for(const Step& step) const {
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
      inference.inputs.push_back(tensors_.at(tensor));
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

  void heard(size_t step, Response response) {
    std::unique_lock lock(mutex_);
    --running_;
    if (!response.status.ok()) {
      if (status_.ok()) status_ = response.status.in(fmt::format("in ensemble '{}'", model_->name));
    } else {
      for (NamedTensor& tensor : std::get<TensorResult>(response.outcome).outputs)
        for (const auto& [name, target] : (*steps_)[step].outputs)
          if (name == tensor.name) {
            NamedTensor& kept = tensors_[target] = tensor;
            kept.name = target;
          }
    }
    advance(lock);
  }

  void end() {
    if (!status_.ok()) return job_->fail(std::move(status_));
    TensorResult result;
    for (const TensorSpec& output : model_->outputs)
      if (const auto found = tensors_.find(output.name); found != tensors_.end())
        result.outputs.push_back(found->second);
    if (const auto* text = std::get_if<std::string>(&job_->inference.sequence))
      result.parameters["sequence_id"] = *text;
    else
      result.parameters["sequence_id"] = static_cast<int64_t>(std::get<uint64_t>(job_->inference.sequence));
    result.parameters["sequence_start"] = job_->inference.sequence_start;
    result.parameters["sequence_end"] = job_->inference.sequence_end;
    job_->finish(std::move(result));
  }

  std::shared_ptr<const TensorModel> model_;
  std::shared_ptr<const std::vector<Step>> steps_;
  SubmitRequest submit_;
  std::unique_ptr<TensorJob> job_;
  std::mutex mutex_;
  std::map<std::string, NamedTensor> tensors_;
  std::vector<bool> started_;
  size_t running_ = 0;
  Status status_;
};

class Ensemble : public TensorProgram {
 public:
  explicit Ensemble(const ProgramContext& context)
      : model_(context.model),
        steps_(std::make_shared<const std::vector<Step>>(steps_of(*context.model->config))),
        submit_(context.submit) {}
  bool quick() const override { return true; }
  void execute(TensorJobs& jobs) override {
    for (auto& job : jobs) std::make_shared<Flow>(model_, steps_, submit_, std::move(job))->start();
  }

 private:
  std::shared_ptr<const TensorModel> model_;
  std::shared_ptr<const std::vector<Step>> steps_;
  SubmitRequest submit_;
};

}  // namespace

BackendKind ensemble_backend() {
  return {.name = "ensemble",
          .complete = nullptr,
          .load = [](const ProgramContext& context) -> std::shared_ptr<TensorProgram> {
            return std::make_shared<Ensemble>(context);
          },
          .prepare =
              [](const ProgramContext& context, TensorModel& model) {
                const auto ports = check_graph(model, steps_of(*model.config), context.find_model);
                for (TensorSpec& output : model.outputs)
                  if (output.labels.empty()) output.labels = ports.at(output.name).labels;
              }};
}

}  // namespace inazuma
