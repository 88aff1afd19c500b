#pragma once
// Log settings that clients may read and change while the server runs.

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

}  // namespace inazuma::kserve
