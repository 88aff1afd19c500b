#pragma once
// Flags from a file: --config FILE holds {"port": 8000, "model-id": ["DIR"], ...}, a key for each long flag. A flag on
// the command line wins over its environment form, that over the file, the file over the default.

#include <CLI/CLI.hpp>
#include <set>
#include <string>
#include <vector>

namespace inazuma::cli {

/// The file's part in one command.
class Configuration {
 public:
  /// Adds --config and --print-config to `command`.
  explicit Configuration(CLI::App& command);

  /// Before parsing: makes the values of the file that `arguments` (or INAZUMA_CONFIG) name the defaults of the
  /// command's options. Throws Error(not_found), Error(malformed) or Error(invalid) naming file and key.
  void apply(const std::vector<std::string>& arguments);

  bool print_wanted() const { return print_; }
  /// After parsing: a line for each flag with its value and where it came from; secrets are hidden.
  void print(const std::vector<std::string>& arguments) const;

 private:
  CLI::App& command_;
  std::string file_;
  bool print_ = false;
  std::set<const CLI::Option*> set_by_file_;
};

/// Options of a command, those of its groups included.
std::vector<CLI::Option*> options_of(CLI::App& command);

}  // namespace inazuma::cli
