#pragma once
// A trie over byte strings as a double array (Aoe 1989, with exclusive-or addressing): one array access per byte.

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace inazuma {

class DoubleArray {
 public:
  static constexpr int32_t kNone = -1;
  static constexpr uint32_t kRoot = 0;

  DoubleArray() = default;
  /// `keys`: non-empty, different, without NUL; values >= 0. Sorts them. Time about linear in their bytes.
  explicit DoubleArray(std::vector<std::pair<std::string_view, int32_t>> keys);

  bool empty() const { return units_.empty(); }
  /// Follows one byte from `node`; false when no key continues so.
  bool step(uint32_t& node, unsigned char byte) const {
    const uint32_t next = units_[node].base ^ byte;
    if (next >= units_.size() || units_[next].parent != node || next == kRoot) return false;
    node = next;
    return true;
  }
  /// Value of the key that ends at `node`, or kNone.
  int32_t value(uint32_t node) const { return units_[node].value; }
  /// Value of exactly this key, or kNone.
  int32_t find(std::string_view key) const;
  /// Length of the longest key that `text` starts with; 0 when there is none.
  size_t longest_prefix(std::string_view text) const;

 private:
  friend class DoubleArrayBuilder;
  struct Unit {
    uint32_t base = 0;
    uint32_t parent = UINT32_MAX;
    int32_t value = kNone;
  };
  std::vector<Unit> units_;
};

}  // namespace inazuma
