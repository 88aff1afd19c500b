#include "frontends/kserve/settings.h"

#include <algorithm>
#include <charconv>

namespace inazuma::kserve {

namespace {

template <class T>
T as(const std::string& name, const LogValue& value, const char* kind) {
  if (const T* typed = std::get_if<T>(&value)) return *typed;
  throw fail(StatusCode::invalid, "log setting '{}' must be {}", name, kind);
}

int64_t number(const std::string& name, const std::string& text, int64_t low) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > UINT32_MAX)
    throw fail(StatusCode::invalid, "trace setting '{}' is {}, must be a whole number in [{}, {}]", name, quoted(text),
               low, UINT32_MAX);
  return value;
}

void check_trace(const std::string& name, const std::vector<std::string>& values) {
  if (name == "trace_file")
    throw fail(StatusCode::unsupported, "trace file location can not be updated through network protocol");
  if (name == "trace_level") {
    for (const std::string& level : values) {
      if (level == "OFF") {
        if (values.size() > 1) throw fail(StatusCode::invalid, "trace_level OFF cannot be used with other levels");
      } else if (level == "TIMESTAMPS" || level == "TENSORS") {
        throw fail(StatusCode::invalid, "trace_level {} needs a trace file, and this server was started without one",
                   level);
      } else {
        throw fail(StatusCode::invalid, "trace_level {} is not known, use OFF, TIMESTAMPS or TENSORS", quoted(level));
      }
    }
    return;
  }
  if (values.size() > 1)
    throw fail(StatusCode::invalid, "trace setting '{}' takes one value, got {}", name, values.size());
  if (name != "trace_rate" && name != "trace_count" && name != "log_frequency")
    throw fail(StatusCode::invalid, "trace setting {} is not known", quoted(name));
  if (!values.empty()) (void)number(name, values[0], name == "trace_count" ? -1 : 0);
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

Status TraceSettings::update(const std::string& model, const Values& changes) {
  return capture([&] {
    for (const auto& [name, values] : changes) check_trace(name, values);
    static const Values kDefaults{
        {"trace_level", {"OFF"}}, {"trace_rate", {"1000"}}, {"trace_count", {"-1"}}, {"log_frequency", {"0"}}};
    const std::lock_guard lock(mutex_);
    for (const auto& [name, values] : changes) {
      if (model.empty())
        global_[name] = values.empty() ? kDefaults.at(name) : values;
      else if (values.empty())
        models_[model].erase(name);
      else
        models_[model][name] = values;
    }
  });
}

TraceSettings::Values TraceSettings::get(const std::string& model) const {
  const std::lock_guard lock(mutex_);
  Values out = global_;
  if (const auto own = models_.find(model); own != models_.end())
    for (const auto& [name, values] : own->second) out[name] = values;
  return out;
}

}  // namespace inazuma::kserve
