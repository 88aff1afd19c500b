#include "text/sentencepiece/charsmap.h"

#include "base/status.h"

namespace inazuma {

namespace {

constexpr size_t kHeader = 4;
constexpr uint32_t kLeaf = 1u << 31;     // the unit holds a value, not a branch
constexpr uint32_t kHasValue = 1u << 8;  // the key that ends here has a value
constexpr uint32_t kLabel = kLeaf | 0xFF;

uint32_t read_u32(std::string_view bytes, size_t at) {
  auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(bytes[at + i])); };
  return byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24;
}

/// Distance (by exclusive or) from a unit to its children.
uint32_t children(uint32_t unit) {
  return (unit >> 10) << ((unit & 0x200) >> 6);
}

}  // namespace

Charsmap::Charsmap(std::string_view blob) {
  if (blob.empty()) return;
  if (blob.size() <= kHeader) {
    throw fail(StatusCode::malformed, "character map of {} bytes is too short for its {}-byte header", blob.size(),
               kHeader);
  }
  const size_t array_bytes = read_u32(blob, 0);
  if (array_bytes == 0 || array_bytes % 4 != 0 || array_bytes >= blob.size() - kHeader) {
    throw fail(
        StatusCode::malformed,
        "character map says at byte 0 that its array has {} bytes; it must be a multiple of 4, above 0 and below "
        "{}",
        array_bytes, blob.size() - kHeader);
  }
  units_.resize(array_bytes / 4);
  for (size_t i = 0; i < units_.size(); ++i) units_[i] = read_u32(blob, kHeader + 4 * i);
  replacements_ = blob.substr(kHeader + array_bytes);
  if (replacements_.back() != '\0') {
    throw fail(StatusCode::malformed, "character map: the last replacement, at byte {}, does not end with NUL",
               blob.size() - 1);
  }
  check_values();
}

/// Looking at every unit once costs less than walking the keys; units that no key reaches carry no value flag.
void Charsmap::check_values() const {
  for (size_t i = 0; i < units_.size(); ++i) {
    const uint32_t unit = units_[i];
    if ((unit & kLeaf) != 0 || (unit & kHasValue) == 0) continue;
    const size_t value = i ^ children(unit);
    if (value >= units_.size() || (units_[value] & ~kLeaf) >= replacements_.size()) {
      throw fail(StatusCode::malformed, "character map: the unit at byte {} points outside the map", kHeader + 4 * i);
    }
  }
}

std::string_view Charsmap::replacement(uint32_t offset) const {
  return std::string_view(replacements_.c_str() + offset);  // ends at the NUL that the constructor made sure of
}

std::optional<Charsmap::Match> Charsmap::find(std::string_view text, bool longest) const {
  std::optional<Match> match;
  if (units_.empty()) return match;
  size_t node = children(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    if (node >= units_.size()) break;
    const uint32_t unit = units_[node];
    if ((unit & kLabel) != byte) break;
    node ^= children(unit);
    if ((unit & kHasValue) == 0) continue;
    match = Match{i + 1, replacement(units_[node] & ~kLeaf)};
    if (!longest) break;
  }
  return match;
}

std::optional<Charsmap::Match> Charsmap::longest(std::string_view text) const {
  return find(text, true);
}

std::optional<Charsmap::Match> Charsmap::shortest(std::string_view text) const {
  return find(text, false);
}

}  // namespace inazuma
