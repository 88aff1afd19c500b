#pragma once
// Which models are served, as immutable snapshots: readers never lock, a change swaps the snapshot.

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serving/backend.h"

namespace inazuma {

enum class ModelState { loading, ready, failed, unloading, unloaded };
std::string_view name(ModelState state);  ///< "LOADING", "READY", "UNAVAILABLE", "UNLOADING", "UNAVAILABLE"

struct ServedVersion {
  int64_t number = 1;
  ModelState state = ModelState::loading;
  std::string reason;                ///< why it failed; "unloaded"
  std::shared_ptr<Backend> backend;  ///< null unless ready
};

struct ServedModel {
  std::string id;
  std::vector<ServedVersion> versions;  ///< ascending; plain directories have the one version 1

  /// What a request without a version gets: the highest that is ready, else the highest there is; null without any.
  const ServedVersion* current() const;
  const ServedVersion* find(int64_t number) const;
};

struct RepositorySnapshot {
  std::vector<ServedModel> models;  ///< in the order they were named; the first is the default

  const ServedModel* find(std::string_view id) const;
  /// "'ner-ja', 'style-ja-t5'" for messages.
  std::string names() const;
};

class Repository {
 public:
  /// Announces models before they are loaded, so that requests hear "loading" and not "unknown".
  /// invalid when two share a name.
  Status announce(const std::vector<std::string>& ids);
  /// For plain directories: their one version.
  void set_ready(std::string_view id, std::shared_ptr<Backend> backend);
  void set_failed(std::string_view id, std::string reason);
  /// Replaces what is known of a model's versions in one step, so that no request sees half of a change; adds the model
  /// when it is new. Backends that leave are let go by the caller's thread.
  void replace(std::string_view id, std::vector<ServedVersion> versions);
  /// Changes one version that is there; nothing when it is not.
  void set_state(std::string_view id, int64_t number, ModelState state, std::string reason);
  /// Forgets a model.
  void remove(std::string_view id);
  /// Lets every model go. Requests still running fail with `unavailable`: their receivers must still be there to hear
  /// it.
  void clear();
  std::shared_ptr<const RepositorySnapshot> snapshot() const;

 private:
  template <class Change>
  void change(Change&& apply);

  mutable std::mutex mutex_;  // guards the pointer only
  std::shared_ptr<const RepositorySnapshot> snapshot_ = std::make_shared<RepositorySnapshot>();
};

}  // namespace inazuma
