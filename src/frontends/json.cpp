#include "frontends/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "text/unicode.h"

namespace inazuma {

namespace {

constexpr size_t kMaxDepth = 100;

// Where a value stands, as a chain of keys: the sentence is only put together when it is needed.
struct Place {
  const Place* outer = nullptr;
  std::string_view key;

  std::string path() const { return outer == nullptr ? std::string(key) : outer->path() + "." + std::string(key); }
};

void check_duplicates(Json value, const Place* where) {
  if (value.is_object()) {
    std::set<std::string_view> seen;
    for (const auto field : simdjson::dom::object(value)) {
      const Place place{where, field.key};
      if (!seen.insert(field.key).second)
        throw fail(StatusCode::malformed, "the body repeats the key {}", quoted(place.path()));
      check_duplicates(field.value, &place);
    }
  } else if (value.is_array()) {
    for (const Json item : simdjson::dom::array(value)) check_duplicates(item, where);
  }
}

void append_escaped(std::string& out, std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if (byte < 0x20 || byte == 0x7F)
          out += fmt::format("\\u{:04x}", byte);
        else
          out += c;
    }
  }
}

template <class T>
void append_number(std::string& out, T value) {
  char digits[64];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(digits, end);
}

}  // namespace

void JsonWriter::separate() {
  if (comma_) out_ += ',';
  comma_ = true;
}

JsonWriter& JsonWriter::open(char bracket) {
  separate();
  out_ += bracket;
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  out_ += bracket;
  comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  text(name);
  out_ += ':';
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::text(std::string_view value) {
  separate();
  out_ += '"';
  if (simdjson::validate_utf8(value.data(), value.size()))
    append_escaped(out_, value);
  else
    append_escaped(out_, replace_ill_formed(value));
  out_ += '"';
  return *this;
}

JsonWriter& JsonWriter::number(int64_t value) {
  return separate(), append_number(out_, value), *this;
}
JsonWriter& JsonWriter::number_u64(uint64_t value) {
  return separate(), append_number(out_, value), *this;
}
JsonWriter& JsonWriter::number(float value) {
  if (!std::isfinite(value)) return null();
  return separate(), append_number(out_, value), *this;
}
JsonWriter& JsonWriter::number(double value) {
  if (!std::isfinite(value)) return null();
  return separate(), append_number(out_, value), *this;
}
JsonWriter& JsonWriter::boolean(bool value) {
  return separate(), out_ += value ? "true" : "false", *this;
}
JsonWriter& JsonWriter::raw(std::string_view json) {
  return separate(), out_ += json, *this;
}
JsonWriter& JsonWriter::null() {
  return separate(), out_ += "null", *this;
}

JsonDocument::JsonDocument(std::string_view body) : text_(body) {
  if (body.find_first_not_of(" \t\r\n") == std::string_view::npos)
    throw fail(StatusCode::malformed, "the body is empty; send a JSON object");
  if (const auto error = parser_.allocate(body.size(), kMaxDepth); error)
    throw fail(StatusCode::out_of_memory, "no memory to read the body");
  const auto error = parser_.parse(text_).get(root_);
  switch (error) {
    case simdjson::SUCCESS: break;
    case simdjson::DEPTH_ERROR:
      throw fail(StatusCode::malformed, "the body is nested deeper than {} levels", kMaxDepth);
    case simdjson::UTF8_ERROR: throw fail(StatusCode::malformed, "the body is not valid UTF-8");
    case simdjson::NUMBER_ERROR:
      throw fail(StatusCode::malformed, "the body holds a number that is not valid or has more than 64 bits");
    case simdjson::STRING_ERROR:
      throw fail(StatusCode::malformed,
                 "the body is not valid JSON: a string holds an escape that stands for no character (half of a "
                 "surrogate pair, or an unknown letter after the backslash)");
    default: throw fail(StatusCode::malformed, "the body is not valid JSON: {}", simdjson::error_message(error));
  }
  check_duplicates(root_, nullptr);
}

JsonFields::JsonFields(Json object, std::string where) : where_(std::move(where)) {
  if (!object.is_object())
    throw fail(where_.empty() ? StatusCode::malformed : StatusCode::invalid, "{} must be a JSON object, is {}",
               where_.empty() ? "the body" : where_.substr(0, where_.size() - 1), shown(object));
  object_ = object;
}

void JsonFields::wrong(std::string_view name, Json value, std::string_view expected) const {
  throw fail(StatusCode::invalid, "{}{} is {}, must be {}", where_, name, shown(value), expected);
}

std::optional<Json> JsonFields::find(std::string_view name) {
  if (std::find(asked_.begin(), asked_.end(), name) == asked_.end()) asked_.emplace_back(name);
  Json value;
  if (object_.at_key(name).get(value) || value.is_null()) return std::nullopt;
  return value;
}

std::optional<std::string> JsonFields::text(std::string_view name) {
  const auto value = find(name);
  if (!value) return std::nullopt;
  std::string_view text;
  if (value->get(text)) wrong(name, *value, "a string");
  return std::string(text);
}

std::optional<bool> JsonFields::boolean(std::string_view name) {
  const auto value = find(name);
  if (!value) return std::nullopt;
  bool flag = false;
  if (value->get(flag)) wrong(name, *value, "true or false");
  return flag;
}

std::optional<int> JsonFields::integer(std::string_view name, int64_t low, int64_t high) {
  const auto value = find(name);
  if (!value) return std::nullopt;
  int64_t number = 0;
  const std::string range = fmt::format("an integer in [{}, {}]", low, high);
  if (value->get(number) || number < low || number > high) wrong(name, *value, range);
  return static_cast<int>(number);
}

std::optional<uint64_t> JsonFields::unsigned64(std::string_view name) {
  const auto value = find(name);
  if (!value) return std::nullopt;
  uint64_t number = 0;
  if (value->get(number)) wrong(name, *value, "an integer in [0, 18446744073709551615]");
  return number;
}

std::optional<float> JsonFields::real(std::string_view name) {
  const auto value = find(name);
  if (!value) return std::nullopt;
  double number = 0;
  if (value->get(number)) wrong(name, *value, "a number");
  if (std::abs(number) > std::numeric_limits<float>::max()) wrong(name, *value, "a number that fits float32");
  return static_cast<float>(number);
}

std::optional<std::vector<std::string>> JsonFields::texts(std::string_view name) {
  const auto value = find(name);
  if (!value) return std::nullopt;
  std::string_view text;
  if (!value->get(text)) return std::vector<std::string>{std::string(text)};
  if (!value->is_array()) wrong(name, *value, "a string or an array of strings");
  std::vector<std::string> out;
  for (const Json item : simdjson::dom::array(*value)) {
    if (item.get(text)) wrong(name, item, "a string or an array of strings");
    out.emplace_back(text);
  }
  return out;
}

std::vector<std::string> JsonFields::unknown() const {
  std::vector<std::string> out;
  for (const auto field : object_)
    if (std::find(asked_.begin(), asked_.end(), field.key) == asked_.end()) out.emplace_back(field.key);
  return out;
}

std::string shown(Json value) {
  std::string_view text;
  if (!value.get(text)) return quoted(text);
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  const std::string minified = simdjson::minify(value);
  return minified.size() > 64 ? minified.substr(0, 64) + "…" : minified;
}

std::optional<std::string> nearest(std::string_view name, const std::vector<std::string>& known) {
  constexpr size_t kLongestName = 64;  // longer is no slip, and comparing takes time
  if (name.size() > kLongestName) return std::nullopt;
  std::optional<std::string> best;
  size_t least = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : known) {
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t j = 0; j <= candidate.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= name.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j <= candidate.size(); ++j) {
        const size_t replaced = diagonal + (name[i - 1] == candidate[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
      }
    }
    if (row.back() < least) least = row.back(), best = candidate;
  }
  return best;
}

}  // namespace inazuma
