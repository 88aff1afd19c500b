#pragma once
// SentencePiece's precompiled character map: a double array (as Darts-clone lays it out) from UTF-8 prefixes to
// replacement strings. Also the "Precompiled" normaliser of tokenizer.json, which asks it differently.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace inazuma {

class Charsmap {
 public:
  struct Match {
    size_t length = 0;             ///< bytes of the text that are replaced, at least 1
    std::string_view replacement;  ///< UTF-8, may be empty; lives as long as the map
  };

  /// An empty map: nothing matches.
  Charsmap() = default;
  /// `blob`: u32 little-endian byte length of the array, the array in u32 units, NUL-terminated replacements. An empty
  /// blob is an empty map. The file is not trusted: throws Error(malformed) with the byte position inside the blob; a
  /// map that was accepted never reads outside its bytes, whatever the text.
  explicit Charsmap(std::string_view blob);

  bool empty() const { return units_.empty(); }
  /// The longest key that `text` starts with: SentencePiece's rule.
  std::optional<Match> longest(std::string_view text) const;
  /// The shortest one: the rule of the tokenizers library.
  std::optional<Match> shortest(std::string_view text) const;

 private:
  std::optional<Match> find(std::string_view text, bool longest) const;
  void check_values() const;
  std::string_view replacement(uint32_t offset) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace inazuma
