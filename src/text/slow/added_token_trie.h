#pragma once
// Cuts registered tokens out of a text exactly as the Trie of transformers' slow tokenizers does (its look-ahead
// included).

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace inazuma {

class AddedTokenTrie {
 public:
  AddedTokenTrie() : nodes_(1) {}

  void add(std::u32string_view word);
  /// Cuts of `text`: positions in increasing order, first 0, last text.size() (a text without a match gives just these
  /// two; an empty text gives {0}).
  std::vector<size_t> cut(std::u32string_view text) const;

 private:
  struct Node {
    std::vector<std::pair<char32_t, int32_t>> next;  // few branches: linear search
    bool terminal = false;
  };
  static constexpr int32_t kNone = -1;
  struct State {
    size_t start;
    int32_t node;
  };

  int32_t step(int32_t node, char32_t point) const;
  std::pair<size_t, size_t> look_ahead(std::u32string_view text, const std::vector<State>& states, size_t start,
                                       size_t current, size_t& skip) const;

  std::vector<Node> nodes_;
};

}  // namespace inazuma
