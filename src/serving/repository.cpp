#include "serving/repository.h"

#include <utility>

namespace inazuma {

std::string_view name(ModelState state) {
  switch (state) {
    case ModelState::loading: return "LOADING";
    case ModelState::ready: return "READY";
    case ModelState::failed: return "UNAVAILABLE";
  }
  return "UNAVAILABLE";
}

const ServedModel* RepositorySnapshot::find(std::string_view id) const {
  for (const ServedModel& model : models)
    if (model.id == id) return &model;
  return nullptr;
}

std::string RepositorySnapshot::names() const {
  std::string out;
  for (const ServedModel& model : models) {
    if (!out.empty()) out += ", ";
    out += quoted(model.id);
  }
  return out.empty() ? "none" : out;
}

Status Repository::announce(const std::vector<std::string>& ids) {
  const std::lock_guard lock(mutex_);
  auto next = std::make_shared<RepositorySnapshot>(*snapshot_);
  for (const std::string& id : ids) {
    if (next->find(id) != nullptr)
      return Status(StatusCode::invalid, fmt::format("two models are called {}; give one another name (NAME=DIR)", quoted(id)));
    next->models.emplace_back().id = id;
  }
  snapshot_ = std::move(next);
  return Status();
}

template <class Change>
void Repository::change(std::string_view id, Change&& apply) {
  const std::lock_guard lock(mutex_);
  auto next = std::make_shared<RepositorySnapshot>(*snapshot_);
  for (ServedModel& model : next->models)
    if (model.id == id) apply(model);
  snapshot_ = std::move(next);
}

void Repository::set_ready(std::string_view id, std::shared_ptr<Backend> backend) {
  change(id, [&](ServedModel& model) { model.state = ModelState::ready, model.backend = std::move(backend), model.reason.clear(); });
}

void Repository::set_failed(std::string_view id, std::string reason) {
  change(id, [&](ServedModel& model) { model.state = ModelState::failed, model.reason = std::move(reason); });
}

void Repository::clear() {
  std::shared_ptr<const RepositorySnapshot> last;
  const std::lock_guard lock(mutex_);
  last = std::exchange(snapshot_, std::make_shared<RepositorySnapshot>());
}

std::shared_ptr<const RepositorySnapshot> Repository::snapshot() const {
  const std::lock_guard lock(mutex_);
  return snapshot_;
}

}  // namespace inazuma
