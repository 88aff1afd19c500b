#include "serving/repository/model_manager.h"

#include <google/protobuf/util/message_differencer.h>

#include "base/log.h"
#include "serving/repository/file_overrides.h"

namespace inazuma {

namespace fs = std::filesystem;

namespace {

// The words of the reference's load reasons.
std::string_view code_text(StatusCode code) {
  switch (code) {
    case StatusCode::not_found: return "Not found";
    case StatusCode::unavailable:
    case StatusCode::overloaded: return "Unavailable";
    case StatusCode::unsupported: return "Unsupported";
    case StatusCode::internal:
    case StatusCode::out_of_memory: return "Internal";
    default: return "Invalid argument";
  }
}

// What load says when it never came to loading: the configuration or the directory is at fault.
Status poll_failure(const std::string& model, std::string_view reason) {
  return Status(StatusCode::internal, fmt::format("failed to load '{}', failed to poll from model repository{}{}",
                                                  model, reason.empty() ? "" : ": ", reason));
}

// What can change without loading weights again, as in the reference.
bool differ_in_instances_only(const inference::ModelConfig& a, const inference::ModelConfig& b) {
  google::protobuf::util::MessageDifferencer differ;
  differ.IgnoreField(inference::ModelConfig::descriptor()->FindFieldByName("instance_group"));
  differ.IgnoreField(inference::ModelConfig::descriptor()->FindFieldByName("version_policy"));
  return differ.Compare(a, b);
}

bool serves(const RepositorySnapshot& snapshot, const std::string& model) {
  const ServedModel* served = snapshot.find(model);
  return served != nullptr && served->current() != nullptr && served->current()->state == ModelState::ready;
}

/// What of `before` is not in `after`, by number.
std::vector<Retirement::Leaving> those_leaving(const std::string& model, const std::vector<ServedVersion>& before,
                                               const std::vector<ServedVersion>& after, bool unloading) {
  std::vector<Retirement::Leaving> out;
  for (const ServedVersion& old : before)
    if (old.backend &&
        std::none_of(after.begin(), after.end(), [&](const ServedVersion& kept) { return kept.number == old.number; }))
      out.push_back({model, old.number, old.backend, unloading});
  return out;
}

}  // namespace

ModelManager::ModelManager(Core& core, ManagerOptions options)
    : core_(core), options_(std::move(options)), retirement_(std::make_unique<Retirement>(core.repository())) {
  // Ensembles keep these: they may outlive the manager, never the core.
  options_.loader.find_model = [door = &core_](const std::string& model, int64_t version) {
    return door->tensor_backend(model, version);
  };
  options_.loader.submit = [door = &core_](Request request, Receiver receiver) {
    door->submit(std::move(request), std::move(receiver));
  };
}

ModelManager::~ModelManager() {
  {
    const std::lock_guard lock(poll_mutex_);
    stopping_ = true;
  }
  poll_wake_.notify_all();
  if (poller_.joinable()) poller_.join();
  retirement_.reset();  // before the files that leaving models were read from
  for (const auto& [name, state] : known_)
    if (!state->files.empty()) fs::remove_all(state->files);
}

Status ModelManager::start() {
  const Result<RepositoryLayout> layout = scan_repositories(options_.repositories);
  if (!layout.ok()) return layout.status();
  std::vector<std::string> names;
  const bool all = options_.mode != ControlMode::explicit_ ||
                   (options_.load_models.size() == 1 && options_.load_models.front() == "*");
  if (all)
    for (const auto& [name, path] : layout->models) names.push_back(name);
  else
    names = options_.load_models;
  if (const Status announced = core_.repository().announce(names); !announced.ok()) return announced;
  Status first;
  for (const std::string& name : names) {
    const Clock::time_point begin = Clock::now();
    const Status status = load_model(name, {}, true, {});
    if (status.ok()) {
      log::info("model loaded", {{"model", name}, {"seconds", seconds(Clock::now() - begin)}});
      continue;
    }
    log::error("model not loaded", {{"model", name}, {"reason", status.message()}});
    if (first.ok()) first = status;
  }
  if (options_.mode == ControlMode::poll)
    poller_ = std::thread([this] {
      std::unique_lock lock(poll_mutex_);
      while (!poll_wake_.wait_for(lock, options_.poll_interval, [&] { return stopping_; })) {
        lock.unlock();
        poll();
        lock.lock();
      }
    });
  return first;
}

std::shared_ptr<ModelManager::Known> ModelManager::known(const std::string& model) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Known>& state = known_[model];
  if (!state) state = std::make_shared<Known>();
  return state;
}

Status ModelManager::load(const std::string& model, const LoadOverrides& overrides) {
  if (options_.mode != ControlMode::explicit_)
    return Status(StatusCode::unavailable, options_.mode == ControlMode::poll
                                               ? "explicit model load / unload is not allowed if polling is enabled"
                                               : "explicit model load / unload is not allowed if polling is enabled or "
                                                 "the control mode is none; start with --model-control-mode=explicit");
  const Status status = load_model(model, overrides, true, {});
  if (status.ok())
    log::info("model loaded", {{"model", model}});
  else
    log::warn("model not loaded", {{"model", model}, {"reason", status.message()}});
  return status;
}

std::vector<std::string> ModelManager::parts_of(const inference::ModelConfig& config) const {
  std::vector<std::string> out;
  for (const auto& step : config.ensemble_scheduling().step())
    if (std::find(out.begin(), out.end(), step.model_name()) == out.end()) out.push_back(step.model_name());
  return out;
}

// `keep`: what serves goes on serving.
Status ModelManager::fail_load(const std::string& model, int64_t version, const Status& reason, bool keep) {
  const Status failed(StatusCode::invalid,
                      fmt::format("load failed for model '{}': version {} is at UNAVAILABLE state: {}: {};\n", model,
                                  std::max<int64_t>(version, 1), code_text(reason.code()), reason.message()));
  const auto snapshot = core_.repository().snapshot();
  if (keep && serves(*snapshot, model)) return failed;
  core_.repository().replace(model, {{.number = std::max<int64_t>(version, 1),
                                      .state = ModelState::failed,
                                      .reason = fmt::format("{}: {}", code_text(reason.code()), reason.message()),
                                      .backend = nullptr}});
  if (const ServedModel* served = snapshot->find(model))
    retirement_->add(those_leaving(model, served->versions, {}, false));
  return failed;
}

Status ModelManager::load_model(const std::string& model, const LoadOverrides& overrides, bool asked_for,
                                std::vector<std::string> above) {
  if (const Status name = check_model_name(model); !name.ok()) return name;
  if (!overrides.files.empty() && overrides.config.empty())
    return Status(StatusCode::invalid, fmt::format("load of '{}': file overrides need a config override", model));
  const Result<RepositoryLayout> layout = scan_repositories(options_.repositories);
  if (!layout.ok()) return layout.status();
  const auto found = layout->models.find(model);
  if (layout->twice.contains(model)) {
    core_.repository().replace(model, {{.number = 1,
                                        .state = ModelState::failed,
                                        .reason = "model appears in two or more repositories",
                                        .backend = nullptr}});
    return poll_failure(model, "model appears in two or more repositories");
  }
  if (found == layout->models.end() && overrides.files.empty()) {
    const auto snapshot = core_.repository().snapshot();
    if (const ServedModel* served = snapshot->find(model);
        served != nullptr && served->current() != nullptr && served->current()->state == ModelState::loading)
      core_.repository().replace(model, {{.number = 1,
                                          .state = ModelState::failed,
                                          .reason = "not found in any model repository",
                                          .backend = nullptr}});
    return poll_failure(model, found == layout->models.end() ? "no repository holds it" : "");
  }

  const std::shared_ptr<Known> state = known(model);
  fs::path made;
  const Result<inference::ModelConfig> config = capture([&] {
    if (!overrides.files.empty()) made = write_file_overrides(model, overrides);
    const fs::path directory = made.empty() ? found->second : made / model;
    return read_model_config(directory, model, overrides.config, options_.loader).value();
  });
  const auto forget_files = [&] {
    if (!made.empty()) fs::remove_all(made);
  };
  if (!config.ok()) {
    forget_files();
    if (!overrides.config.empty())
      return config.status().code() == StatusCode::unsupported ? Status(StatusCode::invalid, config.status().message())
                                                               : config.status();
    (void)fail_load(model, 1, config.status());
    return poll_failure(model, config.status().message());
  }

  // Composing models first, each under its own lock.
  above.push_back(model);
  for (const std::string& part : parts_of(*config)) {
    if (std::find(above.begin(), above.end(), part) != above.end()) {
      forget_files();
      return fail_load(
          model, 1, Status(StatusCode::invalid, fmt::format("the ensemble contains itself through {}", quoted(part))));
    }
    if (serves(*core_.repository().snapshot(), part)) continue;
    if (const Status status = load_model(part, {}, false, above); !status.ok()) {
      forget_files();
      return fail_load(model, 1,
                       Status(StatusCode::invalid, fmt::format("ensemble {} depends on {}, which cannot be loaded: {}",
                                                               quoted(model), quoted(part), status.message())));
    }
  }

  {
    const std::lock_guard busy(state->busy);
    state->asked_for = state->asked_for || asked_for;
    const fs::path directory = made.empty() ? found->second : made / model;
    const Fingerprint print = fingerprint(directory);
    std::shared_ptr<const inference::ModelConfig> before;
    if (made.empty() && serves(*core_.repository().snapshot(), model)) {
      if (overrides.config.empty() && print == state->fingerprint) return Status();  // nothing changed
      const std::lock_guard lock(mutex_);
      if (print.files == state->loaded_files) before = state->config;
    }
    const bool in_place = before != nullptr && differ_in_instances_only(*before, *config);
    const Status status =
        in_place ? adapt_locked(model, *state, directory, *config) : load_locked(model, *state, directory, *config);
    if (!status.ok()) {
      forget_files();
      return status;
    }
    state->fingerprint = overrides.config.empty() ? std::optional(print) : std::nullopt;
    state->loaded_files = made.empty() ? std::optional(print.files) : std::nullopt;
    if (!state->files.empty()) fs::remove_all(state->files);
    state->files = made;
    if (in_place) return Status();
  }
  renew_ensembles(model);
  return Status();
}

// What an ensemble knows of its models (types, labels, whether they are decoupled) it knows from its load. One that
// does not fit any more does not serve, as in the reference.
void ModelManager::renew_ensembles(const std::string& model) {
  for (const std::string& ensemble : ensembles_using(model)) {
    const std::shared_ptr<Known> state = known(ensemble);
    {
      const std::lock_guard busy(state->busy);
      std::shared_ptr<const inference::ModelConfig> config;
      {
        const std::lock_guard lock(mutex_);
        config = state->config;
      }
      const Result<RepositoryLayout> layout = scan_repositories(options_.repositories);
      if (!config || !layout.ok() || !layout->models.contains(ensemble)) continue;
      const fs::path directory = state->files.empty() ? layout->models.at(ensemble) : state->files / ensemble;
      if (const Status status = load_locked(ensemble, *state, directory, *config, false); !status.ok()) {
        log::error("an ensemble does not fit its models any more", {{"model", ensemble}, {"reason", status.message()}});
        state->fingerprint.reset();
      }
    }
    renew_ensembles(ensemble);  // also of one that failed: those above it cannot serve without it
  }
}

Status ModelManager::load_locked(const std::string& model, Known& state, const fs::path& directory,
                                 const inference::ModelConfig& config, bool keep) {
  if (!serves(*core_.repository().snapshot(), model)) core_.repository().replace(model, {ServedVersion{}});
  const auto shared = std::make_shared<const inference::ModelConfig>(config);
  int64_t version = 0;
  Result<std::vector<ServedVersion>> versions = load_versions(directory, shared, options_.loader, version);
  for (int retry = 0; retry < options_.load_retries && !versions.ok(); ++retry)
    versions = load_versions(directory, shared, options_.loader, version);
  if (!versions.ok()) return fail_load(model, version, versions.status(), keep);

  const auto snapshot = core_.repository().snapshot();
  const ServedModel* served = snapshot->find(model);
  std::vector<Retirement::Leaving> old;
  if (served != nullptr) old = those_leaving(model, served->versions, {}, false);
  put(model, state, std::move(*versions), shared, std::move(old));
  return Status();
}

// From now on these versions serve; requests that the old ones have begun end there.
void ModelManager::put(const std::string& model, Known& state, std::vector<ServedVersion> versions,
                       std::shared_ptr<const inference::ModelConfig> config, std::vector<Retirement::Leaving> leaving) {
  core_.repository().replace(model, std::move(versions));
  {
    const std::lock_guard lock(mutex_);
    state.config = std::move(config);
  }
  retirement_->add(std::move(leaving));
}

// Versions that stay are the same with another number of instances: only those that go are let go.
Status ModelManager::adapt_locked(const std::string& model, Known& state, const fs::path& directory,
                                  const inference::ModelConfig& config) {
  const auto shared = std::make_shared<const inference::ModelConfig>(config);
  const auto snapshot = core_.repository().snapshot();
  const std::vector<ServedVersion>& before = snapshot->find(model)->versions;
  int64_t version = 0;
  Result<std::vector<ServedVersion>> versions = adapt_versions(directory, shared, options_.loader, before, version);
  if (!versions.ok()) return fail_load(model, version, versions.status());
  std::vector<Retirement::Leaving> gone = those_leaving(model, before, *versions, false);
  put(model, state, std::move(*versions), shared, std::move(gone));
  return Status();
}

std::vector<std::string> ModelManager::ensembles_using(const std::string& model) {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [name, state] : known_) {
    if (!state->config) continue;
    const std::vector<std::string> parts = parts_of(*state->config);
    if (std::find(parts.begin(), parts.end(), model) != parts.end()) out.push_back(name);
  }
  return out;
}

Status ModelManager::unload(const std::string& model, bool dependents) {
  if (options_.mode != ControlMode::explicit_) return load(model, {});  // the same refusal
  if (const Status name = check_model_name(model); !name.ok()) return name;
  if (core_.repository().snapshot()->find(model) == nullptr) return Status();  // what was never loaded is unloaded
  std::vector<std::string> parts;
  {
    const std::shared_ptr<Known> state = known(model);
    const std::lock_guard busy(state->busy);
    const std::lock_guard lock(mutex_);
    if (state->config) parts = parts_of(*state->config);
    state->asked_for = false;
  }
  unload_model(model);
  if (!dependents) return Status();
  // Composing models that came with this ensemble only.
  for (const std::string& part : parts) {
    const std::shared_ptr<Known> state = known(part);
    bool keep = false;
    {
      const std::lock_guard busy(state->busy);
      keep = state->asked_for;
    }
    if (!keep && ensembles_using(part).empty()) unload_model(part);
  }
  return Status();
}

void ModelManager::unload_model(const std::string& model) {
  // An ensemble without one of its models cannot serve.
  for (const std::string& ensemble : ensembles_using(model)) unload_model(ensemble);
  const std::shared_ptr<Known> state = known(model);
  const std::lock_guard busy(state->busy);
  const auto snapshot = core_.repository().snapshot();
  const ServedModel* served = snapshot->find(model);
  if (served == nullptr) return;
  std::vector<ServedVersion> after;
  for (const ServedVersion& version : served->versions)
    after.push_back({.number = version.number,
                     .state = version.backend ? ModelState::unloading : ModelState::unloaded,
                     .reason = version.backend ? "" : "unloaded",
                     .backend = nullptr});
  core_.repository().replace(model, std::move(after));
  state->fingerprint.reset();
  state->loaded_files.reset();
  {
    const std::lock_guard lock(mutex_);
    state->config = nullptr;
  }
  if (!state->files.empty()) fs::remove_all(state->files);
  state->files.clear();
  retirement_->add(those_leaving(model, served->versions, {}, true));
}

std::vector<IndexEntry> ModelManager::index(bool ready_only) {
  std::vector<IndexEntry> out;
  const auto snapshot = core_.repository().snapshot();
  std::set<std::string> listed;
  const Result<RepositoryLayout> layout = scan_repositories(options_.repositories);
  for (const ServedModel& model : snapshot->models) {
    listed.insert(model.id);
    for (const ServedVersion& version : model.versions)
      if (!ready_only || version.state == ModelState::ready)
        out.push_back({model.id, std::to_string(version.number), std::string(name(version.state)), version.reason});
  }
  if (!ready_only && layout.ok())
    for (const auto& [name, path] : layout->models)
      if (!listed.contains(name)) {
        if (layout->twice.contains(name))
          out.push_back({name, "", "UNAVAILABLE", "model appears in two or more repositories"});
        else
          out.push_back({name, "", "", ""});
      }
  std::sort(out.begin(), out.end(), [](const IndexEntry& a, const IndexEntry& b) { return a.name < b.name; });
  return out;
}

void ModelManager::poll() {
  const Result<RepositoryLayout> layout = scan_repositories(options_.repositories);
  if (!layout.ok()) return log::error("the model repository cannot be read", {{"reason", layout.status().message()}});
  std::vector<std::string> gone;
  for (const ServedModel& model : core_.repository().snapshot()->models)
    if (!layout->models.contains(model.id) && model.current() != nullptr &&
        model.current()->state != ModelState::unloaded && model.current()->state != ModelState::unloading)
      gone.push_back(model.id);
  for (const std::string& model : gone) {
    unload_model(model);
    log::info("model left the repository", {{"model", model}});
  }
  for (const auto& [name, path] : layout->models) {
    const std::shared_ptr<Known> state = known(name);
    std::optional<Fingerprint> last;
    {
      const std::lock_guard busy(state->busy);
      last = state->fingerprint;
    }
    const Fingerprint print = fingerprint(path);
    // A directory that failed is tried again when it changes, not each time.
    if (print == last) continue;
    const Status status = load_model(name, {}, true, {});
    if (status.ok()) {
      log::info("model loaded", {{"model", name}});
      continue;
    }
    log::error("model not loaded", {{"model", name}, {"reason", status.message()}});
    const std::lock_guard busy(state->busy);
    state->fingerprint = print;
  }
}

}  // namespace inazuma
