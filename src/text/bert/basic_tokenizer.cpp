#include "text/bert/basic_tokenizer.h"

#include "text/bert/wordpiece.h"

namespace inazuma {

std::vector<AlignedText> BasicTokenizer::tokenize(const AlignedText& text) const {
  const AlignedText cleaned = normalize(clean(text), NormalForm::nfc);
  std::vector<AlignedText> words;
  for_each_word(cleaned.points, 0, cleaned.size(), [&](size_t begin, size_t end) {
    AlignedText word = cleaned.slice(begin, end);
    if (!never_split.contains(word.points)) word = fold(std::move(word));
    if (never_split.contains(word.points)) {  // folding may have turned it into one
      words.push_back(std::move(word));
    } else {
      split_on_punctuation(word, words);
    }
  });
  return words;
}

/// Drops NUL, U+FFFD and control characters, turns whitespace into spaces and puts spaces around ideographs.
AlignedText BasicTokenizer::clean(const AlignedText& text) const {
  AlignedText out;
  out.points.reserve(text.size() * 2);
  out.source.reserve(text.size() * 2);
  for (size_t i = 0; i < text.size(); ++i) {
    const char32_t point = text.points[i];
    const TextSpan span = text.source[i];
    if (point == 0 || point == 0xFFFD || is_bert_control(point)) continue;
    if (is_bert_space(point)) {
      out.push(U' ', span);
    } else if (space_ideographs && is_cjk_ideograph(point)) {
      out.push(U' ', {span.start, span.start});
      out.push(point, span);
      out.push(U' ', {span.end, span.end});
    } else {
      out.push(point, span);
    }
  }
  return out;
}

AlignedText BasicTokenizer::fold(AlignedText word) const {
  if (lower_case) word = python_lower(word);
  if (!strip_accents.value_or(lower_case)) return word;
  const AlignedText parts = normalize(word, NormalForm::nfd);
  AlignedText out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (category(parts.points[i]) != Category::Mn) out.push(parts.points[i], parts.source[i]);
  }
  return out;
}

void BasicTokenizer::split_on_punctuation(const AlignedText& word, std::vector<AlignedText>& out) const {
  size_t begin = 0;
  for (size_t i = 0; i < word.size(); ++i) {
    if (!is_bert_punctuation(word.points[i])) continue;
    if (begin < i) out.push_back(word.slice(begin, i));
    out.push_back(word.slice(i, i + 1));
    begin = i + 1;
  }
  if (begin < word.size()) out.push_back(word.slice(begin, word.size()));
}

}  // namespace inazuma
