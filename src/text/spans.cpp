#include "text/spans.h"

#include <algorithm>

namespace inazuma {

namespace {

struct Tag {
  std::string_view prefix, type;
  bool outside() const { return prefix == "O" && type.empty(); }
  bool begins() const { return prefix == "B" || prefix == "S"; }
};

Tag parse(std::string_view text) {
  if (text == "O") return {"O", ""};
  const size_t hyphen = text.find('-');
  if (hyphen == std::string_view::npos) return {"I", text};
  return {text.substr(0, hyphen), text.substr(hyphen + 1)};
}

}  // namespace

std::vector<TagSpan> spans_of_tags(std::span<const std::string> tags) {
  std::vector<TagSpan> spans;
  Tag last{"O", ""};
  size_t start = 0;
  for (size_t i = 0; i < tags.size(); ++i) {
    const Tag tag = parse(tags[i]);
    if (!last.outside() && (tag.begins() || tag.outside())) spans.push_back({start, i - 1, std::string(last.type)});
    if (tag.begins() || last.outside()) start = i;
    last = tag;
  }
  if (!last.outside()) spans.push_back({start, tags.size() - 1, std::string(last.type)});
  return spans;
}

std::vector<TokenWord> words_of(const Encoding& encoding) {
  std::vector<TokenWord> words;
  for (size_t i = 0; i < encoding.size(); ++i) {
    if (encoding.word[i] < 0) continue;
    const bool continues =
        i > 0 && encoding.word[i - 1] == encoding.word[i] && encoding.sequence[i - 1] == encoding.sequence[i];
    if (!continues) {
      words.push_back({i, i + 1, encoding.offsets[i], encoding.sequence[i]});
      continue;
    }
    TokenWord& word = words.back();
    word.end = i + 1;
    word.span.start = std::min(word.span.start, encoding.offsets[i].start);
    word.span.end = std::max(word.span.end, encoding.offsets[i].end);
  }
  return words;
}

}  // namespace inazuma
