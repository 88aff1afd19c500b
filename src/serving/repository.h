#pragma once
// Which models are served, as immutable snapshots: readers never lock, a change swaps the snapshot.

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "serving/backend.h"

namespace inazuma {

enum class ModelState { loading, ready, failed };
std::string_view name(ModelState state);  ///< "LOADING", "READY", "UNAVAILABLE"

struct ServedModel {
  std::string id;
  ModelState state = ModelState::loading;
  std::string reason;                ///< why it failed
  std::shared_ptr<Backend> backend;  ///< null unless ready
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
  void set_ready(std::string_view id, std::shared_ptr<Backend> backend);
  void set_failed(std::string_view id, std::string reason);
  /// Lets every model go. Requests still running fail with `unavailable`: their receivers must still be there to hear it.
  void clear();
  std::shared_ptr<const RepositorySnapshot> snapshot() const;

 private:
  template <class Change>
  void change(std::string_view id, Change&& apply);

  mutable std::mutex mutex_;  // guards the pointer only
  std::shared_ptr<const RepositorySnapshot> snapshot_ = std::make_shared<RepositorySnapshot>();
};

}  // namespace inazuma
