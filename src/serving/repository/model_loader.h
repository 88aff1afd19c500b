#pragma once
// One model of a repository, from its directory to versions that serve.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "serving/backends/model_backend.h"
#include "serving/core.h"
#include "serving/repository.h"

namespace inazuma {

struct LoaderOptions {
  BackendOptions backend;                ///< server-wide: device, threads, engine budgets
  TextDialect dialect;                   ///< for text models
  bool auto_complete = true;             ///< false: config.pbtxt must exist and be complete
  std::string config_name;               ///< "x": configs/x.pbtxt goes before config.pbtxt
  std::shared_ptr<ResponseCache> cache;  ///< null: response_cache.enable has no effect
  std::shared_ptr<RateGate> gate;        ///< null: instance_group.rate_limiter has no effect
  int default_max_batch = 0;  ///< of models that configure neither tensors nor a batch size; 0 = the back end's own
  int gpus = 0;               ///< usable for KIND_GPU and KIND_AUTO
  FindModel find_model;       ///< composing models of ensembles
  SubmitRequest submit;
};

/// Reads, completes and checks the configuration of the model in `directory`; a JSON `config_override` replaces the
/// file. Errors name file, line and field.
Result<inference::ModelConfig> read_model_config(const std::filesystem::path& directory, const std::string& name,
                                                 const std::string& config_override, const LoaderOptions& options);

/// Loads every version that the policy chooses: all of them or none. The status is that of the first that failed, its
/// number in `failed_version`.
Result<std::vector<ServedVersion>> load_versions(const std::filesystem::path& directory,
                                                 std::shared_ptr<const inference::ModelConfig> config,
                                                 const LoaderOptions& options, int64_t& failed_version);

/// The same for a model that serves `before`, where instance_group and version_policy are all that may have changed:
/// versions that stay keep what they have loaded, those that are new are loaded.
Result<std::vector<ServedVersion>> adapt_versions(const std::filesystem::path& directory,
                                                  std::shared_ptr<const inference::ModelConfig> config,
                                                  const LoaderOptions& options,
                                                  const std::vector<ServedVersion>& before, int64_t& failed_version);

/// A plain Hugging Face directory as a model that text APIs and KServe clients see: load_backend() with a tensor face.
Result<std::shared_ptr<Backend>> load_text_model(const std::filesystem::path& directory, const LoaderOptions& options);

}  // namespace inazuma
