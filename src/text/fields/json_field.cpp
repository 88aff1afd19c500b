#include "text/fields/json_field.h"

#include <cmath>

#include "text/unicode.h"

namespace inazuma {

using nlohmann::json;

void JsonField::malformed(std::string_view problem) const {
  throw fail(StatusCode::malformed, "{} {}", place_, problem);
}

void JsonField::unknown_type(std::string_view type, std::string_view known) const {
  throw fail(StatusCode::unsupported, "{}.type {} is not known; known: {}", place_, quoted(type), known);
}

JsonField JsonField::member(std::string_view key, const json& value) const {
  return {value, fmt::format("{}{}{}", place_, root_ ? ": " : ".", key), false};
}

std::optional<JsonField> JsonField::find(std::string_view key) const {
  const json& all = object();
  auto found = all.find(key);
  if (found == all.end() || found->is_null()) return std::nullopt;
  return member(key, *found);
}

JsonField JsonField::at(std::string_view key) const {
  auto found = find(key);
  if (!found) throw fail(StatusCode::malformed, "{}{}{} is missing", place_, root_ ? ": " : ".", key);
  return *found;
}

size_t JsonField::size() const {
  if (!value_->is_array()) malformed("must be a list");
  return value_->size();
}

JsonField JsonField::item(size_t index) const {
  return {(*value_)[index], fmt::format("{}[{}]", place_, index), false};
}

const json& JsonField::object() const {
  if (!value_->is_object()) malformed("must be an object");
  return *value_;
}

std::string JsonField::text() const {
  if (!value_->is_string()) malformed("must be a string");
  return value_->get<std::string>();
}

bool JsonField::flag() const {
  if (!value_->is_boolean()) malformed("must be true or false");
  return value_->get<bool>();
}

int64_t JsonField::integer(int64_t low, int64_t high) const {
  if (value_->is_number_unsigned()) {
    const auto number = value_->get<uint64_t>();
    if (number <= static_cast<uint64_t>(INT64_MAX)) {
      const auto value = static_cast<int64_t>(number);
      if (low <= value && value <= high) return value;
    }
  } else if (value_->is_number_integer()) {
    const auto value = value_->get<int64_t>();
    if (low <= value && value <= high) return value;
  }
  malformed(fmt::format("must be an integer from {} to {}", low, high));
}

double JsonField::number() const {
  if (!value_->is_number()) malformed("must be a number");
  const double value = value_->get<double>();
  if (!std::isfinite(value)) malformed("must be a finite number");
  return value;
}

char32_t JsonField::character() const {
  const std::u32string points = decode_utf8(text());
  if (points.size() != 1) malformed("must be one character");
  return points.front();
}

std::string JsonField::text_or(std::string_view key, std::string_view fallback) const {
  auto found = find(key);
  return found ? found->text() : std::string(fallback);
}

bool JsonField::flag_or(std::string_view key, bool fallback) const {
  auto found = find(key);
  return found ? found->flag() : fallback;
}

}  // namespace inazuma
