#pragma once
// JSON at the edge: a small writer, and reading of requests with errors that name the field.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

#include <simdjson.h>

namespace inazuma {

/// Writes compact UTF-8 JSON (not ASCII-escaped). Commas are placed by the writer; ill-formed UTF-8 becomes U+FFFD.
class JsonWriter {
 public:
  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name);
  JsonWriter& text(std::string_view value);
  JsonWriter& number(int64_t value);
  JsonWriter& number_u64(uint64_t value);
  /// Shortest decimal that reads back to the same float32; NaN and infinities are null.
  JsonWriter& number(float value);
  JsonWriter& number(double value);
  JsonWriter& boolean(bool value);
  JsonWriter& null();
  /// A value that is JSON already.
  JsonWriter& raw(std::string_view json);
  std::string take() && { return std::move(out_); }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  void separate();
  std::string out_;
  bool comma_ = false;
};

using Json = simdjson::dom::element;

/// A parsed body. Owns the memory the elements refer to.
class JsonDocument {
 public:
  /// malformed for what is not JSON, not UTF-8, nested deeper than 100, or repeats a key (named).
  explicit JsonDocument(std::string_view body);  // throws Error
  Json root() const { return root_; }

 private:
  simdjson::dom::parser parser_;
  simdjson::padded_string text_;
  Json root_;
};

/// Typed access to one object's fields; every method throws Error(invalid) naming field, value and what is allowed.
/// Fields nobody asked for can be listed afterwards.
class JsonFields {
 public:
  /// `where` is put before field names ("parameters.").
  JsonFields(Json object, std::string where = "");

  std::optional<Json> find(std::string_view name);  ///< absent or null: nullopt
  std::optional<std::string> text(std::string_view name);
  std::optional<bool> boolean(std::string_view name);
  std::optional<int> integer(std::string_view name, int64_t low, int64_t high);
  std::optional<uint64_t> unsigned64(std::string_view name);
  std::optional<float> real(std::string_view name);
  /// A string or an array of strings.
  std::optional<std::vector<std::string>> texts(std::string_view name);
  /// Names of fields that no call above asked for.
  std::vector<std::string> unknown() const;
  /// Names that calls above asked for (what is known here).
  const std::vector<std::string>& known() const { return asked_; }

 private:
  [[noreturn]] void wrong(std::string_view name, Json value, std::string_view expected) const;
  simdjson::dom::object object_;
  std::string where_;
  std::vector<std::string> asked_;
};

/// A value as one short line for messages.
std::string shown(Json value);
/// The member of `known` nearest to `name` by edit distance, if near enough to be a slip.
std::optional<std::string> nearest(std::string_view name, const std::vector<std::string>& known);

}  // namespace inazuma
