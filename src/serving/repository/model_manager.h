#pragma once
// A model repository at work: start-up, load and unload on demand, polling; new versions beside the old ones.

#include <condition_variable>
#include <functional>
#include <thread>

#include "serving/repository/layout.h"
#include "serving/repository/model_loader.h"
#include "serving/repository/retirement.h"

namespace inazuma {

enum class ControlMode { none, poll, explicit_ };

struct ManagerOptions {
  std::vector<std::filesystem::path> repositories;
  ControlMode mode = ControlMode::none;
  std::chrono::seconds poll_interval{15};
  std::vector<std::string> load_models;  ///< explicit mode, at the start; "*" alone = all
  int load_retries = 0;
  LoaderOptions loader;
};

/// Fills a Core's Repository and answers its ModelControl calls.
class ModelManager : public ModelControl {
 public:
  ModelManager(Core& core, ManagerOptions options);
  ~ModelManager() override;  ///< waits for models on their way out

  /// Announces and loads what the mode asks for. Every model is tried; the status is that of the first that failed.
  Status start();

  Status load(const std::string& model, const LoadOverrides& overrides) override;
  Status unload(const std::string& model, bool dependents) override;
  std::vector<IndexEntry> index(bool ready_only) override;
  /// One round of polling: what changed is loaded, what is gone unloaded. For the poll thread, and for tests.
  void poll();

 private:
  struct Known {
    std::mutex busy;  // one load or unload of this model at a time
    // Guarded by `busy`:
    std::optional<Fingerprint> fingerprint;  // of the directory when it was loaded; none = by overrides, or not at all
    std::optional<std::string>
        loaded_files;             // its `files` when weights were last loaded from it; none = from elsewhere
    bool asked_for = false;       // by name, not only as part of an ensemble
    std::filesystem::path files;  // temporary directory of file overrides, "" = none
    std::shared_ptr<const inference::ModelConfig> config;  // guarded by mutex_; null unless loaded
  };

  std::shared_ptr<Known> known(const std::string& model);
  Status load_model(const std::string& model, const LoadOverrides& overrides, bool asked_for,
                    std::vector<std::string> above);
  Status load_locked(const std::string& model, Known& state, const std::filesystem::path& directory,
                     const inference::ModelConfig& config, bool keep = true);
  Status adapt_locked(const std::string& model, Known& state, const std::filesystem::path& directory,
                      const inference::ModelConfig& config);
  void put(const std::string& model, Known& state, std::vector<ServedVersion> versions,
           std::shared_ptr<const inference::ModelConfig> config, std::vector<Retirement::Leaving> leaving);
  void renew_ensembles(const std::string& model);
  Status fail_load(const std::string& model, int64_t version, const Status& reason, bool keep = true);
  void unload_model(const std::string& model);
  std::vector<std::string> ensembles_using(const std::string& model);
  std::vector<std::string> parts_of(const inference::ModelConfig& config) const;

  Core& core_;
  ManagerOptions options_;
  std::mutex mutex_;  // guards known_ and the configs in it; taken after any `busy`
  std::map<std::string, std::shared_ptr<Known>> known_;
  std::mutex poll_mutex_;
  std::condition_variable poll_wake_;
  bool stopping_ = false;
  std::thread poller_;
  std::unique_ptr<Retirement> retirement_;
};

}  // namespace inazuma
