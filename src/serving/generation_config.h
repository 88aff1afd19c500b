#pragma once
// Generation defaults of a model directory and how a request's parameters are laid over them.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "models/model.h"
#include "serving/request.h"

namespace inazuma {

/// As transformers' GenerationConfig: read from generation_config.json if there is one, else from the generation keys
/// of config.json. Keys that no search or sampling here uses are listed in `warnings` when they would change a result.
struct GenerationConfig {
  GenerationOptions options;  ///< max_new_tokens only when set there
  std::optional<int> max_length, max_new_tokens, min_length, min_new_tokens;
  std::optional<int> decoder_start;
  std::optional<int32_t> pad, bos;
  std::vector<std::string> warnings;
};

struct GenerationConfigs {
  GenerationConfig general;
  /// By each pipeline that config.json's task_specific_params name ("summarization", "translation_en_to_de"): their
  /// settings over the general ones, as in transformers' pipelines.
  std::map<std::string, GenerationConfig> by_pipeline;
};

/// Of a model directory whose config.json is `config`. malformed / invalid name file, key, value.
Result<GenerationConfigs> read_generation_configs(const std::filesystem::path& directory, const nlohmann::json& config);

/// The options of one row: request over defaults over transformers' global defaults (top_k 50 when sampling).
/// `prompt` = ids already on the decoder side (prompt, or the start token). Without any length given, generation may go
/// to `context` (the most decoder ids the engine takes), at most `default_new_tokens` new. invalid names parameter,
/// value and allowed range.
Result<GenerationOptions> resolve(const GenerationParameters& request, const GenerationConfig& defaults, int prompt,
                                  int context, bool encoder_decoder);

}  // namespace inazuma
