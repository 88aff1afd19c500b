#pragma once
// Patterns of tokenizer.json: a literal string, or a regular expression in Oniguruma's Ruby syntax, run by PCRE2.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/aligned/traced_text.h"

namespace inazuma {

/// Immutable and shared between threads.
class Pattern {
 public:
  static Pattern literal(std::string text);
  /// Throws Error(unsupported) when the expression uses what has no exact counterpart in PCRE2, naming the construct,
  /// and Error(malformed) when it is no regular expression; `place` begins the sentence.
  static Pattern regex(std::string_view expression, std::string_view place);

  /// Matches and what lies between them, in order, covering `text`. Nothing for an empty text. An empty match directly
  /// behind another match does not count. Throws Error(tokenization) when matching needs too much time or memory.
  std::vector<Stretch> find(std::string_view text) const;

 private:
  struct Program;
  struct Found {
    size_t begin, end;
  };
  std::optional<Found> search(std::string_view text, size_t from) const;

  std::string literal_;
  std::shared_ptr<const Program> program_;  // null for a literal
};

/// Oniguruma (Ruby syntax, UTF-8) to PCRE2. What differs and how it is written:
///   \s \w \d \b and their capitals    the Unicode sets that Oniguruma has for them, spelled out
///   \h \H                             hexadecimal digits (PCRE2: horizontal space)
///   \v                                U+000B (PCRE2: vertical space)
///   \uHHHH                            \x{HHHH}
///   (?m) (?m:...)                     dot matches newline: PCRE2's s
///   ^ $                               always at line starts and ends: PCRE2_MULTILINE
///   {,n}                              {0,n}
///   \p{Script}                        \p{sc:Script} (PCRE2 would take script extensions)
///   \p{L}, ...                        with what Unicode 16 adds (pattern_tables.h); a script new since 14 is malformed
/// Refused, because PCRE2 would read them otherwise: nested character classes and &&, {n,m}+ (no possessive form in
/// Ruby), absent groups (?~...), subexpression calls \g<...>, \X, POSIX brackets other than alpha, digit, space, alnum,
/// upper, lower, word. Throws Error as Pattern::regex.
std::string translate_regex(std::string_view expression, std::string_view place);

}  // namespace inazuma
