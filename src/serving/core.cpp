#include "serving/core.h"

#include <thread>

#include "base/log.h"
#include "serving/tasks/task.h"

namespace inazuma {

namespace {

int items(const Work& work) {
  return std::visit(
      [](const auto& typed) {
        using T = std::decay_t<decltype(typed)>;
        if constexpr (std::is_same_v<T, SentenceSimilarity>) return static_cast<int>(typed.sentences.size()) + 1;
        else if constexpr (std::is_same_v<T, Decode>) return static_cast<int>(typed.ids.size());
        else return static_cast<int>(typed.inputs.size());
      },
      work);
}

}  // namespace

Result<std::shared_ptr<Backend>> Core::backend(std::string_view model) const {
  const std::shared_ptr<const RepositorySnapshot> snapshot = repository_.snapshot();
  const ServedModel* served = model.empty() ? (snapshot->models.empty() ? nullptr : &snapshot->models.front()) : snapshot->find(model);
  if (served == nullptr) return Status(StatusCode::not_found, fmt::format("model {} is not served here; served: {}", quoted(model), snapshot->names()));
  if (served->state == ModelState::loading) return Status(StatusCode::unavailable, fmt::format("Model {} is currently loading", served->id));
  if (served->state == ModelState::failed) return Status(StatusCode::unavailable, fmt::format("Model {} could not be loaded: {}", served->id, served->reason));
  return served->backend;
}

void Core::submit(Request request, Receiver receiver) {
  const Result<std::shared_ptr<Backend>> found = backend(request.model);
  if (!found.ok()) {
    Response refusal;
    refusal.status = found.status();
    refusal.usage.total = Clock::now() - request.arrival;
    return receiver.on_event(std::move(refusal));
  }
  if (request.deadline == Clock::time_point::max() && options_.default_deadline != Clock::duration::max()) request.deadline = request.arrival + options_.default_deadline;

  ++inflight_;
  metrics_.inflight(1);
  const int count = items(request.work);
  const std::string id = (*found)->info().id;
  Receiver counted{receiver.post, [this, receiver, count, id](Event event) {
                     if (const auto* response = std::get_if<Response>(&event)) {
                       metrics_.count_request(id, response->status, response->usage, count);
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
    if (model.backend && now - model.backend->stats().heartbeat > options_.stall_timeout) return false;
  return true;
}

bool Core::ready() const {
  if (draining()) return false;
  const auto snapshot = repository_.snapshot();
  if (snapshot->models.empty()) return false;
  for (const ServedModel& model : snapshot->models)
    if (model.state != ModelState::ready) return false;
  return live();
}

bool Core::drain(Clock::time_point until) {
  start_draining();
  while (inflight_.load() > 0 && Clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  bool all = inflight_.load() == 0;
  for (const ServedModel& model : repository_.snapshot()->models)
    if (model.backend && !model.backend->drain(until)) all = false;
  return all;
}

}  // namespace inazuma
