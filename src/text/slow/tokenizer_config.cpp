#include "text/slow/tokenizer_config.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <system_error>

#include "text/tokenizer.h"

namespace inazuma {

namespace {

using Json = nlohmann::json;

bool read_flag(const Json& value, const char* key, bool fallback, std::string_view place) {
  auto found = value.find(key);
  if (found == value.end() || found->is_null()) return fallback;
  if (!found->is_boolean()) throw fail(StatusCode::malformed, "{}: '{}' must be true or false", place, key);
  return found->get<bool>();
}

int32_t parse_id(const std::string& text, std::string_view place) {
  int64_t id = -1;
  if (!text.empty() && text.size() <= 10 &&
      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    id = std::stoll(text);
  }
  if (id < 0 || id > INT32_MAX)
    throw fail(StatusCode::malformed, "{}: {} is not a token id", place, quoted(std::string_view(text)));
  return static_cast<int32_t>(id);
}

int32_t read_id(const Json& value, std::string_view place) {
  if (!value.is_number_integer()) throw fail(StatusCode::malformed, "{}: a token id must be an integer", place);
  return parse_id(value.dump(), place);
}

const Json& require_object(const Json& value, std::string_view place) {
  if (!value.is_object()) throw fail(StatusCode::malformed, "{}: must be a JSON object", place);
  return value;
}

}  // namespace

AddedToken read_added_token(const Json& value, bool special, std::string_view place) {
  auto content = require_object(value, place).find("content");
  if (content == value.end() || !content->is_string()) {
    throw fail(StatusCode::malformed, "{}: an added token needs a string 'content'", place);
  }
  AddedToken token;
  token.content = content->get<std::string>();
  token.special = read_flag(value, "special", special, place);
  token.lstrip = read_flag(value, "lstrip", false, place);
  token.rstrip = read_flag(value, "rstrip", false, place);
  token.single_word = read_flag(value, "single_word", false, place);
  token.normalized = read_flag(value, "normalized", !token.special, place);
  return token;
}

TokenizerConfig TokenizerConfig::read(const std::filesystem::path& directory) {
  TokenizerConfig config;
  config.directory_ = directory;
  auto path = directory / "tokenizer_config.json";
  if (std::filesystem::exists(path)) {
    config.values_ = read_json_file(path);
    require_object(config.values_, path.string());
  }
  const Json* decoder = config.find("added_tokens_decoder");
  if (decoder == nullptr) {
    config.read_legacy_special_tokens();
    config.read_legacy_added_tokens();
    return config;
  }
  std::string place = path.string() + ": added_tokens_decoder";
  for (const auto& [id, token] : require_object(*decoder, place).items()) {
    config.added_tokens_[parse_id(id, place)] = read_added_token(token, false, place);
  }
  return config;
}

void TokenizerConfig::read_legacy_special_tokens() {
  auto path = directory_ / "special_tokens_map.json";
  if (!std::filesystem::exists(path)) return;
  Json map = read_json_file(path);
  for (auto& [key, value] : require_object(map, path.string()).items()) {
    if (key == "additional_special_tokens" && value.is_array()) {
      Json all = find(key) != nullptr && find(key)->is_array() ? *find(key) : Json::array();
      for (const Json& token : value) {
        if (std::find(all.begin(), all.end(), token) == all.end()) all.push_back(token);
      }
      values_[key] = std::move(all);
    } else {
      values_[key] = value;
    }
  }
}

void TokenizerConfig::read_legacy_added_tokens() {
  std::vector<std::string> special;
  for (const auto& [key, member] : kSpecialKeys) {
    if (auto token = special_token(key)) special.push_back(token->content);
  }
  for (const AddedToken& token : additional_special_tokens()) special.push_back(token.content);

  auto path = directory_ / "added_tokens.json";
  if (std::filesystem::exists(path)) {
    Json tokens = read_json_file(path);
    for (const auto& [content, id] : require_object(tokens, path.string()).items()) {
      AddedToken token;
      token.content = content;
      token.special = std::find(special.begin(), special.end(), content) != special.end();
      token.normalized = !token.special;
      added_tokens_[read_id(id, path.string())] = token;
    }
  }

  path = directory_ / "tokenizer.json";
  if (!std::filesystem::exists(path)) return;
  Json pipeline = read_json_file(path);
  std::string place = path.string() + ": added_tokens";
  auto tokens = require_object(pipeline, path.string()).find("added_tokens");
  if (tokens == pipeline.end()) return;
  for (const Json& token : *tokens) {
    auto id = require_object(token, place).find("id");
    if (id == token.end()) throw fail(StatusCode::malformed, "{}: a token without 'id'", place);
    added_tokens_[read_id(*id, place)] = read_added_token(token, false, place);
  }
}

const Json* TokenizerConfig::find(std::string_view key) const {
  auto found = values_.find(key);
  return found == values_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<bool> TokenizerConfig::optional_flag(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) {
    throw fail(StatusCode::invalid, "{}: '{}' must be true or false", (directory_ / "tokenizer_config.json").string(),
               key);
  }
  return value->get<bool>();
}

bool TokenizerConfig::flag(std::string_view key, bool fallback) const {
  return optional_flag(key).value_or(fallback);
}

std::optional<std::string> TokenizerConfig::optional_text(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) {
    throw fail(StatusCode::invalid, "{}: '{}' must be a string", (directory_ / "tokenizer_config.json").string(), key);
  }
  return value->get<std::string>();
}

std::string TokenizerConfig::text(std::string_view key, std::string_view fallback) const {
  return optional_text(key).value_or(std::string(fallback));
}

int64_t TokenizerConfig::integer(std::string_view key, int64_t fallback) const {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_number_integer()) {
    throw fail(StatusCode::invalid, "{}: '{}' must be an integer", (directory_ / "tokenizer_config.json").string(),
               key);
  }
  return value->get<int64_t>();
}

std::vector<std::string> TokenizerConfig::texts(std::string_view key) const {
  std::vector<std::string> all;
  const Json* value = find(key);
  if (value == nullptr) return all;
  bool strings =
      value->is_array() && std::all_of(value->begin(), value->end(), [](const Json& v) { return v.is_string(); });
  if (!strings) {
    throw fail(StatusCode::invalid, "{}: '{}' must be a list of strings",
               (directory_ / "tokenizer_config.json").string(), key);
  }
  for (const Json& text : *value) all.push_back(text.get<std::string>());
  return all;
}

AddedToken TokenizerConfig::resolve(const Json& value, std::string_view key) const {
  std::string place = (directory_ / "tokenizer_config.json").string() + ": " + std::string(key);
  if (!value.is_string() && !value.is_object()) {
    throw fail(StatusCode::malformed, "{}: must be a string or a token object", place);
  }
  AddedToken token;
  if (value.is_string()) {
    token.content = value.get<std::string>();
    token.special = true;
    token.normalized = false;
  } else {
    token = read_added_token(value, true, place);
    token.special = true;
  }
  for (const auto& [id, known] : added_tokens_) {
    if (known.content == token.content) return known;
  }
  return token;
}

std::optional<AddedToken> TokenizerConfig::special_token(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  return resolve(*value, key);
}

std::vector<AddedToken> TokenizerConfig::additional_special_tokens() const {
  std::vector<AddedToken> all;
  const Json* value = find("additional_special_tokens");
  if (value == nullptr) return all;
  if (!value->is_array()) {
    throw fail(StatusCode::malformed, "{}: additional_special_tokens must be a list",
               (directory_ / "tokenizer_config.json").string());
  }
  for (const Json& token : *value) all.push_back(resolve(token, "additional_special_tokens"));
  return all;
}

int32_t TokenizerConfig::model_max_length() const {
  const Json* value = find("model_max_length");
  if (value == nullptr) value = find("max_len");
  if (value == nullptr) return 0;
  std::string place = (directory_ / "tokenizer_config.json").string();
  if (!value->is_number()) throw fail(StatusCode::invalid, "{}: 'model_max_length' must be a number", place);
  double length = value->get<double>();
  if (length > 1e20) return 0;
  if (!(length >= 1))
    throw fail(StatusCode::invalid, "{}: 'model_max_length' is {}, must be at least 1", place, length);
  return static_cast<int32_t>(std::min(length, static_cast<double>(INT32_MAX)));
}

}  // namespace inazuma
