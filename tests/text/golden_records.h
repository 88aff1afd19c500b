#pragma once
// Reads the golden files that tools/golden/make_tokenizers.py writes (the record format is described there).

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace inazuma::golden {

std::filesystem::path data_directory();
/// Directories below data_directory() that hold a golden.jsonl.gz, sorted.
std::vector<std::string> variants();
/// `variant` may also be a .jsonl.gz file of data_directory(). Throws std::runtime_error when it cannot be read.
void for_each_record(const std::string& variant, const std::function<void(const nlohmann::json&)>& visit);
std::string decode_base64(const std::string& text);
/// The text that a record asks to encode.
std::string text_of(const nlohmann::json& record);

}  // namespace inazuma::golden
