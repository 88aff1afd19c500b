#include "models/sentence_pooling.h"

#include <optional>
#include <string>
#include <utility>

#include "models/config.h"

namespace inazuma {
namespace {

namespace fs = std::filesystem;

constexpr std::pair<std::string_view, Pooling> kFlags[] = {
    {"pooling_mode_cls_token", Pooling::cls},
    {"pooling_mode_mean_tokens", Pooling::mean},
    {"pooling_mode_max_tokens", Pooling::max},
    {"pooling_mode_mean_sqrt_len_tokens", Pooling::mean_sqrt_len},
    {"pooling_mode_weightedmean_tokens", Pooling::weighted_mean},
    {"pooling_mode_lasttoken", Pooling::last},
};

Pooling read_pooling(const fs::path& file) {
  const nlohmann::json json = read_json_file(file);
  const std::string origin = inazuma::quoted(file.string(), 400);
  if (!json.is_object()) throw fail(StatusCode::malformed, "{}: must be an object", origin);
  std::optional<Pooling> chosen;
  for (const auto& [key, pooling] : kFlags) {
    const auto found = json.find(key);
    if (found == json.end() || *found != true) continue;
    if (chosen) {
      throw fail(StatusCode::unsupported,
                 "{}: several pooling modes at once are not supported; choose one with --pooling", origin);
    }
    chosen = pooling;
  }
  if (!chosen) throw fail(StatusCode::invalid, "{}: no pooling mode is true", origin);
  return *chosen;
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
    return fs::exists(usual, ignored) ? read_pooling(usual) : Pooling::mean;
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
    chosen = read_pooling(module_folder(source.directory, module, origin) / "config.json");
  }
  return chosen.value_or(Pooling::mean);
}

}  // namespace inazuma
