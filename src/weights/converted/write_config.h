#pragma once
// The config.ini that goes with written tensors.

#include <nlohmann/json.hpp>

#include "weights/converted/fastertransformer.h"

namespace inazuma {

/// By config.json's model_type. Throws Error(unsupported) for others, and for variants that config.ini has no key for.
ConvertedFamily family_of(const nlohmann::json& config);
/// BERT's and GPT-2's number of heads. Throws Error(invalid).
int64_t heads_of(const nlohmann::json& config);
bool head_is_tied(const nlohmann::json& config);

/// The file's text, laid out as the original converters write it for BERT and GPT-2; for T5 the keys of
/// config.json in order of the alphabet (the original's follow the transformers release that it ran on). Keys that the
/// original leaves out are added where the loader's default would be wrong. `notes` hears what FasterTransformer itself
/// would not do.
std::string config_ini(const nlohmann::json& config, const ConvertedSizes& sizes, const ConvertOptions& options,
                       std::vector<std::string>& notes);

}  // namespace inazuma
