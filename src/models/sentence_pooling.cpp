#include "models/sentence_pooling.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "models/config.h"

namespace inazuma {
namespace {

namespace fs = std::filesystem;

/// sentence-transformers 5.4 and later write "pooling_mode": a name or a list of names; earlier ones a flag for each.
struct Mode {
  std::string_view name, flag;
  Pooling pooling;
};
constexpr Mode kModes[] = {
    {"cls", "pooling_mode_cls_token", Pooling::cls},
    {"mean", "pooling_mode_mean_tokens", Pooling::mean},
    {"max", "pooling_mode_max_tokens", Pooling::max},
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

Pooling read_pooling(const fs::path& directory, const fs::path& file) {
  const nlohmann::json json = read_json_file(file);
  const std::string origin = inazuma::quoted(file.string(), 400);
  if (!json.is_object()) throw fail(StatusCode::malformed, "{}: must be an object", origin);
  const std::vector<Pooling> chosen = chosen_modes(json, origin);
  if (chosen.empty()) throw fail(StatusCode::invalid, "{}: no pooling mode is true", origin);
  if (chosen.size() > 1) {
    throw fail(StatusCode::unsupported,
               "{}: several pooling modes at once are not supported; choose one with --pooling", origin);
  }
  const auto counted = json.find("include_prompt");
  if (counted != json.end() && *counted == false && has_prompts(directory)) {
    throw fail(
        StatusCode::unsupported,
        "{}: include_prompt is false: leaving prompts out of the pooling is not supported; name the pooling with "
        "--pooling to count them in",
        origin);
  }
  return chosen.front();
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

}  // namespace

Pooling sentence_pooling(const ModelSource& source) {
  if (source.options.pooling) return *source.options.pooling;
  const fs::path modules = source.directory / "modules.json";
  std::error_code ignored;
  if (!fs::exists(modules, ignored)) {
    const fs::path usual = source.directory / "1_Pooling" / "config.json";
    return fs::exists(usual, ignored) ? read_pooling(source.directory, usual) : Pooling::mean;
  }
  const nlohmann::json json = read_json_file(modules);
  const std::string origin = inazuma::quoted(modules.string(), 400);
  if (!json.is_array()) throw fail(StatusCode::malformed, "{}: must be a list of modules", origin);
  std::optional<Pooling> chosen;
  for (const nlohmann::json& module : json) {
    const std::string kind = module_kind(module, origin);
    if (kind == "Transformer" || kind == "Normalize" || kind == "Dropout") continue;
    if (kind != "Pooling" || chosen) {
      throw fail(StatusCode::unsupported, "{}: module {} is not supported (Transformer, one Pooling and Normalize are)",
                 origin, inazuma::quoted(kind));
    }
    chosen = read_pooling(source.directory, module_folder(source.directory, module, origin) / "config.json");
  }
  return chosen.value_or(Pooling::mean);
}

}  // namespace inazuma
