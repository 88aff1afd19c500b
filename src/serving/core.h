#pragma once
// The door every protocol goes through: looks the model up, hands the request over, counts it.

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "serving/metrics.h"
#include "serving/repository.h"

namespace inazuma {

struct CoreOptions {
  Clock::duration stall_timeout =
      std::chrono::seconds(30);  ///< an engine silent for longer is not ready; longer than the longest step
  Clock::duration default_deadline = Clock::duration::max();  ///< for requests that bring none
  bool strict_readiness = true;  ///< ready only while every model is (those unloaded on purpose do not count)
  MetricsOptions metrics;
};

/// One row of the repository index. A model that was never loaded has a name only.
struct IndexEntry {
  std::string name;
  std::string version;
  std::string state;  ///< "READY", "UNAVAILABLE", ...
  std::string reason;
};

/// What a load request may bring along (the model repository extension).
struct LoadOverrides {
  std::string config;                        ///< ModelConfig as JSON text; "" = the file's
  std::map<std::string, std::string> files;  ///< "1/model.bin" -> bytes; need `config`
};

/// Who may load and unload at run time: a model repository in explicit mode.
class ModelControl {
 public:
  virtual ~ModelControl() = default;
  /// Returns when the model serves, or when it is known why not (what was served before keeps serving).
  virtual Status load(const std::string& model, const LoadOverrides& overrides) = 0;
  /// Returns as soon as no new request reaches the model.
  virtual Status unload(const std::string& model, bool dependents) = 0;
  virtual std::vector<IndexEntry> index(bool ready_only) = 0;
};

class Core {
 public:
  explicit Core(CoreOptions options = {}) : options_(options), metrics_(options.metrics) {}

  Repository& repository() { return repository_; }
  Metrics& metrics() { return metrics_; }

  /// The receiver hears every request's end exactly once, refusals included: not_found (lists the names), unavailable
  /// (loading: with the state; draining), and whatever the back end says. Called on the receiver's thread.
  void submit(Request request, Receiver receiver);

  /// The model a request means: by name, or the default (the first). For front ends that must know the task beforehand.
  Result<std::shared_ptr<Backend>> backend(std::string_view model) const;

  // KServe. Statuses and sentences are Triton's.
  /// Version -1 = the highest that is ready. not_found, or unavailable for a version that is not ready; unsupported for
  /// a model that takes no tensors.
  Result<std::shared_ptr<Backend>> tensor_backend(std::string_view model, int64_t version) const;
  bool model_ready(std::string_view model, int64_t version) const { return tensor_backend(model, version).ok(); }
  /// Versions that are ready, ascending (the `versions` of model metadata).
  std::vector<int64_t> ready_versions(std::string_view model) const;
  /// Of one version (-1 = every ready one) of one model ("" = all). invalid where there is none, as in the reference.
  Result<std::vector<inference::ModelStatistics>> statistics(std::string_view model, int64_t version) const;
  /// Block until done (load): not for a connection's own thread. unavailable outside explicit mode.
  Status load(const std::string& model, const LoadOverrides& overrides);
  Status unload(const std::string& model, bool dependents);
  std::vector<IndexEntry> index(bool ready_only) const;
  /// Until set, load and unload are refused and the index lists what is served.
  void set_control(std::shared_ptr<ModelControl> control) { control_ = std::move(control); }

  bool ready() const;  ///< every model can serve now
  bool live() const;   ///< no engine is stalled
  bool draining() const { return draining_.load(); }

  /// Readiness false from here on; requests are still taken (balancers need time to notice).
  void start_draining() { draining_ = true; }
  /// Waits for accepted work; true when all of it ended by `until`.
  bool drain(Clock::time_point until);

  int inflight() const { return inflight_.load(); }

 private:
  CoreOptions options_;
  Repository repository_;
  Metrics metrics_;
  std::shared_ptr<ModelControl> control_;
  std::atomic<bool> draining_ = false;
  std::atomic<int> inflight_ = 0;
};

}  // namespace inazuma
