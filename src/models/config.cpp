#include "models/config.h"

#include <cmath>

namespace inazuma {
namespace {

std::string shown(const nlohmann::json& value) {
  return inazuma::quoted(value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace

Config::Config(const nlohmann::json& object) : object_(object) {
  if (!object.is_object()) throw fail(StatusCode::malformed, "config.json: must be an object, is {}", shown(object));
}

std::optional<std::string_view> Config::present(Names names) const {
  for (std::string_view name : names) {
    const auto found = object_.find(std::string(name));
    if (found != object_.end() && !found->is_null()) return name;
  }
  return std::nullopt;
}

std::optional<int> Config::optional_integer(Names names, int low, int high) const {
  const auto name = present(names);
  if (!name) return std::nullopt;
  const nlohmann::json& value = at(*name);
  // Unsigned numbers beyond int64 and floats such as 1e30 are out of every range here.
  const bool whole = value.is_number_integer() && (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX);
  if (!whole || value.get<int64_t>() < low || value.get<int64_t>() > high) {
    throw fail(StatusCode::invalid, "config.json: {} is {}, must be an integer in [{}, {}]", *name, shown(value), low,
               high);
  }
  return static_cast<int>(value.get<int64_t>());
}

int Config::integer(Names names, int fallback, int low, int high) const {
  return optional_integer(names, low, high).value_or(fallback);
}

double Config::real(Names names, double fallback) const {
  const auto name = present(names);
  if (!name) return fallback;
  const nlohmann::json& value = at(*name);
  if (!value.is_number() || !std::isfinite(value.get<double>())) {
    throw fail(StatusCode::invalid, "config.json: {} is {}, must be a finite number", *name, shown(value));
  }
  return value.get<double>();
}

double Config::positive(Names names, double fallback) const {
  const double value = real(names, fallback);
  if (value > 0) return value;
  throw fail(StatusCode::invalid, "config.json: {} is {}, must be greater than 0", *present(names), value);
}

bool Config::flag(Names names, bool fallback) const {
  const auto name = present(names);
  if (!name) return fallback;
  const nlohmann::json& value = at(*name);
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) return value.get<double>() != 0;
  throw fail(StatusCode::invalid, "config.json: {} is {}, must be true or false", *name, shown(value));
}

std::string Config::text(Names names, std::string_view fallback) const {
  const auto name = present(names);
  if (!name) return std::string(fallback);
  const nlohmann::json& value = at(*name);
  if (!value.is_string())
    throw fail(StatusCode::invalid, "config.json: {} is {}, must be a string", *name, shown(value));
  return value.get<std::string>();
}

Activation Config::activation(Names names, std::string_view fallback) const {
  const Result<Activation> parsed = parse_activation(text(names, fallback));
  if (!parsed) throw Error(parsed.status().in(fmt::format("config.json: {}", present(names).value_or(fallback))));
  return *parsed;
}

void check_divisible(std::string_view name, int value, std::string_view divisor_name, int divisor) {
  if (value % divisor == 0) return;
  throw fail(StatusCode::invalid, "config.json: {} {} is not a multiple of {} {}", name, value, divisor_name, divisor);
}

}  // namespace inazuma
