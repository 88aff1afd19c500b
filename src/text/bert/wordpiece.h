#pragma once
// WordPiece: greedy longest match from the left (transformers' WordpieceTokenizer).

#include <functional>
#include <string_view>
#include <vector>

#include "text/slow_base.h"

namespace inazuma {

/// Words as paths of code points; transitions live in one open-addressing table, so a step is one probe.
class PointTrie {
 public:
  PointTrie() : ids_(1, kNone), table_(64) {}

  void add(std::u32string_view word, int32_t id);
  struct Match {
    size_t length = 0;  ///< code points; 0 = no match
    int32_t id = 0;
  };
  /// The longest word that `text` starts with.
  Match longest(std::u32string_view text) const;

 private:
  static constexpr int32_t kNone = -1;
  struct Slot {
    uint64_t key = 0;  // node << 21 | code point, plus 1; 0 = free
    int32_t next = 0;
  };
  static uint64_t key(int32_t node, char32_t point) { return (static_cast<uint64_t>(node) << 21 | point) + 1; }
  size_t slot(uint64_t key) const;
  void grow();

  std::vector<int32_t> ids_;  // by node: id of the word ending there
  std::vector<Slot> table_;   // size is a power of two, at most half full
  size_t used_ = 0;
};

/// Splits on whitespace, then cuts every word into pieces; a word without a full cover, or longer than 100 code points,
/// is one unknown token. The pieces of one call belong to the word `out.words`, which is not advanced.
class WordPiece {
 public:
  WordPiece() = default;
  /// `id_of` names the id to give for each vocabulary entry (an added token's id wins over the vocabulary's).
  WordPiece(const StringMap<int32_t>& vocabulary, const std::function<int32_t(std::string_view)>& id_of,
            int32_t unknown);

  void tokenize(const AlignedText& text, size_t begin, size_t end, Pieces& out) const;
  void tokenize(const AlignedText& text, Pieces& out) const { tokenize(text, 0, text.size(), out); }

 private:
  void tokenize_word(const AlignedText& text, size_t begin, size_t end, Pieces& out) const;

  PointTrie initial_, continuing_;
  int32_t unknown_ = 0;
};

/// Calls visit(begin, end) for each part of text[begin, end) between Python whitespace.
template <class Visit>
void for_each_word(std::u32string_view text, size_t begin, size_t end, Visit&& visit) {
  for (size_t at = begin; at < end;) {
    if (is_python_space(text[at])) {
      ++at;
      continue;
    }
    size_t stop = at;
    while (stop < end && !is_python_space(text[stop])) ++stop;
    visit(at, stop);
    at = stop;
  }
}

}  // namespace inazuma
