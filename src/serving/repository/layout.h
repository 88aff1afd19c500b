#pragma once
// What lies in a model repository: MODEL/config.pbtxt, MODEL/VERSION/files, label files. Reading only.

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <model_config.pb.h>

#include "base/status.h"

namespace inazuma {

/// The model directories of several repositories. A name that two of them have is served by neither.
struct RepositoryLayout {
  std::map<std::string, std::filesystem::path> models;
  std::set<std::string> twice;
};
/// not_found: a repository that is no directory.
Result<RepositoryLayout> scan_repositories(const std::vector<std::filesystem::path>& repositories);

/// True for a directory that looks like a repository and not like one model: a subdirectory has config.pbtxt or a
/// version.
bool is_repository(const std::filesystem::path& directory);

/// Version numbers with a directory, ascending: whole numbers >= 1 without leading zeros. Other names are ignored.
std::vector<int64_t> version_directories(const std::filesystem::path& model_directory);

/// Those that the policy chooses. invalid: "at least one version must be available under the version policy of model
/// 'm'".
Result<std::vector<int64_t>> choose_versions(const inference::ModelVersionPolicy& policy,
                                             const std::vector<int64_t>& available, std::string_view model);

/// One label per line; line ends of either kind. not_found.
std::vector<std::string> read_labels(const std::filesystem::path& file);

/// Each changes when a file of its kind below the directory is added, removed or written (by names, sizes and times).
struct Fingerprint {
  std::string configurations;  ///< config.pbtxt and configs/
  std::string files;           ///< all others
  bool operator==(const Fingerprint&) const = default;
};
Fingerprint fingerprint(const std::filesystem::path& model_directory);

/// A name that may come from outside: not blank, not "." or "..", without '/'. invalid.
Status check_model_name(std::string_view name);

}  // namespace inazuma
