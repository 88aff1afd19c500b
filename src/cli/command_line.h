#pragma once
// What the subcommands share: exit codes, model flags, progress on a terminal.

#include <CLI/CLI.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "serving/backend.h"

namespace inazuma::cli {

/// The program's exit codes, as its manual promises.
enum ExitCode { kOk = 0, kFailed = 1, kUsage = 2, kNotLoaded = 3, kPort = 4, kNoMemory = 5 };

/// Exit code of a load that failed.
int exit_code(const Status& status);
/// One paragraph on stderr: what, where, what to do.
int complain(const Status& status, int code);

/// Flags of every command that loads models.
struct ModelFlags {
  std::string task;
  std::string pooling;
  std::string device = "auto";
  std::string dtype = "auto";
  bool batch_invariant = false;
  int threads = 0;
  std::vector<std::string> mecab_dictionaries;  ///< NAME=DIR
  int max_input_length = 0;
  bool quiet = false;
  bool no_progress = false;

  void add_to(CLI::App& app);
  /// Throws Error(invalid) naming the flag.
  BackendOptions options() const;
};

/// A path argument: DIR, or NAME=DIR.
struct NamedPath {
  std::string id;
  std::filesystem::path path;
};
NamedPath parse_named_path(const std::string& argument);

/// Shows loading on a terminal as a bar with size, rate and time left; elsewhere as a line every 10 % or 5 s.
class ProgressBar {
 public:
  ProgressBar(std::string title, bool enabled);
  ~ProgressBar();
  void update(size_t done, size_t total);
  void finish();
  LoadProgress callback() {
    return [this](size_t done, size_t total) { update(done, total); };
  }

 private:
  std::string title_;
  bool enabled_;
  bool terminal_;
  bool drawn_ = false;
  int last_tenth_ = -1;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point last_ = {};
};

/// Help that fits a screen: one line an option, with its default; --help-all adds ranges and environment names.
class CompactFormatter : public CLI::Formatter {
 public:
  CompactFormatter();
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;
  std::string make_option_opts(const CLI::Option* option) const override;

 private:
  mutable bool all_ = false;
};

/// Registers a subcommand; the returned function runs it when it was chosen.
using Run = std::function<int()>;
Run add_serve(CLI::App& app);
Run add_run(CLI::App& app);
Run add_inspect(CLI::App& app);
Run add_convert(CLI::App& app);
Run add_check(CLI::App& app);
Run add_completion(CLI::App& app);
Run add_version(CLI::App& app);

}  // namespace inazuma::cli
