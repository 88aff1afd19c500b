#pragma once
// Model configurations in their two written forms: protobuf text (config.pbtxt) and JSON (load overrides, replies).

#include <string>
#include <string_view>
#include <vector>

#include <model_config.pb.h>

#include "base/status.h"

namespace inazuma {

/// Reads config.pbtxt. malformed: "`origin`:line:column: what", for bad grammar and for fields that do not exist.
/// unsupported: the same for a field that exists but that this server cannot honour and that would change answers.
Result<inference::ModelConfig> parse_config_text(std::string_view text, std::string_view origin);

/// Reads a `config` override. invalid: "Invalid config override: ...". unsupported as above, without a line.
Result<inference::ModelConfig> parse_config_json(std::string_view text);

/// Fields that are set and that nothing here acts on, as paths ("optimization.cuda").
std::vector<std::string> fields_without_effect(const inference::ModelConfig& config);

/// Any of our messages as Triton writes them: snake_case, enums by name, primitives always, 64-bit integers as numbers,
/// messages that are not set left out.
std::string to_json(const google::protobuf::Message& message);

}  // namespace inazuma
