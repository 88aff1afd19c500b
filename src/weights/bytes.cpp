#include "weights/bytes.h"

#include <algorithm>
#include <limits>

#include "base/status.h"

namespace inazuma {

std::optional<uint64_t> checked_elements(std::span<const int64_t> shape) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  uint64_t product = 1;
  for (int64_t extent : shape) {
    const auto next = checked_multiply(product, static_cast<uint64_t>(extent));
    if (extent < 0 || !next || *next > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
    product = *next;
  }
  return product;
}

bool valid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    if (first < 0x80) {
      ++i;
      continue;
    }
    // Second byte's range excludes overlong forms, surrogates and code points past U+10FFFF (Unicode 15, table 3-7).
    unsigned low = 0x80, high = 0xBF;
    size_t tail = 0;
    if (first >= 0xC2 && first <= 0xDF) tail = 1;
    if (first >= 0xE0 && first <= 0xEF) tail = 2;
    if (first >= 0xF0 && first <= 0xF4) tail = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
    if (tail == 0 || text.size() - i <= tail) return false;
    for (size_t k = 1; k <= tail; ++k, low = 0x80, high = 0xBF) {
      const auto byte = static_cast<unsigned char>(text[i + k]);
      if (byte < low || byte > high) return false;
    }
    i += tail + 1;
  }
  return true;
}

std::string printable(std::string_view name) {
  const std::string in_quotes = inazuma::quoted(name, 200);
  return in_quotes.substr(1, in_quotes.size() - 2);
}

std::string format_extents(std::span<const int64_t> extents) {
  return fmt::format("[{}]", fmt::join(extents, ", "));
}

}  // namespace inazuma
