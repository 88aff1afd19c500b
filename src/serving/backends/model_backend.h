#pragma once
// A loaded version of a repository's model as a Backend: checks, cache, scheduler, program, statistics, answers.

#include "serving/backends/program.h"
#include "serving/backends/response_cache.h"
#include "serving/batching/instances.h"

namespace inazuma {

/// `info` names and measures the load (id and directory_name are set from the model). `cache` may be null, `gate` is
/// null without a rate limiter. Throws Error(invalid): resources that the gate cannot give.
std::shared_ptr<Backend> make_model_backend(std::shared_ptr<const TensorModel> model,
                                            std::shared_ptr<TensorProgram> program,
                                            std::shared_ptr<ResponseCache> cache, BackendInfo info,
                                            std::shared_ptr<RateGate> gate = nullptr);

/// The same loaded version under a configuration that differs in instance_group and version_policy only: weights,
/// queue, open sequences and statistics stay. `loaded`: of make_model_backend. invalid: as there, and nothing has
/// changed.
Result<std::shared_ptr<Backend>> with_config(const std::shared_ptr<Backend>& loaded,
                                             const inference::ModelConfig& config);

/// model_warmup: runs every sample on the program, outside schedulers and statistics. Status of the first that fails,
/// with its name; data files are read from `model_directory`/warmup.
Status warm_up(const TensorModel& model, TensorProgram& program, const std::filesystem::path& model_directory);

}  // namespace inazuma
