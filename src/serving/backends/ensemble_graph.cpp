#include "serving/backends/ensemble_graph.h"

#include <model_config.pb.h>

#include <algorithm>
#include <set>

namespace inazuma {

namespace {

// In the order of their names: a protobuf map has another each time.
template <class Map>
std::vector<std::pair<std::string, std::string>> sorted(const Map& map) {
  std::vector<std::pair<std::string, std::string>> out(map.begin(), map.end());
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<EnsembleStep> steps_of(const inference::ModelConfig& config) {
  std::vector<EnsembleStep> out;
  for (const auto& step : config.ensemble_scheduling().step())
    out.push_back({.model = step.model_name(),
                   .version = step.model_version() > 0 ? step.model_version() : -1,
                   .inputs = sorted(step.input_map()),
                   .outputs = sorted(step.output_map())});
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

// The wave that tensors share which meet in one place.
class Meeting {
 public:
  Meeting(const TensorModel& ensemble, std::string where) : ensemble_(ensemble), where_(std::move(where)) {}
  void add(const std::string& tensor, size_t wave) {
    if (!first_.empty() && wave != wave_)
      throw fail(StatusCode::invalid,
                 "in ensemble {}, {} originated from different decoupled models ({} and {}): how many answers belong "
                 "together is not known",
                 quoted(ensemble_.name), where_, quoted(first_), quoted(tensor));
    first_ = tensor;
    wave_ = wave;
  }
  size_t wave() const { return wave_; }

 private:
  const TensorModel& ensemble_;
  std::string where_, first_;
  size_t wave_ = 0;
};

// Gives every step its wave, in the order in which steps can start. Those that never can wait for each other.
void find_waves(const TensorModel& ensemble, EnsembleGraph& graph) {
  std::map<std::string, size_t> there;
  for (const TensorSpec& input : ensemble.inputs) there[input.name] = 0;
  std::vector<bool> done(graph.steps.size());
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t i = 0; i < graph.steps.size(); ++i) {
      EnsembleStep& step = graph.steps[i];
      if (done[i] || !std::all_of(step.inputs.begin(), step.inputs.end(),
                                  [&](const auto& input) { return there.contains(input.second); }))
        continue;
      Meeting meeting(ensemble, fmt::format("step of model {} receives inputs", quoted(step.model)));
      for (const auto& [name, tensor] : step.inputs) meeting.add(tensor, there.at(tensor));
      step.wave = meeting.wave();
      for (const auto& [name, tensor] : step.outputs) there[tensor] = step.decoupled ? i + 1 : step.wave;
      done[i] = moved = true;
    }
  }
  for (size_t i = 0; i < graph.steps.size(); ++i)
    if (!done[i])
      throw fail(StatusCode::invalid, "ensemble step {} is part of a circle of steps", quoted(graph.steps[i].model));

  Meeting outputs(ensemble, "its outputs");
  for (const TensorSpec& output : ensemble.outputs) outputs.add(output.name, there.at(output.name));
  graph.answer_wave = outputs.wave();
  graph.leads_there.assign(graph.steps.size() + 1, false);
  for (size_t wave = graph.answer_wave; wave != 0; wave = graph.steps[wave - 1].wave) graph.leads_there[wave] = true;
  graph.leads_there[0] = true;
}

}  // namespace

EnsembleGraph check_ensemble(const TensorModel& ensemble, const FindModel& find_model) {
  EnsembleGraph graph{.steps = steps_of(*ensemble.config), .leads_there = {}, .labels = {}};
  std::map<std::string, Port> ports;
  for (const TensorSpec& input : ensemble.inputs)
    ports[input.name] = {input.type, ensemble.shown_shape(input), {}, "the ensemble's input"};
  std::vector<std::shared_ptr<const TensorModel>> models;
  for (EnsembleStep& step : graph.steps) {
    const Result<std::shared_ptr<Backend>> found = find_model(step.model, step.version);
    if (!found.ok())
      throw fail(StatusCode::invalid, "ensemble step {}: {}", quoted(step.model), found.status().message());
    models.push_back((*found)->tensor_model());
    step.decoupled = models.back()->decoupled;
    if (!models.back()->single_answer) graph.single_answer = false;
    for (const auto& [name, tensor] : step.outputs) {
      const TensorSpec& spec = known(models.back()->output(name), name, step.model, "output");
      if (!ports
               .emplace(tensor, Port{spec.type, models.back()->shown_shape(spec), spec.labels,
                                     fmt::format("output {} of {}", quoted(name), quoted(step.model))})
               .second)
        throw fail(StatusCode::invalid, "ensemble tensor {} has two sources", quoted(tensor));
    }
  }
  for (size_t i = 0; i < graph.steps.size(); ++i) {
    const EnsembleStep& step = graph.steps[i];
    std::set<std::string> mapped;
    for (const auto& [name, tensor] : step.inputs) {
      const TensorSpec& spec = known(models[i]->input(name), name, step.model, "input");
      mapped.insert(name);
      const auto made = ports.find(tensor);
      if (made == ports.end())
        throw fail(StatusCode::invalid, "ensemble tensor {}, input {} of step {}, comes from nowhere", quoted(tensor),
                   quoted(name), quoted(step.model));
      check_same(made->second, spec.type, models[i]->shown_shape(spec), tensor,
                 fmt::format("input {} of {}", quoted(name), quoted(step.model)));
    }
    for (const TensorSpec& input : models[i]->inputs)
      if (!input.optional && !mapped.contains(input.name))
        throw fail(StatusCode::invalid, "ensemble step {}: input {} is not mapped", quoted(step.model),
                   quoted(input.name));
  }
  for (const TensorSpec& output : ensemble.outputs) {
    const auto made = ports.find(output.name);
    if (made == ports.end())
      throw fail(StatusCode::invalid, "ensemble output {} comes from no step", quoted(output.name));
    check_same(made->second, output.type, ensemble.shown_shape(output), output.name, "the ensemble's output");
  }
  find_waves(ensemble, graph);
  for (auto& [tensor, port] : ports) graph.labels[tensor] = std::move(port.labels);
  return graph;
}

}  // namespace inazuma
