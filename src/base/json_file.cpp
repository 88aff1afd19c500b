#include "base/json_file.h"

#include <fstream>

namespace inazuma {
namespace {

constexpr uintmax_t kLargestFile = uintmax_t{1} << 30;
constexpr int kMaxDepth =
    100;  // values are copied and destroyed by recursion: a hostile file must not exhaust the stack

bool starts_at(std::string_view text, size_t at, std::string_view word) {
  return text.substr(at, word.size()) == word;
}

/// Length of the string literal that begins at `at`, quotes included; up to the end when it is not closed.
size_t string_length(std::string_view text, size_t at) {
  size_t end = at + 1;
  while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
  return std::min(end + 1, text.size()) - at;
}

/// Throws Error(malformed) for text nested deeper than kMaxDepth. Python's json module writes and reads three words
/// that JSON does not have: they are put in quotes.
std::string quote_python_numbers(std::string_view text, std::string_view origin) {
  constexpr std::string_view kWords[] = {"NaN", "-Infinity", "Infinity"};
  std::string out;
  out.reserve(text.size());
  int depth = 0;
  for (size_t at = 0; at < text.size();) {
    size_t length = text[at] == '"' ? string_length(text, at) : 1;
    if (text[at] == '{' || text[at] == '[') ++depth;
    if (text[at] == '}' || text[at] == ']') --depth;
    if (depth > kMaxDepth) throw fail(StatusCode::malformed, "{}: nested deeper than {} levels", origin, kMaxDepth);
    bool word_found = false;
    for (std::string_view word : kWords) {
      if (word_found || text[at] == '"' || !starts_at(text, at, word)) continue;
      word_found = true;
      length = word.size();
    }
    if (word_found) out += '"';
    out += text.substr(at, length);
    if (word_found) out += '"';
    at += length;
  }
  return out;
}

std::string shown(const std::filesystem::path& path) {
  return inazuma::quoted(path.string(), 400);
}

}  // namespace

std::string read_text_file(const std::filesystem::path& path) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error) throw fail(StatusCode::not_found, "{}: cannot be read: {}", shown(path), error.message());
  if (size > kLargestFile) throw fail(StatusCode::too_large, "{}: {} bytes, more than 1 GiB", shown(path), size);
  std::ifstream file(path, std::ios::binary);
  std::string text(size, '\0');
  if (!file || !file.read(text.data(), static_cast<std::streamsize>(size)))
    throw fail(StatusCode::not_found, "{}: cannot be read", shown(path));
  return text;
}

std::string_view json_complaint(std::string_view what) {
  const size_t end = what.starts_with('[') ? what.find("] ") : std::string_view::npos;
  return end == std::string_view::npos ? what : what.substr(end + 2);
}

nlohmann::json parse_python_json(std::string_view text, std::string_view origin) {
  try {
    return nlohmann::json::parse(quote_python_numbers(text, origin));
  } catch (const nlohmann::json::exception& error) {
    throw fail(StatusCode::malformed, "{}: not valid JSON: {}", origin,
               inazuma::quoted(json_complaint(error.what()), 200));
  }
}

nlohmann::json read_json_file(const std::filesystem::path& path) {
  return parse_python_json(read_text_file(path), shown(path));
}

}  // namespace inazuma
