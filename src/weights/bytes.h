#pragma once
// Small tools for reading files that may be hostile: unaligned loads, arithmetic that notices overflow, names made
// printable.

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace inazuma {

/// The little-endian integer at `offset`; the caller has checked that sizeof(T) bytes are there.
template <class T>
T load_little_endian(std::string_view bytes, size_t offset) {
  static_assert(std::is_integral_v<T>);
  std::make_unsigned_t<T> value = 0;
  for (size_t i = 0; i < sizeof(T); ++i)
    value = static_cast<std::make_unsigned_t<T>>(
        value | static_cast<std::make_unsigned_t<T>>(
                    static_cast<std::make_unsigned_t<T>>(static_cast<unsigned char>(bytes[offset + i])) << (8 * i)));
  return static_cast<T>(value);
}

inline std::optional<uint64_t> checked_multiply(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

/// Product of extents >= 0; nothing when it does not fit into 63 bits. A zero extent makes zero wherever it stands.
std::optional<uint64_t> checked_elements(std::span<const int64_t> shape);

bool valid_utf8(std::string_view text);

/// A tensor or file name without quotes, fit for one line of a report.
std::string printable(std::string_view name);

/// "[2, 3]"
std::string format_extents(std::span<const int64_t> extents);

}  // namespace inazuma
