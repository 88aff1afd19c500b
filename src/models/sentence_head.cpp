#include "models/sentence_head.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "models/config.h"

namespace inazuma {
namespace {

namespace fs = std::filesystem;

/// sentence-transformers 5.4 and later write "pooling_mode": a name or a list of names, whose vectors stand in that
/// order; earlier ones a flag for each, whose vectors stand in this order.
struct Mode {
  std::string_view name, flag;
  Pooling pooling;
};
constexpr Mode kModes[] = {
    {"cls", "pooling_mode_cls_token", Pooling::cls},
    {"max", "pooling_mode_max_tokens", Pooling::max},
    {"mean", "pooling_mode_mean_tokens", Pooling::mean},
    {"mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", Pooling::mean_sqrt_len},
    {"weightedmean", "pooling_mode_weightedmean_tokens", Pooling::weighted_mean},
    {"lasttoken", "pooling_mode_lasttoken", Pooling::last},
};

Pooling mode_named(const nlohmann::json& name, const std::string& origin) {
  for (const Mode& mode : kModes)
    if (name == mode.name) return mode.pooling;
  throw fail(StatusCode::unsupported, "{}: pooling_mode {} is not known; choose one with --pooling", origin,
             inazuma::quoted(name.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
}

std::vector<Pooling> chosen_modes(const nlohmann::json& json, const std::string& origin) {
  std::vector<Pooling> out;
  const auto named = json.find("pooling_mode");
  if (named != json.end() && named->is_array()) {
    for (const nlohmann::json& name : *named) out.push_back(mode_named(name, origin));
  } else if (named != json.end()) {
    out.push_back(mode_named(*named, origin));
  } else {
    for (const Mode& mode : kModes) {
      const auto found = json.find(mode.flag);
      if (found != json.end() && *found == true) out.push_back(mode.pooling);
    }
  }
  return out;
}

/// Whether a request may put a prompt in front of its text.
bool has_prompts(const fs::path& directory) {
  const fs::path file = directory / "config_sentence_transformers.json";
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return false;
  const nlohmann::json json = read_json_file(file);
  if (!json.is_object() || !json.contains("prompts") || !json["prompts"].is_object()) return false;
  const nlohmann::json& prompts = json["prompts"];
  return std::any_of(prompts.begin(), prompts.end(), [](const nlohmann::json& prompt) { return prompt != ""; });
}

std::vector<Pooling> read_poolings(const fs::path& directory, const fs::path& file) {
  const nlohmann::json json = read_json_file(file);
  const std::string origin = inazuma::quoted(file.string(), 400);
  if (!json.is_object()) throw fail(StatusCode::malformed, "{}: must be an object", origin);
  std::vector<Pooling> chosen = chosen_modes(json, origin);
  if (chosen.empty()) chosen = {Pooling::mean};
  const auto counted = json.find("include_prompt");
  if (counted != json.end() && *counted == false && has_prompts(directory)) {
    throw fail(
        StatusCode::unsupported,
        "{}: include_prompt is false: leaving prompts out of the pooling is not supported; name the pooling with "
        "--pooling to count them in",
        origin);
  }
  return chosen;
}

/// "sentence_transformers.models.Pooling" -> "Pooling"
std::string module_kind(const nlohmann::json& module, const std::string& origin) {
  const bool usable = module.is_object() && module.contains("type") && module["type"].is_string() &&
                      (!module.contains("path") || module["path"].is_string());
  if (!usable) throw fail(StatusCode::malformed, "{}: every module needs a type and a path", origin);
  const std::string type = module["type"];
  return type.substr(type.rfind('.') + 1);
}

fs::path module_folder(const fs::path& directory, const nlohmann::json& module, const std::string& origin) {
  const fs::path path = module.value("path", "");
  const fs::path clean = path.lexically_normal();
  if (path.is_absolute() || (!clean.empty() && *clean.begin() == "..")) {
    throw fail(StatusCode::invalid, "{}: path {} leaves the model directory", origin, inazuma::quoted(path.string()));
  }
  return directory / path;
}

/// "torch.nn.modules.activation.Tanh": classes of torch.nn, without arguments.
Activation dense_activation(const std::string& name) {
  constexpr std::pair<std::string_view, Activation> kKnown[] = {
      {"Tanh", Activation::tanh},       {"Identity", Activation::none}, {"ReLU", Activation::relu},
      {"GELU", Activation::gelu},       {"SiLU", Activation::silu},     {"Mish", Activation::mish},
      {"Sigmoid", Activation::sigmoid},
  };
  for (const auto& [known, activation] : kKnown)
    if (name.starts_with("torch.nn.") && name.substr(name.rfind('.') + 1) == known) return activation;
  throw fail(StatusCode::unsupported,
             "config.json: activation_function {} is not supported (Tanh, Identity, ReLU, GELU, SiLU, Mish and Sigmoid "
             "of torch.nn are)",
             inazuma::quoted(name));
}

}  // namespace

SentenceHead::Dense SentenceHead::load_dense(const ModelSource& source, const fs::path& folder, int in,
                                             ModelInfo& info) {
  const nlohmann::json config = read_json_file(folder / "config.json");
  if (!config.is_object()) throw fail(StatusCode::malformed, "config.json must be an object");
  const Config fields(config);
  const int stated = fields.integer({"in_features"}, in, 1, kMaxWidth);
  if (stated != in)
    throw fail(StatusCode::invalid, "config.json: in_features is {}, the modules before give {} values", stated, in);
  const std::string input = fields.text({"module_input_name"}, "sentence_embedding");
  const std::string output = fields.text({"module_output_name"}, input);
  if (input != "sentence_embedding" || output != input)
    throw fail(StatusCode::unsupported,
               "config.json: from {} to {} is not supported (from and to sentence_embedding is)",
               inazuma::quoted(input), inazuma::quoted(output));
  if (fields.flag({"use_residual"}, false))
    throw fail(StatusCode::unsupported, "config.json: use_residual is not supported");
  Dense out{.linear = {},
            .activation = dense_activation(fields.text({"activation_function"}, "torch.nn.modules.activation.Tanh")),
            .width = fields.integer({"out_features"}, in, 1, kMaxWidth)};
  WeightReader weights(WeightStore::open(folder).value(), source.options.dry_run);
  ModelSource module{
      .directory = folder, .config = config, .weights = weights, .ops = source.ops, .options = source.options};
  Loader loader(module);
  out.linear = fields.flag({"bias"}, true) ? loader.linear("linear", out.width, in)
                                           : loader.linear_without_bias("linear", out.width, in);
  const Status complete = weights.finish();
  if (!complete.ok()) throw Error(complete);
  source.ops.synchronize();  // the file is mapped up to here only
  ModelInfo counts;
  loader.report(counts);
  info.parameters += counts.parameters;
  info.weight_bytes += counts.weight_bytes;
  return out;
}

SentenceHead::SentenceHead(const ModelSource& source, ModelInfo& info) {
  info.pooled_width = info.hidden;
  if (source.options.pooling) {
    poolings_ = info.poolings = {*source.options.pooling};
    return;
  }
  const fs::path modules = source.directory / "modules.json";
  std::error_code ignored;
  const auto pool = [&](const fs::path& file) {
    poolings_ = info.poolings = read_poolings(source.directory, file);
    info.pooled_width = info.hidden * static_cast<int>(poolings_.size());
  };
  if (!fs::exists(modules, ignored)) {
    const fs::path usual = source.directory / "1_Pooling" / "config.json";
    if (fs::exists(usual, ignored)) pool(usual);
    return;
  }
  const nlohmann::json json = read_json_file(modules);
  const std::string origin = inazuma::quoted(modules.string(), 400);
  if (!json.is_array()) throw fail(StatusCode::malformed, "{}: must be a list of modules", origin);
  bool pooled = false, normalized = false;
  for (const nlohmann::json& module : json) {
    const std::string kind = module_kind(module, origin);
    if (kind == "Transformer" || kind == "Dropout") continue;
    if (kind == "Normalize" && pooled) {
      normalized = true;
    } else if (kind == "Pooling" && !pooled) {
      pool(module_folder(source.directory, module, origin) / "config.json");
      pooled = true;
    } else if (kind == "Dense" && pooled && !normalized) {
      const fs::path folder = module_folder(source.directory, module, origin);
      const Result<Dense> dense = capture([&] { return load_dense(source, folder, info.pooled_width, info); });
      if (!dense.ok())
        throw fail(dense.status().code(), "{}: {}", inazuma::quoted(folder.string(), 400), dense.status().message());
      dense_.push_back(*dense);
      info.pooled_width = dense_.back().width;
    } else {
      throw fail(
          StatusCode::unsupported,
          "{}: module {} is not supported here (Transformer, one Pooling, any Dense and Normalize are, in this order)",
          origin, inazuma::quoted(kind));
    }
  }
}

Tensor SentenceHead::run(Ops& ops, Arena& arena, const Tensor& x, const EncoderLane& lane) const {
  const int64_t n = lane.pooled.rows(), hidden = x.cols();
  Tensor out = arena.tensor(dense_.empty() ? DType::f32 : ops.compute_dtype(),
                            {n, hidden * static_cast<int64_t>(poolings_.size())});
  for (size_t i = 0; i < poolings_.size(); ++i)
    ops.pool(out.columns(static_cast<int64_t>(i) * hidden, static_cast<int64_t>(i + 1) * hidden), x, lane.offsets,
             lane.pooled, poolings_[i]);
  for (const Dense& dense : dense_) {
    const bool last = &dense == &dense_.back();
    const Tensor next = arena.tensor(last ? DType::f32 : ops.compute_dtype(), {n, dense.width});
    linear(ops, dense.linear, next, out, {.activation = dense.activation});
    out = next;
  }
  return out;
}

}  // namespace inazuma
