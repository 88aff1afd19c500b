#pragma once
// "Something loaded that accepts requests", and the kind that plain directories are: a text model on our engine.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "engine/engine.h"
#include "serving/config/tensor_model.h"
#include "serving/generation_config.h"
#include "serving/request.h"
#include "serving/response.h"
#include "text/tokenizer.h"

namespace inazuma {

/// Facts for /info, logs and the page.
struct BackendInfo {
  std::string id;              ///< the name it is served under
  std::string directory_name;  ///< last component of the path: never the path itself
  ModelInfo model;
  EngineOptions engine;
  std::string tokenizer;
  std::string device;  ///< description of the home
  bool on_gpu = false;
  int max_input_length = 0;  ///< ids of one text, special tokens included; 0 = no bound
  double load_seconds = 0;
  bool text = true;                   ///< false: takes tensors only; `model`, `engine` and `tokenizer` say nothing
  std::vector<std::string> warnings;  ///< things a person should know about this load, one sentence each
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const BackendInfo& info() const = 0;
  /// Encodes and hands over. Everything, also a refusal, is heard by the receiver exactly once as a Response.
  /// Called on the receiver's own thread.
  virtual void submit(Request request, Receiver receiver) = 0;
  virtual EngineStats stats() const = 0;
  /// What KServe clients see of it; null for a back end that takes no tensors.
  virtual std::shared_ptr<const TensorModel> tensor_model() const { return nullptr; }
  /// Triton's statistics since the load; leaves name and version to the caller.
  virtual void write_statistics(inference::ModelStatistics&) const {}
  virtual bool drain(Clock::time_point until) = 0;
};

struct BackendOptions {
  std::string id;  ///< "" = directory name
  std::optional<Task> task;
  std::optional<Pooling> pooling;
  Device device;  ///< cpu or cuda:n
  DType dtype = DType::f32;
  bool batch_invariant = false;  ///< GPU: CudaOptions::invariant
  int threads = 0;               ///< intra-op threads (CPU)
  EngineOptions engine;
  TokenizerOptions tokenizer;
  bool auto_truncate = true;  ///< encoders: what an absent `truncate` means
  int max_input_length = 0;   ///< lower the model's own bound; 0 = keep
  LoadProgress progress;
};

/// Loads model, tokenizer and configuration of a Hugging Face directory and starts its engine.
/// Errors: of load_model, load_tokenizer, Engine::start, with the directory's name in front.
Result<std::shared_ptr<Backend>> load_backend(const std::filesystem::path& directory,
                                              const BackendOptions& options = {});

}  // namespace inazuma
