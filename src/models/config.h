#pragma once
// Typed access to config.json whose errors name field, value and allowed range.

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/json_file.h"
#include "kernels/ops.h"

namespace inazuma {

/// Fields of one configuration object. Every getter takes the names a field may have, most binding first (attribute
/// aliases such as hidden_size for n_embd), and its default; absent and null fields take the default. Throws
/// Error(invalid).
class Config {
 public:
  using Names = std::initializer_list<std::string_view>;
  explicit Config(const nlohmann::json& object);

  /// The first of `names` that is present and not null.
  std::optional<std::string_view> present(Names names) const;
  int integer(Names names, int fallback, int low, int high) const;
  std::optional<int> optional_integer(Names names, int low, int high) const;
  /// Finite.
  double real(Names names, double fallback) const;
  double positive(Names names, double fallback) const;
  /// true, false, and the numbers Python takes for them.
  bool flag(Names names, bool fallback) const;
  std::string text(Names names, std::string_view fallback) const;
  Activation activation(Names names, std::string_view fallback) const;

 private:
  const nlohmann::json& at(std::string_view name) const { return object_.at(std::string(name)); }
  const nlohmann::json& object_;
};

/// Sizes that no real model exceeds: they keep products of two of them far from overflow.
constexpr int kMaxWidth = 1 << 20;
constexpr int kMaxLayers = 1000;
constexpr int kMaxVocabulary = 1 << 26;
constexpr int kMaxPositions = 1 << 24;

/// Fails with invalid: "config.json: hidden_size 30 is not a multiple of num_attention_heads 4".
void check_divisible(std::string_view name, int value, std::string_view divisor_name, int divisor);

}  // namespace inazuma
