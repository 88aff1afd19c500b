#pragma once
// Files of a model directory, whole: text, and JSON as Python writes it.

#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/status.h"

namespace inazuma {

/// Throws Error(not_found), or Error(too_large) over 1 GiB, with the path in the sentence.
std::string read_text_file(const std::filesystem::path& path);
/// The same, parsed. Throws Error(malformed) naming path and place.
nlohmann::json read_json_file(const std::filesystem::path& path);
/// NaN, Infinity and -Infinity, which Python writes and JSON lacks, become the strings "NaN", ..., which no numeric
/// field accepts. Throws Error(malformed) naming `origin` and the place.
nlohmann::json parse_python_json(std::string_view text, std::string_view origin);

/// What a JSON parser's exception says, without the exception's own name and number before it.
std::string_view json_complaint(std::string_view what);

}  // namespace inazuma
