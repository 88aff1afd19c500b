#pragma once
// Log and trace settings that clients may read and change while the server runs.

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/log.h"
#include "base/status.h"

namespace inazuma::kserve {

/// A setting's new value as a client gave it.
using LogValue = std::variant<bool, uint32_t, std::string>;

/// The logging extension over this program's log: the most talkative switch that is on decides the level.
class LogSettings {
 public:
  explicit LogSettings(log::Options options);
  /// All or nothing. unsupported: log_file. invalid: an unknown name, a value of the wrong kind or out of range.
  Status update(const std::map<std::string, LogValue>& changes);
  /// log_file, log_info, log_warning, log_error, log_verbose_level, log_format.
  std::vector<std::pair<std::string, LogValue>> get() const;

 private:
  log::Level level() const;
  mutable std::mutex mutex_;
  log::Options options_;
  bool info_ = true, warning_ = true, error_ = true;
  uint32_t verbose_ = 0;
  std::string format_ = "default";
};

/// The trace extension's settings, global and by model. Nothing is traced unless a trace file was set at the start, and
/// none can be: a level is refused, as the reference refuses it without a file.
class TraceSettings {
 public:
  using Values = std::map<std::string, std::vector<std::string>>;
  /// An empty list clears a model's own value. `model` "" = global.
  /// unsupported: trace_file. invalid: unknown names, values that are no numbers or out of range, more than one for a
  /// scalar.
  Status update(const std::string& model, const Values& changes);
  Values get(const std::string& model) const;

 private:
  mutable std::mutex mutex_;
  Values global_{{"trace_file", {""}},    {"trace_level", {"OFF"}}, {"trace_rate", {"1000"}},
                 {"trace_count", {"-1"}}, {"log_frequency", {"0"}}, {"trace_mode", {"triton"}}};
  std::map<std::string, Values> models_;
};

}  // namespace inazuma::kserve
