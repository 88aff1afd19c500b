#pragma once
// From what a configuration file says to what is served: defaults, what the model's own files say, and the rules.

#include <filesystem>
#include <string_view>

#include <model_config.pb.h>

#include "base/status.h"

namespace inazuma {

/// The back end that the files of a version directory call for ("inazuma" for a Hugging Face directory,
/// "fastertransformer" for N-gpu/config.ini, and by Triton's file names); "" when they say nothing.
std::string guess_backend(const std::filesystem::path& version_directory);

/// Fills in what may be left out: version policy, preferred batch sizes, idle times, instance groups. `gpus` = those
/// usable.
void fill_defaults(inference::ModelConfig& config, int gpus);

/// The rules that hold for every back end. `directory` = the model's folder name. invalid, naming field, value and
/// range.
Status validate(const inference::ModelConfig& config, std::string_view directory, int gpus);

}  // namespace inazuma
