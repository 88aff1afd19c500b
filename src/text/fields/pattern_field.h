#pragma once
// Fields that several parts of tokenizer.json share.

#include <optional>
#include <string>
#include <string_view>

#include "text/aligned/pattern.h"
#include "text/fields/json_field.h"

namespace inazuma {

/// {"String": ...} or {"Regex": ...}.
Pattern read_pattern(const JsonField& field);
SplitBehavior read_behavior(const JsonField& field);

/// Which pieces Metaspace puts its character before.
enum class PrependScheme { first, never, always };
/// prepend_scheme, or the older add_prefix_space, of a Metaspace part.
PrependScheme read_prepend_scheme(const JsonField& field);

/// Standard base64 with padding; nullopt for anything else.
std::optional<std::string> decode_base64(std::string_view text);
std::string encode_base64(std::string_view bytes);

}  // namespace inazuma
