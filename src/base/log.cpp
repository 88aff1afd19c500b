#include "base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/status.h"

namespace inazuma::log {

namespace {

struct State {
  std::mutex mutex;
  std::shared_ptr<spdlog::logger> logger =
      std::make_shared<spdlog::logger>("inazuma", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  std::atomic<Level> level = Level::info;
  std::atomic<bool> json = false;
  State() {
    logger->set_pattern("%v"), logger->set_level(spdlog::level::trace), logger->flush_on(spdlog::level::trace);
  }
};

State& state() {
  static State* const kState = new State;  // never destroyed: threads may log until the process ends
  return *kState;
}

std::string_view name(Level level) {
  switch (level) {
    case Level::error: return "error";
    case Level::warn: return "warn";
    case Level::info: return "info";
    case Level::debug: return "debug";
    case Level::trace: return "trace";
  }
  return "info";
}

// RFC 3339, UTC, microseconds.
std::string now() {
  const auto time = std::chrono::system_clock::now().time_since_epoch();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(time).count();
  const std::time_t seconds = micros / 1000000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, micros % 1000000);
}

std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// A value in a text line: bare words stay bare, anything with spaces, quotes or control characters is quoted and
// escaped.
std::string text_value(std::string_view text) {
  const bool plain = !text.empty() && text.find_first_of(" \"'=\\") == std::string_view::npos;
  const std::string safe = quoted(text, 1000);
  if (plain && safe.size() == text.size() + 2) return std::string(text);
  return safe;
}

}  // namespace

Field::Field(std::string_view name, std::string_view text) : key(name), value(text) {}
Field::Field(std::string_view name, double number) : key(name), value(fmt::format("{:.6g}", number)), bare(true) {}

bool configure(const Options& options) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  try {
    spdlog::sink_ptr sink = options.file.empty()
                                ? spdlog::sink_ptr(std::make_shared<spdlog::sinks::stderr_sink_mt>())
                                : spdlog::sink_ptr(std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file));
    auto logger = std::make_shared<spdlog::logger>("inazuma", std::move(sink));
    logger->set_pattern("%v");
    logger->set_level(spdlog::level::trace);
    logger->flush_on(spdlog::level::trace);
    std::atomic_store(&s.logger, std::move(logger));
  } catch (const spdlog::spdlog_ex&) {
    return false;
  }
  s.level = options.level;
  s.json = options.json;
  return true;
}

bool enabled(Level level) {
  return level <= state().level.load(std::memory_order_relaxed);
}

std::string format(Level level, std::string_view message, Fields fields, bool json, std::string_view timestamp) {
  if (json) {
    std::string line =
        fmt::format("{{\"ts\":\"{}\",\"level\":\"{}\",\"msg\":{}", timestamp, name(level), json_string(message));
    for (const Field& field : fields)
      line += fmt::format(",{}:{}", json_string(field.key), field.bare ? field.value : json_string(field.value));
    return line + "}";
  }
  const std::string safe = quoted(message, 4000);
  std::string line =
      fmt::format("{} {:<5} {}", timestamp, name(level), std::string_view(safe).substr(1, safe.size() - 2));
  for (const Field& field : fields)
    line += fmt::format(" {}={}", field.key, field.bare ? field.value : text_value(field.value));
  return line;
}

void write(Level level, std::string_view message, Fields fields) {
  if (!enabled(level)) return;
  State& s = state();
  const std::shared_ptr<spdlog::logger> logger = std::atomic_load(&s.logger);
  logger->log(spdlog::level::info, format(level, message, fields, s.json.load(), now()));
}

}  // namespace inazuma::log
