#pragma once
// What the folder of a converted checkpoint says of itself, before any tensor is read.

#include <filesystem>

#include "weights/converted/config_ini.h"
#include "weights/converted/fastertransformer.h"

namespace inazuma {

struct Checkpoint {
  std::filesystem::path folder;
  ConfigIni ini;
  ConvertedSizes sizes;
  DType dtype = DType::f32;  ///< of the files
  int ranks = 1;             ///< that split tensors are divided over
};

/// Throws Error as converted_config.
Checkpoint read_checkpoint(const std::filesystem::path& folder);

/// Size of a file of the folder in bytes; nothing when it is not there.
std::optional<uintmax_t> file_size_of(const std::filesystem::path& folder, const std::string& file);

}  // namespace inazuma
