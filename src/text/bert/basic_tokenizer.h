#pragma once
// transformers' BasicTokenizer: cleaning, NFC, whitespace, case, accents, punctuation.

#include <set>
#include <string>
#include <vector>

#include "text/unicode.h"

namespace inazuma {

using TextSet = std::set<std::u32string, std::less<>>;

struct BasicTokenizer {
  bool lower_case = true;
  bool space_ideographs = true;       ///< tokenize_chinese_chars
  std::optional<bool> strip_accents;  ///< unset: as lower_case
  TextSet never_split;                ///< the class's own list together with all special tokens

  /// The words of a text, each with its alignment; never empty ones.
  std::vector<AlignedText> tokenize(const AlignedText& text) const;

 private:
  AlignedText clean(const AlignedText& text) const;
  AlignedText fold(AlignedText word) const;
  void split_on_punctuation(const AlignedText& word, std::vector<AlignedText>& out) const;
};

}  // namespace inazuma
