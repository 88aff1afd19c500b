#pragma once
// Text on its way through the normalizers of the tokenizers library, byte by byte aligned with the original input.
// The rules of alignment (which character a new one stands for) are those of the library's NormalizedString 0.22,
// oddities included, because offsets are part of the answer.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace inazuma {

/// One character of a rewritten text. `change` says how it relates to the characters that were there: 0 replaces the
/// next one, 1 is new (it shares the span of what precedes it), -n replaces the next one and drops n more.
struct CharChange {
  char32_t point = 0;
  int32_t change = 0;
};

/// A stretch of a text, bytes [begin, end), and whether the pattern matched it.
struct Stretch {
  size_t begin = 0;
  size_t end = 0;
  bool match = false;
};

/// What happens to the matches when a text is split (the library's SplitDelimiterBehavior).
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

class TracedText {
 public:
  TracedText() = default;
  /// `text` must be well-formed UTF-8; point i of it stands for itself.
  explicit TracedText(std::string text);

  const std::string& text() const { return text_; }
  bool empty() const { return text_.empty(); }
  /// Where this piece begins in the original input (code points).
  int32_t origin() const { return origin_; }
  /// Code points of the original input that bytes [begin, end) stand for; needs begin <= end.
  TextSpan span(size_t begin, size_t end) const;
  TracedText slice(size_t begin, size_t end) const;

  /// Replaces the whole text. `dropped` is the number of characters dropped before the first of `changes`.
  void transform(const std::vector<CharChange>& changes, size_t dropped = 0);
  void prepend(std::string_view prefix);
  /// Replaces what matches. `stretches` cover the text.
  void replace(const std::vector<Stretch>& stretches, std::string_view content);
  /// Keeps the characters for which `keep` is true.
  void filter(const std::function<bool(char32_t)>& keep);
  void map(const std::function<char32_t(char32_t)>& to);
  void strip(bool left, bool right);

 private:
  void transform_range(size_t begin, size_t end, const std::vector<CharChange>& changes, size_t dropped);
  TextSpan span_at(size_t index) const;

  std::string text_;
  std::vector<TextSpan> spans_;  // one per byte
  int32_t origin_ = 0;
};

/// Turns matches into pieces as `behavior` says; empty pieces are kept.
std::vector<Stretch> split_stretches(const std::vector<Stretch>& stretches, SplitBehavior behavior);
/// The stretches of `text` for a class of characters: each matching character alone.
std::vector<Stretch> find_characters(std::string_view text, const std::function<bool(char32_t)>& matches);
/// Decodes the character at `at` < text.size() of well-formed UTF-8 and moves `at` behind it.
char32_t next_point(std::string_view text, size_t& at);

}  // namespace inazuma
