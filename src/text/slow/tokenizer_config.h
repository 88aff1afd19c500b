#pragma once
// The small JSON files beside a vocabulary, merged as transformers 4.57's PreTrainedTokenizerBase.from_pretrained
// merges them.

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/json_file.h"

namespace inazuma {

/// A token that is cut out of the text before anything else looks at it (tokenizers' AddedToken).
struct AddedToken {
  std::string content;
  bool lstrip = false;       ///< swallows whitespace on its left
  bool rstrip = false;       ///< swallows whitespace on its right
  bool single_word = false;  ///< only between spaces
  bool normalized = true;
  bool special = false;
};

/// Reads {"content": ..., "lstrip": ...}; `special` is the default when the key is absent. Throws Error(malformed).
AddedToken read_added_token(const nlohmann::json& value, bool special, std::string_view place);

/// Constructor arguments of a tokenizer class.
class TokenizerConfig {
 public:
  /// tokenizer_config.json; without an `added_tokens_decoder` there, special_tokens_map.json overrides it and
  /// added_tokens.json and the `added_tokens` of tokenizer.json are taken as added tokens (the legacy path of
  /// from_pretrained). Absent files are fine. Throws Error(malformed) naming file and key.
  static TokenizerConfig read(const std::filesystem::path& directory);

  const std::filesystem::path& directory() const { return directory_; }
  const nlohmann::json& values() const { return values_; }
  /// Added tokens by id, with flags. std::map, so in order of id.
  const std::map<int32_t, AddedToken>& added_tokens() const { return added_tokens_; }

  /// Typed look-ups; absent or null gives the default, a wrong type throws Error(invalid) naming key and type.
  bool flag(std::string_view key, bool fallback) const;
  std::optional<bool> optional_flag(std::string_view key) const;
  std::string text(std::string_view key, std::string_view fallback) const;
  std::optional<std::string> optional_text(std::string_view key) const;
  int64_t integer(std::string_view key, int64_t fallback) const;
  std::vector<std::string> texts(std::string_view key) const;
  /// unk_token, bos_token, ... : the token's text with the flags known for it; nullopt when absent or null.
  std::optional<AddedToken> special_token(std::string_view key) const;
  std::vector<AddedToken> additional_special_tokens() const;
  /// model_max_length (or the older max_len); 0 when absent or > 1e20.
  int32_t model_max_length() const;

 private:
  const nlohmann::json* find(std::string_view key) const;
  AddedToken resolve(const nlohmann::json& value, std::string_view key) const;
  void read_legacy_special_tokens();
  void read_legacy_added_tokens();

  std::filesystem::path directory_;
  nlohmann::json values_ = nlohmann::json::object();
  std::map<int32_t, AddedToken> added_tokens_;
};

}  // namespace inazuma
