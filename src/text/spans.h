#pragma once
// From tags per word to spans of words: the last step of named-entity recognition.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace inazuma {

/// Tags [first, last] (inclusive) that form one entity of this type.
struct TagSpan {
  size_t first = 0, last = 0;
  std::string type;
  bool operator==(const TagSpan&) const = default;
};

/// The rule of the ELECTRA tagging task for BIO and IOBES tags: a span begins at B or S, or at any tag after O, and
/// ends before the next B, S or O; I and E are alike, a change of type inside a run does not cut it, and its last tag
/// names it. A tag is O, or prefix-TYPE cut at the first hyphen; a tag without a hyphen counts as I of that type. No
/// tags give no spans.
std::vector<TagSpan> spans_of_tags(std::span<const std::string> tags);

/// Tokens [begin, end) of one word.
struct TokenWord {
  size_t begin = 0, end = 0;
  TextSpan span;         ///< code points of the input
  int32_t sequence = 0;  ///< 0 or 1: which text
};

/// Words of an encoding in order; tokens added by the tokenizer belong to none. `begin` is the sub-token whose label
/// counts.
std::vector<TokenWord> words_of(const Encoding& encoding);

}  // namespace inazuma
