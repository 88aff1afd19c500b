#pragma once
// A value of tokenizer.json together with its place in the file, so that every complaint says where.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/status.h"

namespace inazuma {

class JsonField {
 public:
  /// `place` names the document: "tokenizer.json". The value must outlive the field.
  JsonField(const nlohmann::json& value, std::string place, bool root = true)
      : value_(&value), place_(std::move(place)), root_(root) {}

  const nlohmann::json& value() const { return *value_; }
  const std::string& place() const { return place_; }
  bool is_null() const { return value_->is_null(); }

  /// Members of an object; a missing or null one is nullopt for `find` and Error(malformed) for `at`.
  std::optional<JsonField> find(std::string_view key) const;
  JsonField at(std::string_view key) const;
  /// Number of items of an array; Error(malformed) for anything else.
  size_t size() const;
  JsonField item(size_t index) const;
  const nlohmann::json& object() const;

  std::string text() const;
  bool flag() const;
  int64_t integer(int64_t low, int64_t high) const;
  double number() const;
  /// A string of exactly one character.
  char32_t character() const;

  std::string text_or(std::string_view key, std::string_view fallback) const;
  bool flag_or(std::string_view key, bool fallback) const;

  [[noreturn]] void malformed(std::string_view problem) const;
  /// "tokenizer.json: decoder.type 'Foo' is not known; known: ...".
  [[noreturn]] void unknown_type(std::string_view type, std::string_view known) const;
  JsonField member(std::string_view key, const nlohmann::json& value) const;

 private:
  const nlohmann::json* value_;
  std::string place_;
  bool root_;
};

}  // namespace inazuma
