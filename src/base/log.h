#pragma once
// One line per event on stderr: `log::info("model loaded", {{"model", id}, {"seconds", 1.8}})`.
// Values from outside are escaped, so that no input can forge a line (docs: logs).

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

namespace inazuma::log {

enum class Level { error, warn, info, debug, trace };

/// A named value of an event; numbers and booleans stay bare in JSON.
struct Field {
  Field(std::string_view name, std::string_view text);
  Field(std::string_view name, const char* text) : Field(name, std::string_view(text)) {}
  Field(std::string_view name, const std::string& text) : Field(name, std::string_view(text)) {}
  Field(std::string_view name, std::same_as<bool> auto flag) : key(name), value(flag ? "true" : "false"), bare(true) {}
  Field(std::string_view name, std::integral auto number) requires(!std::same_as<decltype(number), bool>)
      : key(name), value(std::to_string(number)), bare(true) {}
  Field(std::string_view name, double number);

  std::string_view key;
  std::string value;
  bool bare = false;
};
using Fields = std::initializer_list<Field>;

struct Options {
  Level level = Level::info;
  bool json = false;
  std::string file;  ///< "" = stderr
};
/// May be called again (level changes, file reopened after rotation). False with errno set if the file cannot be
/// opened.
bool configure(const Options& options);
bool enabled(Level level);
void write(Level level, std::string_view message, Fields fields);

inline void error(std::string_view message, Fields fields = {}) {
  write(Level::error, message, fields);
}
inline void warn(std::string_view message, Fields fields = {}) {
  write(Level::warn, message, fields);
}
inline void info(std::string_view message, Fields fields = {}) {
  write(Level::info, message, fields);
}
inline void debug(std::string_view message, Fields fields = {}) {
  write(Level::debug, message, fields);
}

/// The line `write` prints, for tests.
std::string format(Level level, std::string_view message, Fields fields, bool json, std::string_view timestamp);

}  // namespace inazuma::log
