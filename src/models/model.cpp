#include "models/model.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <fmt/ranges.h>

#include "models/config.h"
#include "weights/converted/fastertransformer.h"

namespace inazuma {
namespace {

namespace fs = std::filesystem;

constexpr std::pair<std::string_view, Task> kTaskNames[] = {
    {"token-classification", Task::token_classification},
    {"text-classification", Task::text_classification},
    {"question-answering", Task::question_answering},
    {"fill-mask", Task::fill_mask},
    {"feature-extraction", Task::feature_extraction},
    {"text-generation", Task::text_generation},
    {"text2text-generation", Task::text2text_generation},
    // Other names of the same; `name` gives the ones above.
    {"ner", Task::token_classification},
    {"sentiment-analysis", Task::text_classification},
    {"sequence-classification", Task::text_classification},
    {"zero-shot-classification", Task::text_classification},
    {"embeddings", Task::feature_extraction},
    {"embedding", Task::feature_extraction},
    {"sentence-similarity", Task::feature_extraction},
    {"summarization", Task::text2text_generation},
    {"translation", Task::text2text_generation},
};

constexpr std::pair<std::string_view, Task> kHeads[] = {
    {"ForTokenClassification", Task::token_classification},
    {"ForSequenceClassification", Task::text_classification},
    {"ForQuestionAnswering", Task::question_answering},
    {"ForMaskedLM", Task::fill_mask},
    {"ForPreTraining", Task::fill_mask},
    {"EncoderModel", Task::feature_extraction},
    {"LMHeadModel", Task::text_generation},
    {"ForCausalLM", Task::text_generation},
    {"ForConditionalGeneration", Task::text2text_generation},
};

std::vector<Architecture>& registry() {
  static std::vector<Architecture> architectures;
  return architectures;
}

std::string names_of(std::span<const Task> tasks) {
  std::vector<std::string_view> names;
  for (const Task task : tasks) names.push_back(name(task));
  return fmt::format("{}", fmt::join(names, ", "));
}

/// "BertForMaskedLM" has the prefix "Bert"; "BertGenerationEncoder" has not.
bool has_prefix(std::string_view class_name, std::string_view prefix) {
  if (!class_name.starts_with(prefix)) return false;
  const std::string_view rest = class_name.substr(prefix.size());
  return rest.starts_with("For") || rest == "Model" || rest == "EncoderModel" || rest == "LMHeadModel";
}

/// model_type decides, as in transformers; old and hand-made files that lack it are known by their class.
const Architecture& architecture_of(const nlohmann::json& config) {
  const std::string model_type = Config(config).text({"model_type"}, "");
  const std::string class_name = class_of(config);
  for (const Architecture& architecture : registry()) {
    if (!model_type.empty() && architecture.model_type == model_type) return architecture;
    if (!model_type.empty()) continue;
    for (const std::string& prefix : architecture.class_prefixes) {
      if (has_prefix(class_name, prefix)) return architecture;
    }
  }
  throw fail(StatusCode::unsupported,
             "config.json: model_type {} with architectures {} is not supported; known model types: {}",
             inazuma::quoted(model_type), inazuma::quoted(class_name), fmt::join(known_architectures(), ", "));
}

DType main_dtype(const WeightStore& store) {
  std::array<size_t, 3> bytes{};
  constexpr DType kFloats[] = {DType::f32, DType::f16, DType::bf16};
  for (const StoredTensor& tensor : store.tensors()) {
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] += tensor.dtype == kFloats[i] ? tensor.bytes : 0;
  }
  return kFloats[std::max_element(bytes.begin(), bytes.end()) - bytes.begin()];
}

LoadedModel load(const fs::path& directory, Ops& ops, const LoadOptions& options, LoadProgress progress) {
  require_model_directory(directory);
  const nlohmann::json config = model_config(directory, options.converted);
  const Architecture& architecture = architecture_of(config);
  const std::shared_ptr<const WeightStore> store = WeightStore::open(directory, options.converted).value();
  WeightReader weights(store, options.dry_run);
  weights.set_progress(std::move(progress));
  ModelSource source{.directory = directory,
                     .config = config,
                     .weights = weights,
                     .ops = ops,
                     .options = options,
                     .stored_dtype = main_dtype(*store),
                     .encoder_only = options.encoder_only || store->encoder_only()};
  LoadedModel loaded{.model = architecture.load(source), .report = {}};
  const Status complete = weights.finish();
  if (!complete.ok() && !options.dry_run) throw Error(complete);
  ops.synchronize();
  loaded.report = weights.report();
  return loaded;
}

}  // namespace

std::string_view name(Task task) {
  for (const auto& [text, known] : kTaskNames) {
    if (known == task) return text;
  }
  throw fail(StatusCode::internal, "task {} has no name", static_cast<int>(task));
}

Result<Task> parse_task(std::string_view text) {
  std::vector<std::string_view> names;
  for (const auto& [known, task] : kTaskNames) {
    if (known == text) return task;
    names.push_back(known);
  }
  if (text.starts_with("translation_")) return Task::text2text_generation;  // translation_xx_to_yy
  return Status(StatusCode::invalid,
                fmt::format("task {} is unknown; known: {}", inazuma::quoted(text), fmt::join(names, ", ")));
}

void require_model_directory(const fs::path& directory) {
  std::error_code code;
  if (fs::is_directory(directory, code)) return;
  const std::string named = inazuma::quoted(directory.string(), 400);
  if (fs::exists(directory, code))
    throw fail(StatusCode::not_found, "{} is a file; name the directory that holds config.json and weights", named);
  throw fail(StatusCode::not_found, "no such directory: {}", named);
}

nlohmann::json model_config(const fs::path& directory, const std::optional<fs::path>& converted) {
  constexpr uintmax_t kMaxBytes = 16u << 20;
  const fs::path path = directory / "config.json";
  const std::string origin = inazuma::quoted(path.string(), 400);
  std::error_code code;
  if (!fs::exists(path, code)) {
    const std::optional<fs::path> folder = converted ? converted : find_converted(directory);
    if (folder) return converted_config(*folder);
  }
  const uintmax_t bytes = fs::file_size(path, code);
  if (!code && bytes > kMaxBytes) {
    throw fail(StatusCode::too_large, "{}: {} bytes, a model's configuration has at most {}", origin, bytes, kMaxBytes);
  }
  return read_json_file(path);
}

Result<LoadedModel> load_model(const fs::path& directory, Ops& ops, const LoadOptions& options, LoadProgress progress) {
  return capture([&] { return load(directory, ops, options, std::move(progress)); });
}

RegisterArchitecture::RegisterArchitecture(Architecture architecture) {
  registry().push_back(std::move(architecture));
}

std::string names_of(std::span<const Pooling> poolings) {
  std::string out;
  for (const Pooling pooling : poolings) out.append(out.empty() ? "" : "+").append(name(pooling));
  return out;
}

std::vector<std::string> known_architectures() {
  std::vector<std::string> names;
  for (const Architecture& architecture : registry()) names.push_back(architecture.model_type);
  std::sort(names.begin(), names.end());
  return names;
}

std::string class_of(const nlohmann::json& config) {
  const auto found = config.find("architectures");
  if (found == config.end() || found->is_null() || (found->is_array() && found->empty())) return "";
  if (!found->is_array() || !found->front().is_string()) {
    throw fail(StatusCode::invalid, "config.json: architectures must be a list of class names");
  }
  return found->front();
}

std::optional<Task> task_of_class(std::string_view class_name) {
  for (const auto& [suffix, task] : kHeads) {
    if (class_name.ends_with(suffix)) return task;
  }
  return std::nullopt;
}

Task task_of(const ModelSource& source, std::span<const Task> offered, Task fallback) {
  const std::string class_name = class_of(source.config);
  const auto offers = [&](Task task) { return std::find(offered.begin(), offered.end(), task) != offered.end(); };
  if (const std::optional<Task> wanted = source.options.task) {
    if (offers(*wanted)) return *wanted;
    throw fail(StatusCode::wrong_task, "{} cannot do {}; its architecture does: {}",
               class_name.empty() ? "this model" : class_name, name(*wanted), names_of(offered));
  }
  const std::optional<Task> trained = task_of_class(class_name);
  if (trained && offers(*trained)) return *trained;
  const bool bare = class_name.empty() || (!trained && class_name.ends_with("Model"));
  if (bare) return fallback;
  throw fail(StatusCode::unsupported,
             "config.json: architectures names {}, whose head is not supported; its network does: {}"
             " (choose with --task)",
             inazuma::quoted(class_name), names_of(offered));
}

ModelInfo common_info(const ModelSource& source, Task task) {
  ModelInfo info;
  info.architecture = class_of(source.config);
  if (info.architecture.empty()) info.architecture = Config(source.config).text({"model_type"}, "");
  info.task = task;
  info.problem_type = Config(source.config).text({"problem_type"}, "");
  info.stored_dtype = source.stored_dtype;
  return info;
}

std::vector<std::string> labels_of(const nlohmann::json& config) {
  constexpr int kMaxLabels = 1 << 20;
  std::vector<std::string> labels;
  const auto found = config.find("id2label");
  const bool named = found != config.end() && !found->is_null();
  if (named && (!found->is_object() || found->size() > kMaxLabels)) {
    throw fail(StatusCode::invalid, "config.json: id2label must be an object of at most {} labels", kMaxLabels);
  }
  if (named && found->empty()) throw fail(StatusCode::invalid, "config.json: id2label names no label");
  const size_t count =
      named ? found->size() : static_cast<size_t>(Config(config).integer({"num_labels"}, 2, 1, kMaxLabels));
  for (size_t id = 0; id < count; ++id) labels.push_back("LABEL_" + std::to_string(id));
  if (!named) return labels;
  for (const auto& [key, value] : found->items()) {
    size_t id = count;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    const bool is_id = error == std::errc() && end == key.data() + key.size() && id < count;
    if (!is_id || !(value.is_string() || value.is_number())) {
      throw fail(StatusCode::invalid,
                 "config.json: id2label has {} with a value of type {}, must map the ids 0 to {} to names",
                 inazuma::quoted(key), value.type_name(), count - 1);
    }
    labels[id] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return labels;
}

}  // namespace inazuma
