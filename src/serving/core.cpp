#include "serving/core.h"

#include <grpc_service.pb.h>

#include <thread>

#include "base/log.h"
#include "serving/tasks/task.h"

namespace inazuma {

namespace {

int items(const Work& work) {
  return std::visit(
      [](const auto& typed) {
        using T = std::decay_t<decltype(typed)>;
        if constexpr (std::is_same_v<T, SentenceSimilarity>)
          return static_cast<int>(typed.sentences.size()) + 1;
        else if constexpr (std::is_same_v<T, TensorInference>)
          return 0;  // the model says how large the batch was
        else if constexpr (std::is_same_v<T, Decode>)
          return static_cast<int>(typed.ids.size());
        else
          return static_cast<int>(typed.inputs.size());
      },
      work);
}

// The end of a decoupled request may come without an answer.
bool answers(const Response& response) {
  const auto* result = std::get_if<TensorResult>(&response.outcome);
  return response.status.ok() && (result == nullptr || !result->empty);
}

}  // namespace

Result<std::shared_ptr<Backend>> Core::backend(std::string_view model) const {
  const std::shared_ptr<const RepositorySnapshot> snapshot = repository_.snapshot();
  const ServedModel* served =
      model.empty() ? (snapshot->models.empty() ? nullptr : &snapshot->models.front()) : snapshot->find(model);
  if (served == nullptr)
    return Status(StatusCode::not_found,
                  fmt::format("model {} is not served here; served: {}", quoted(model), snapshot->names()));
  const ServedVersion* version = served->current();
  if (version == nullptr) return Status(StatusCode::unavailable, fmt::format("Model {} has no version", served->id));
  switch (version->state) {
    case ModelState::ready: return version->backend;
    case ModelState::loading:
      return Status(StatusCode::unavailable, fmt::format("Model {} is currently loading", served->id));
    case ModelState::failed:
      return Status(StatusCode::unavailable,
                    fmt::format("Model {} could not be loaded: {}", served->id, version->reason));
    case ModelState::unloading:
    case ModelState::unloaded: break;
  }
  return Status(StatusCode::unavailable, fmt::format("Model {} was unloaded", served->id));
}

Result<std::shared_ptr<Backend>> Core::tensor_backend(std::string_view model, int64_t version) const {
  const std::shared_ptr<const RepositorySnapshot> snapshot = repository_.snapshot();
  const ServedModel* served = snapshot->find(model);
  if (served == nullptr)
    return Status(StatusCode::not_found, fmt::format("Request for unknown model: {} is not found", quoted(model)));
  const ServedVersion* found = version == -1 ? served->current() : served->find(version);
  if (version == -1 && (found == nullptr || found->state != ModelState::ready))
    return Status(StatusCode::not_found,
                  fmt::format("Request for unknown model: {} has no available versions", quoted(model)));
  if (found == nullptr)
    return Status(StatusCode::not_found,
                  fmt::format("Request for unknown model: {} version {} is not found", quoted(model), version));
  if (found->state != ModelState::ready)
    return Status(StatusCode::unavailable, fmt::format("Request for unknown model: {} version {} is not at ready state",
                                                       quoted(model), version));
  if (found->backend && found->backend->stats().lost)
    return Status(StatusCode::unavailable,
                  fmt::format("model {} is not at ready state: its device is lost", quoted(model)));
  if (found->backend->tensor_model() == nullptr)
    return Status(StatusCode::unsupported,
                  fmt::format("model {} takes no tensors; use the text routes", quoted(model)));
  return found->backend;
}

std::vector<int64_t> Core::ready_versions(std::string_view model) const {
  std::vector<int64_t> out;
  const auto snapshot = repository_.snapshot();
  if (const ServedModel* served = snapshot->find(model))
    for (const ServedVersion& version : served->versions)
      if (version.state == ModelState::ready) out.push_back(version.number);
  return out;
}

Result<std::vector<inference::ModelStatistics>> Core::statistics(std::string_view model, int64_t version) const {
  std::vector<inference::ModelStatistics> out;
  const auto snapshot = repository_.snapshot();
  for (const ServedModel& served : snapshot->models) {
    if (!model.empty() && served.id != model) continue;
    for (const ServedVersion& one : served.versions) {
      if (one.state != ModelState::ready || (version != -1 && one.number != version)) continue;
      inference::ModelStatistics& statistics = out.emplace_back();
      statistics.set_name(served.id);
      statistics.set_version(std::to_string(one.number));
      one.backend->write_statistics(statistics);
    }
  }
  if (out.empty() && !model.empty())
    return Status(StatusCode::invalid,
                  version == -1 ? fmt::format("requested model {} is not available", quoted(model))
                                : fmt::format("requested model version is not available for model {}", quoted(model)));
  return out;
}

namespace {

// Model Analyzer looks for "polling is enabled".
Status no_control(std::string_view what) {
  return Status(StatusCode::unavailable,
                fmt::format("explicit model load / unload is not allowed if polling is enabled or the model control "
                            "mode is none: {} needs --model-control-mode=explicit",
                            what));
}

}  // namespace

Status Core::load(const std::string& model, const LoadOverrides& overrides) {
  return control_ ? control_->load(model, overrides) : no_control("load");
}
Status Core::unload(const std::string& model, bool dependents) {
  return control_ ? control_->unload(model, dependents) : no_control("unload");
}

std::vector<IndexEntry> Core::index(bool ready_only) const {
  if (control_) return control_->index(ready_only);
  std::vector<IndexEntry> out;
  for (const ServedModel& model : repository_.snapshot()->models)
    for (const ServedVersion& version : model.versions)
      if (!ready_only || version.state == ModelState::ready)
        out.push_back({model.id, std::to_string(version.number), std::string(name(version.state)), version.reason});
  return out;
}

void Core::submit(Request request, Receiver receiver) {
  const auto* tensors = std::get_if<TensorInference>(&request.work);
  const Result<std::shared_ptr<Backend>> found =
      tensors != nullptr ? tensor_backend(request.model, tensors->version) : backend(request.model);
  if (!found.ok()) {
    Response refusal;
    refusal.status = found.status();
    refusal.usage.total = Clock::now() - request.arrival;
    return receiver.on_event(std::move(refusal));
  }
  if (request.deadline == Clock::time_point::max() && options_.default_deadline != Clock::duration::max())
    request.deadline = request.arrival + options_.default_deadline;

  ++inflight_;
  metrics_.inflight(1);
  const int count = items(request.work);
  const auto model = (*found)->tensor_model();
  CountedModel who = CountedModel::of(**found, model ? model->version : 1);
  const Clock::time_point arrival = request.arrival;
  // Shared by the copies of the receiver; null where nobody counts first answers.
  const auto awaited =
      options_.metrics.histograms && model && model->decoupled ? std::make_shared<bool>(true) : nullptr;
  Receiver counted{receiver.post, [this, receiver, count, who = std::move(who), arrival, awaited](Event event) {
                     const auto* response = std::get_if<Response>(&event);
                     if (awaited && *awaited && (response == nullptr || answers(*response))) {
                       metrics_.first_response(who, Clock::now() - arrival);
                       *awaited = false;
                     }
                     if (response != nullptr) {
                       metrics_.count_request(who, response->status, response->usage,
                                              count > 0 ? count : response->usage.batch);
                       metrics_.inflight(-1);
                       --inflight_;
                     }
                     receiver.on_event(std::move(event));
                   }};
  (*found)->submit(std::move(request), std::move(counted));
}

bool Core::live() const {
  const Clock::time_point now = Clock::now();
  for (const ServedModel& model : repository_.snapshot()->models)
    for (const ServedVersion& version : model.versions)
      if (version.backend && now - version.backend->stats().heartbeat > options_.stall_timeout) return false;
  return true;
}

bool Core::ready() const {
  if (draining()) return false;
  const auto snapshot = repository_.snapshot();
  if (snapshot->models.empty()) return false;
  if (options_.strict_readiness)
    for (const ServedModel& model : snapshot->models)
      for (const ServedVersion& version : model.versions)
        if (version.state == ModelState::loading || version.state == ModelState::failed ||
            (version.backend && version.backend->stats().lost))
          return false;
  return live();
}

bool Core::drain(Clock::time_point until) {
  start_draining();
  while (inflight_.load() > 0 && Clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  bool all = inflight_.load() == 0;
  for (const ServedModel& model : repository_.snapshot()->models)
    for (const ServedVersion& version : model.versions)
      if (version.backend && !version.backend->drain(until)) all = false;
  return all;
}

}  // namespace inazuma
