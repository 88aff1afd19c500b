#pragma once
// Code points: decoding, character classes, case and normalisation, each with the exact meaning that Python 3.11
// (Unicode 14.0) or Rust gives it, and with the way back to the code points of the original input.
//
// utf8proc 2.8 carries Unicode 15.0. Its answers equal Python 3.11's for every code point except the 4,489 that 15.0
// added (checked over all 1,112,064 scalar values by tests/text/unicode_test.cpp); `UnicodeVersion::v14` treats those
// as unassigned.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace inazuma {

/// Which code points count as assigned: v14 is Python 3.11's unicodedata, v15 is everything utf8proc knows.
enum class UnicodeVersion { v14, v15 };

/// Text as code points; `source[i]` says which code points [start, end) of the original input point i stands for.
/// Both vectors always have the same length. Spans never decrease, except where canonical reordering swapped marks.
struct AlignedText {
  std::u32string points;
  std::vector<TextSpan> source;

  size_t size() const { return points.size(); }
  bool empty() const { return points.empty(); }
  void push(char32_t point, TextSpan span);
  void append(const AlignedText& other);
  AlignedText slice(size_t begin, size_t end) const;
  /// Smallest span of the original input that covers points [begin, end); needs begin < end.
  TextSpan span(size_t begin, size_t end) const;
  std::string utf8(size_t begin, size_t end) const;
  std::string utf8() const { return utf8(0, size()); }
};

/// U+FFFD, what stands for bytes that are no text.
inline constexpr std::string_view kReplacementUtf8 = "\xEF\xBF\xBD";

/// Decodes as Python's bytes.decode("utf-8", "replace"): each maximal ill-formed part becomes one U+FFFD, surrogates
/// and overlong forms are ill-formed. Never fails; the result holds scalar values only.
std::u32string decode_utf8(std::string_view bytes);
/// The same with identity alignment: point i stands for [i, i + 1) of the decoded text.
AlignedText decode_aligned(std::string_view bytes);
/// Byte offset of every decoded point in `bytes`, then bytes.size(): size() + 1 entries.
std::vector<uint32_t> byte_offsets(std::string_view bytes);
/// The bytes with ill-formed parts replaced; returns the input itself when it is well-formed.
std::string replace_ill_formed(std::string_view bytes);
size_t count_points(std::string_view bytes);

void append_utf8(std::string& out, char32_t point);
std::string encode_utf8(std::u32string_view points);

/// General category in utf8proc's order; the two-letter name of the enumerator is Unicode's.
enum class Category : uint8_t {
  Cn,
  Lu,
  Ll,
  Lt,
  Lm,
  Lo,
  Mn,
  Mc,
  Me,
  Nd,
  Nl,
  No,
  Pc,
  Pd,
  Ps,
  Pe,
  Pi,
  Pf,
  Po,
  Sm,
  Sc,
  Sk,
  So,
  Zs,
  Zl,
  Zp,
  Cc,
  Cf,
  Cs,
  Co
};
Category category(char32_t point, UnicodeVersion version = UnicodeVersion::v14);
bool is_letter(Category category);       ///< L*
bool is_mark(Category category);         ///< M*
bool is_number(Category category);       ///< N*
bool is_punctuation(Category category);  ///< P*
bool is_other(Category category);        ///< C*
/// Canonical combining class, 0 for starters.
uint8_t combining_class(char32_t point, UnicodeVersion version = UnicodeVersion::v14);

/// What Python's str.split(), str.strip() and str.isspace() take as whitespace (includes U+001C..U+001F).
bool is_python_space(char32_t point);
/// Unicode White_Space: Rust's char::is_whitespace.
bool is_white_space(char32_t point);
/// Space, tab, LF, CR and category Zs: transformers' _is_whitespace.
bool is_bert_space(char32_t point);
/// Category C* except tab, LF, CR: transformers' _is_control.
bool is_bert_control(char32_t point);
/// The ASCII symbols and category P*: transformers' _is_punctuation.
bool is_bert_punctuation(char32_t point);
/// The ideograph blocks of transformers' _is_chinese_char (kana and Hangul are not among them).
bool is_cjk_ideograph(char32_t point);

enum class NormalForm { nfc, nfd, nfkc, nfkd };
AlignedText normalize(const AlignedText& text, NormalForm form, UnicodeVersion version = UnicodeVersion::v14);
std::u32string normalize(std::u32string_view text, NormalForm form, UnicodeVersion version = UnicodeVersion::v14);

/// Python's str.lower(): the full mapping of each character (U+0130 becomes two) and the final sigma rule.
AlignedText python_lower(const AlignedText& text);
/// chr(point).lower() of each character alone (no final sigma); also what Rust's char::to_lowercase gives.
AlignedText lower_each(const AlignedText& text);
/// Simple lower case of one character.
char32_t simple_lower(char32_t point);

/// Starts of the extended grapheme clusters of `text`, then text.size().
std::vector<size_t> grapheme_boundaries(std::u32string_view text);

/// text.strip() of Python, and its one-sided forms.
AlignedText strip_left(const AlignedText& text);
AlignedText strip_right(const AlignedText& text);

}  // namespace inazuma
