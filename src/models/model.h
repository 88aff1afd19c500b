#pragma once
// What the engine knows of a loaded network, and how one is loaded. One architecture is one .cpp file of this folder.

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "kernels/ops.h"
#include "models/batch.h"
#include "tensor/arena.h"
#include "weights/weight_store.h"

namespace inazuma {

enum class Task {
  token_classification,
  text_classification,
  question_answering,
  fill_mask,
  feature_extraction,
  text_generation,
  text2text_generation,
};
std::string_view name(Task task);  ///< "token-classification", ...
/// Also takes the pipelines' other names ("ner", "embeddings", "sentiment-analysis", "summarization", ...).
Result<Task> parse_task(std::string_view text);

/// Facts of a loaded model that others plan with. Immutable.
struct ModelInfo {
  std::string architecture;  ///< class name of the checkpoint: "BertForTokenClassification"
  Task task = Task::feature_extraction;
  int vocab = 0;  ///< ids are in [0, vocab); 0: takes hidden states only (LoadOptions::encoder_only)
  int hidden = 0;
  int max_positions = 0;  ///< longest text by the position table; 0 = no such bound (T5)
  int type_vocab = 0;     ///< token types; 0 = none

  bool has_encoder = false;                      ///< uses the encoder lane
  bool has_decoder = false;                      ///< uses the decoder lane, hence the pool
  int row_width = 0;                             ///< columns of Output::rows; 0 = not offered
  int pooled_width = 0;                          ///< columns of Output::pooled; 0 = not offered
  std::vector<Pooling> poolings{Pooling::mean};  ///< beside each other in the pooled vector

  int kv_layers = 0;  ///< decoder layers in the pool
  int kv_heads = 0;
  int kv_head_dim = 0;
  int decoder_start = -1;  ///< first decoder id of an encoder-decoder, -1 otherwise

  std::vector<std::string> labels;  ///< id2label in id order, for classifiers
  std::string problem_type;         ///< config.json's, "" when unset
  DType stored_dtype = DType::f32;  ///< of the checkpoint
  size_t weight_bytes = 0;          ///< resident on the device
  int64_t parameters = 0;
};

/// Config and weights: immutable, shared by all engines on the device. No requests, threads or policy in here.
class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelInfo& info() const = 0;
  /// One step. Scratch comes from `arena`, work goes to `ops`' stream. Errors are defects (Error internal) or the
  /// device's.
  virtual Output forward(Ops& ops, const Batch& batch, KvView& kv, Arena& arena) const = 0;
};

struct LoadOptions {
  std::optional<Task> task;        ///< overrides what config.json's architectures say
  std::optional<Pooling> pooling;  ///< overrides modules.json
  /// A FasterTransformer folder whose tensors go before the directory's own. Without it such a folder is read where the
  /// directory holds no other weights.
  std::optional<std::filesystem::path> converted;
  bool encoder_only = false;  ///< leave embeddings and head out: hidden states in, hidden states out (BERT)
  bool dry_run = false;  ///< check config and tensors, pack nothing; what is missing or misshapen is in the report only
};

/// What an architecture's file is given to load from.
struct ModelSource {
  std::filesystem::path directory;
  nlohmann::json config;  ///< config.json, or its equal made from another format
  WeightReader& weights;
  Ops& ops;
  LoadOptions options;
  DType stored_dtype = DType::f32;  ///< that most bytes of the checkpoint have
  bool encoder_only = false;        ///< asked for, or all that the checkpoint holds
};

struct LoadedModel {
  std::shared_ptr<const Model> model;
  WeightReport report;
};

/// Throws Error(not_found), which says whether nothing is there or a file.
void require_model_directory(const std::filesystem::path& directory);
/// The directory's config.json, else its equal made from the config.ini of a FasterTransformer folder.
/// Throws Error: not_found, malformed, invalid, too_large, unsupported.
nlohmann::json model_config(const std::filesystem::path& directory,
                            const std::optional<std::filesystem::path>& converted = {});

/// Reads the configuration, picks the architecture by `model_type` and `architectures`, loads and checks every tensor.
/// unsupported: unknown architecture (lists the known); not_found, malformed, invalid: see WeightStore, WeightReader.
Result<LoadedModel> load_model(const std::filesystem::path& directory, Ops& ops, const LoadOptions& options = {},
                               LoadProgress progress = {});

/// "mean", or "cls+mean" where vectors stand beside each other.
std::string names_of(std::span<const Pooling> poolings);

/// An architecture registers itself with one line at the end of its file.
struct Architecture {
  std::string model_type;                   ///< "bert"
  std::vector<std::string> class_prefixes;  ///< "Bert": matches architectures "BertForTokenClassification", ...
  std::function<std::shared_ptr<const Model>(ModelSource&)> load;  ///< throws Error
};
struct RegisterArchitecture {
  explicit RegisterArchitecture(Architecture architecture);
};
std::vector<std::string> known_architectures();

/// Task that the class name stands for ("BertForTokenClassification"), nullopt for a bare encoder or unknown head.
std::optional<Task> task_of_class(std::string_view class_name);
/// config.json's first architecture, "" when it names none.
std::string class_of(const nlohmann::json& config);
/// What the model is to do: options.task, else what its class stands for, else (a bare network, or no class)
/// `fallback`. Throws wrong_task when the override, unsupported when the class, is none of `offered`.
Task task_of(const ModelSource& source, std::span<const Task> offered, Task fallback);
/// The fields every architecture fills alike: architecture, task, problem_type, stored_dtype.
ModelInfo common_info(const ModelSource& source, Task task);
/// Labels in id order: id2label (keys are strings), else num_labels times LABEL_n.
std::vector<std::string> labels_of(const nlohmann::json& config);

}  // namespace inazuma
