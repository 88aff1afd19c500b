#include "weights/converted/config_ini.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "base/status.h"

namespace inazuma {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\f\v";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

std::string_view without_comment(std::string_view value) {
  const size_t comment = value.find(" ;");
  return trimmed(comment == std::string_view::npos ? value : value.substr(0, comment));
}

template <class T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

ConfigIni::ConfigIni(std::string origin, std::string_view text) : origin_(std::move(origin)) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::map<std::string, std::string, std::less<>>* section = nullptr;
  std::string* last = nullptr;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view raw = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string_view line = trimmed(raw);
    if (line.empty() || line.front() == ';' || line.front() == '#') continue;
    if (raw.front() == ' ' || raw.front() == '\t') {
      if (last != nullptr) last->append("\n").append(without_comment(line));
      continue;
    }
    last = nullptr;
    const size_t close = line.find(']');
    if (line.front() == '[' && close != std::string_view::npos) {
      section = &sections_[lower(trimmed(line.substr(1, close - 1)))];
      continue;
    }
    const size_t equals = line.find_first_of("=:");
    if (section == nullptr || equals == std::string_view::npos) continue;
    last = &(*section)[lower(trimmed(line.substr(0, equals)))];
    *last = std::string(without_comment(line.substr(equals + 1)));
  }
  if (sections_.empty())
    throw fail(StatusCode::malformed, "{}: holds no section such as [bert], [gpt] or [encoder]", origin_);
}

bool ConfigIni::has_section(std::string_view section) const {
  return sections_.find(section) != sections_.end();
}

std::optional<std::string> ConfigIni::text(std::string_view section, std::string_view key) const {
  const auto found = sections_.find(section);
  if (found == sections_.end()) return std::nullopt;
  const auto value = found->second.find(key);
  if (value == found->second.end() || value->second.empty() || value->second == "None") return std::nullopt;
  return value->second;
}

std::optional<int> ConfigIni::integer(std::string_view section, std::string_view key, int low, int high) const {
  const std::optional<std::string> value = text(section, key);
  if (!value) return std::nullopt;
  const std::optional<int64_t> parsed = number<int64_t>(*value);
  if (!parsed || *parsed < low || *parsed > high)
    throw fail(StatusCode::invalid, "{}: {} of [{}] is {}, must be an integer in [{}, {}]", origin_, key, section,
               inazuma::quoted(*value), low, high);
  return static_cast<int>(*parsed);
}

int ConfigIni::required_integer(std::string_view section, std::string_view key, int low, int high) const {
  if (const std::optional<int> value = integer(section, key, low, high)) return *value;
  throw fail(StatusCode::invalid, "{}: [{}] lacks {}, without which the files' shapes are unknown", origin_, section,
             key);
}

std::optional<double> ConfigIni::positive(std::string_view section, std::string_view key) const {
  const std::optional<std::string> value = text(section, key);
  if (!value) return std::nullopt;
  const std::optional<double> parsed = number<double>(*value);
  if (!parsed || !std::isfinite(*parsed) || *parsed <= 0)
    throw fail(StatusCode::invalid, "{}: {} of [{}] is {}, must be a number greater than 0", origin_, key, section,
               inazuma::quoted(*value));
  return parsed;
}

std::optional<bool> ConfigIni::flag(std::string_view section, std::string_view key) const {
  const std::optional<std::string> value = text(section, key);
  if (!value) return std::nullopt;
  const std::string word = lower(*value);
  for (const std::string_view yes : {"true", "yes", "on", "1"})
    if (word == yes) return true;
  for (const std::string_view no : {"false", "no", "off", "0"})
    if (word == no) return false;
  throw fail(StatusCode::invalid, "{}: {} of [{}] is {}, must be true or false", origin_, key, section,
             inazuma::quoted(*value));
}

}  // namespace inazuma
