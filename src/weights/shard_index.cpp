#include "weights/shard_index.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/json_file.h"
#include "base/status.h"
#include "weights/bytes.h"

namespace inazuma {
namespace {

using Json = nlohmann::json;

/// The parser keeps the last of equal keys in silence; two homes for one tensor must not pass unnoticed.
Json parse_without_duplicates(std::string_view file, std::string_view text) {
  // The parser would take a NUL for the end of its input and not look at what follows.
  if (text.find('\0') != std::string_view::npos)
    throw fail(StatusCode::malformed, "{}: not valid JSON: it holds a NUL byte", file);
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second)
      throw fail(StatusCode::malformed, "{}: duplicate key {}", file, inazuma::quoted(value.get<std::string>()));
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), watch);
  } catch (const Json::parse_error& error) {
    throw fail(StatusCode::malformed, "{}: not valid JSON at byte {}: {}", file, error.byte,
               json_complaint(error.what()));
  }
}

bool plain_file_name(std::string_view name) {
  const bool has_bad_byte = std::any_of(name.begin(), name.end(),
                                        [](unsigned char c) { return c == '/' || c == '\\' || c < 0x20 || c == 0x7F; });
  return !name.empty() && name != "." && !has_bad_byte && name.find("..") == std::string_view::npos;
}

}  // namespace

ShardIndex read_shard_index(std::string_view file_name, std::string_view text) {
  const std::string file = printable(file_name);
  const Json index = parse_without_duplicates(file, text);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    throw fail(StatusCode::malformed, "{}: must be a JSON object with an object \"weight_map\"", file);
  ShardIndex shards;
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    if (!shard.is_string())
      throw fail(StatusCode::malformed, "{}: tensor {}: its shard must be a file name", file, inazuma::quoted(tensor));
    const auto& name = shard.get_ref<const std::string&>();
    if (!plain_file_name(name))
      throw fail(StatusCode::malformed,
                 "{}: tensor {}: shard {} is not a plain file name (no '/', '\\', '..' or control characters)", file,
                 inazuma::quoted(tensor), inazuma::quoted(name));
    shards[name].push_back(tensor);
  }
  if (shards.empty()) throw fail(StatusCode::malformed, "{}: weight_map is empty", file);
  return shards;
}

}  // namespace inazuma
