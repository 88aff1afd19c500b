// Small readers shared by the parts.
#include "text/fields/pattern_field.h"

#include <array>

namespace inazuma {

Pattern read_pattern(const JsonField& field) {
  const auto literal = field.find("String");
  const auto regex = field.find("Regex");
  if (field.object().size() != 1 || (!literal && !regex))
    field.malformed("must be {\"String\": ...} or {\"Regex\": ...}");
  if (literal) return Pattern::literal(literal->text());
  return Pattern::regex(regex->text(), regex->place());
}

SplitBehavior read_behavior(const JsonField& field) {
  constexpr std::array<std::pair<std::string_view, SplitBehavior>, 5> kNames = {
      {{"Removed", SplitBehavior::removed},
       {"Isolated", SplitBehavior::isolated},
       {"MergedWithPrevious", SplitBehavior::merged_with_previous},
       {"MergedWithNext", SplitBehavior::merged_with_next},
       {"Contiguous", SplitBehavior::contiguous}}};
  const std::string name = field.text();
  for (const auto& [known, behavior] : kNames) {
    if (known == name) return behavior;
  }
  field.malformed(
      fmt::format("{} is not one of Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous", quoted(name)));
}

PrependScheme read_prepend_scheme(const JsonField& field) {
  const auto named = field.find("prepend_scheme");
  const auto old = field.find("add_prefix_space");
  if (!named) return !old || old->flag() ? PrependScheme::always : PrependScheme::never;
  const std::string name = named->text();
  PrependScheme scheme = PrependScheme::always;
  if (name == "first") {
    scheme = PrependScheme::first;
  } else if (name == "never") {
    scheme = PrependScheme::never;
  } else if (name != "always") {
    named->malformed(fmt::format("{} is not one of first, never, always", quoted(name)));
  }
  if (old && !old->flag() && scheme != PrependScheme::never) {
    named->malformed("contradicts add_prefix_space false");
  }
  return scheme;
}

std::optional<std::string> decode_base64(std::string_view text) {
  const auto value = [](char c) -> int {
    if ('A' <= c && c <= 'Z') return c - 'A';
    if ('a' <= c && c <= 'z') return c - 'a' + 26;
    if ('0' <= c && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
  };
  if (text.size() % 4 != 0) return std::nullopt;
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 3);
  uint32_t bits = 0;
  int held = 0;
  for (char c : text) {
    const int six = value(c);
    if (six < 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(six);
    held += 6;
    if (held < 8) continue;
    held -= 8;
    bytes += static_cast<char>(bits >> held & 0xFF);
  }
  return bytes;
}

std::string encode_base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) text += k <= count ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

}  // namespace inazuma
