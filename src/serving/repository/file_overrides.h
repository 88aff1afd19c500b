#pragma once
// Model directories that clients send with a load ("file:1/model.safetensors").

#include <filesystem>
#include <string>

#include "serving/core.h"

namespace inazuma {

/// A temporary directory that holds the files as the directory `model`; the caller removes it. Throws Error: invalid
/// for a path that leaves the model's directory, internal when nothing can be written.
std::filesystem::path write_file_overrides(const std::string& model, const LoadOverrides& overrides);

}  // namespace inazuma
