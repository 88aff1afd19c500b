#include "frontends/kserve/settings.h"

namespace inazuma::kserve {

namespace {

template <class T>
T as(const std::string& name, const LogValue& value, const char* kind) {
  if (const T* typed = std::get_if<T>(&value)) return *typed;
  throw fail(StatusCode::invalid, "log setting '{}' must be {}", name, kind);
}

}  // namespace

LogSettings::LogSettings(log::Options options) : options_(std::move(options)) {
  info_ = options_.level >= log::Level::info;
  warning_ = options_.level >= log::Level::warn;
  verbose_ = options_.level >= log::Level::trace ? 2 : options_.level >= log::Level::debug ? 1 : 0;
}

log::Level LogSettings::level() const {
  if (verbose_ > 1) return log::Level::trace;
  if (verbose_ == 1) return log::Level::debug;
  return info_ ? log::Level::info : warning_ ? log::Level::warn : log::Level::error;
}

Status LogSettings::update(const std::map<std::string, LogValue>& changes) {
  return capture([&] {
    const std::lock_guard lock(mutex_);
    bool info = info_, warning = warning_, error = error_;
    uint32_t verbose = verbose_;
    std::string format = format_;
    for (const auto& [name, value] : changes) {
      if (name == "log_file")
        throw fail(StatusCode::unsupported, "log file location can not be updated through network protocol");
      if (name == "log_info")
        info = as<bool>(name, value, "true or false");
      else if (name == "log_warning")
        warning = as<bool>(name, value, "true or false");
      else if (name == "log_error")
        error = as<bool>(name, value, "true or false");
      else if (name == "log_verbose_level")
        verbose = as<uint32_t>(name, value, "a whole number, 0 or more");
      else if (name == "log_format") {
        format = as<std::string>(name, value, "'default' or 'ISO8601'");
        if (format != "default" && format != "ISO8601")
          throw fail(StatusCode::invalid, "log_format is {}, must be 'default' or 'ISO8601'", quoted(format));
      } else {
        throw fail(StatusCode::invalid, "log setting {} is not known", quoted(name));
      }
    }
    info_ = info, warning_ = warning, error_ = error, verbose_ = verbose, format_ = format;
    options_.level = level();
    if (!changes.empty() && !log::configure(options_))
      throw fail(StatusCode::internal, "the log file cannot be opened again");
  });
}

std::vector<std::pair<std::string, LogValue>> LogSettings::get() const {
  const std::lock_guard lock(mutex_);
  return {{"log_file", options_.file},     {"log_info", info_},    {"log_warning", warning_}, {"log_error", error_},
          {"log_verbose_level", verbose_}, {"log_format", format_}};
}

}  // namespace inazuma::kserve
