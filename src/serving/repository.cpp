#include "serving/repository.h"

#include <algorithm>
#include <utility>

namespace inazuma {

namespace {

ServedModel* find_model(RepositorySnapshot& snapshot, std::string_view id) {
  for (ServedModel& model : snapshot.models)
    if (model.id == id) return &model;
  return nullptr;
}

}  // namespace

std::string_view name(ModelState state) {
  switch (state) {
    case ModelState::loading: return "LOADING";
    case ModelState::ready: return "READY";
    case ModelState::unloading: return "UNLOADING";
    case ModelState::failed:
    case ModelState::unloaded: return "UNAVAILABLE";
  }
  return "UNAVAILABLE";
}

const ServedVersion* ServedModel::current() const {
  for (auto version = versions.rbegin(); version != versions.rend(); ++version)
    if (version->state == ModelState::ready) return &*version;
  return versions.empty() ? nullptr : &versions.back();
}

const ServedVersion* ServedModel::find(int64_t number) const {
  for (const ServedVersion& version : versions)
    if (version.number == number) return &version;
  return nullptr;
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
      return Status(StatusCode::invalid,
                    fmt::format("two models are called {}; give one another name (NAME=DIR)", quoted(id)));
    next->models.push_back({.id = id, .versions = {ServedVersion{}}});
  }
  snapshot_ = std::move(next);
  return Status();
}

template <class Change>
void Repository::change(Change&& apply) {
  std::shared_ptr<const RepositorySnapshot> last;  // let go outside the lock: backends take their time
  const std::lock_guard lock(mutex_);
  auto next = std::make_shared<RepositorySnapshot>(*snapshot_);
  apply(*next);
  last = std::exchange(snapshot_, std::move(next));
}

void Repository::set_ready(std::string_view id, std::shared_ptr<Backend> backend) {
  change([&](RepositorySnapshot& next) {
    if (ServedModel* model = find_model(next, id))
      model->versions = {{.number = 1, .state = ModelState::ready, .reason = "", .backend = std::move(backend)}};
  });
}

void Repository::set_failed(std::string_view id, std::string reason) {
  change([&](RepositorySnapshot& next) {
    if (ServedModel* model = find_model(next, id))
      model->versions = {{.number = 1, .state = ModelState::failed, .reason = std::move(reason), .backend = nullptr}};
  });
}

void Repository::replace(std::string_view id, std::vector<ServedVersion> versions) {
  std::sort(versions.begin(), versions.end(),
            [](const ServedVersion& a, const ServedVersion& b) { return a.number < b.number; });
  change([&](RepositorySnapshot& next) {
    ServedModel* model = find_model(next, id);
    if (model == nullptr) model = &next.models.emplace_back(ServedModel{.id = std::string(id), .versions = {}});
    model->versions = std::move(versions);
  });
}

void Repository::set_state(std::string_view id, int64_t number, ModelState state, std::string reason) {
  change([&](RepositorySnapshot& next) {
    if (ServedModel* model = find_model(next, id))
      for (ServedVersion& version : model->versions)
        if (version.number == number) version.state = state, version.reason = std::move(reason);
  });
}

void Repository::remove(std::string_view id) {
  change([&](RepositorySnapshot& next) {
    std::erase_if(next.models, [&](const ServedModel& model) { return model.id == id; });
  });
}

void Repository::clear() {
  change([](RepositorySnapshot& next) { next.models.clear(); });
}

std::shared_ptr<const RepositorySnapshot> Repository::snapshot() const {
  const std::lock_guard lock(mutex_);
  return snapshot_;
}

}  // namespace inazuma
