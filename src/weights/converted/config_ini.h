#pragma once
// config.ini of converted checkpoints: what Python's configparser writes and inih-like readers accept.

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace inazuma {

/// Sections and keys in lower case; values as written, without the blanks around them. Comment lines begin with ';' or
/// '#', inline comments with " ;"; a line that begins with a blank continues the value before it. Lines that are none
/// of this are passed over: dictionaries among the values of T5 files may be broken anywhere.
class ConfigIni {
 public:
  /// Throws Error(malformed) for a file without a single section. `origin` names the file in messages.
  ConfigIni(std::string origin, std::string_view text);

  const std::string& origin() const { return origin_; }
  bool has_section(std::string_view section) const;
  /// The value; nothing when the key is absent, empty, or Python's None.
  std::optional<std::string> text(std::string_view section, std::string_view key) const;
  /// Throws Error(invalid) naming file, section, key, value and range; the `required_` form also when there is none.
  std::optional<int> integer(std::string_view section, std::string_view key, int low, int high) const;
  int required_integer(std::string_view section, std::string_view key, int low, int high) const;
  std::optional<double> positive(std::string_view section, std::string_view key) const;
  /// true/yes/on/1 and false/no/off/0 in any case.
  std::optional<bool> flag(std::string_view section, std::string_view key) const;

 private:
  std::string origin_;
  std::map<std::string, std::map<std::string, std::string, std::less<>>, std::less<>> sections_;
};

}  // namespace inazuma
