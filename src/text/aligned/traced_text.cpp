#include "text/aligned/traced_text.h"

#include <algorithm>

#include "text/unicode.h"

namespace inazuma {

char32_t next_point(std::string_view text, size_t& at) {
  const auto byte = [&](size_t index) -> char32_t {
    return index < text.size() ? static_cast<unsigned char>(text[index]) : 0u;
  };
  const char32_t first = byte(at);
  if (first < 0x80) return at += 1, first;
  if (first < 0xE0) return at += 2, (first & 0x1F) << 6 | (byte(at - 1) & 0x3F);
  if (first < 0xF0) return at += 3, (first & 0x0F) << 12 | (byte(at - 2) & 0x3F) << 6 | (byte(at - 1) & 0x3F);
  at += 4;
  return (first & 0x07) << 18 | (byte(at - 3) & 0x3F) << 12 | (byte(at - 2) & 0x3F) << 6 | (byte(at - 1) & 0x3F);
}

namespace {

size_t length_at(std::string_view text, size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

}  // namespace

TracedText::TracedText(std::string text) : text_(std::move(text)) {
  spans_.reserve(text_.size());
  int32_t point = 0;
  for (size_t at = 0; at < text_.size(); ++point) {
    const size_t length = length_at(text_, at);
    spans_.insert(spans_.end(), length, TextSpan{point, point + 1});
    at += length;
  }
}

TextSpan TracedText::span_at(size_t index) const {
  if (spans_.empty()) return {origin_, origin_};
  return spans_[std::min(index, spans_.size() - 1)];
}

TextSpan TracedText::span(size_t begin, size_t end) const {
  if (begin >= end) return {span_at(begin).start, span_at(begin).start};
  return {span_at(begin).start, span_at(end - 1).end};
}

TracedText TracedText::slice(size_t begin, size_t end) const {
  TracedText part;
  part.text_ = text_.substr(begin, end - begin);
  part.spans_.assign(spans_.begin() + static_cast<ptrdiff_t>(begin), spans_.begin() + static_cast<ptrdiff_t>(end));
  part.origin_ = begin < end ? spans_[begin].start : origin_;
  return part;
}

void TracedText::transform(const std::vector<CharChange>& changes, size_t dropped) {
  if (text_.empty()) return;
  // As in the library, leading characters that stand for nothing (an insertion at the very start) are left in place.
  size_t begin = 0;
  while (begin < spans_.size() && spans_[begin].start == spans_[begin].end) ++begin;
  transform_range(begin, text_.size(), changes, dropped);
}

void TracedText::transform_range(size_t begin, size_t end, const std::vector<CharChange>& changes, size_t dropped) {
  std::string text = text_.substr(0, begin);
  std::vector<TextSpan> spans(spans_.begin(), spans_.begin() + static_cast<ptrdiff_t>(begin));
  text.reserve(text_.size() + changes.size());
  spans.reserve(text_.size() + changes.size());
  size_t at = begin;  // the next character to be replaced
  const auto skip = [&](size_t characters) {
    for (; characters > 0 && at < end; --characters) at += length_at(text_, at);
  };
  skip(dropped);
  for (const CharChange& change : changes) {
    TextSpan span{origin_, origin_};
    if (change.change <= 0) {
      span = span_at(at);
      skip(1 + static_cast<size_t>(-change.change));
    } else if (at > 0) {
      span = span_at(at - 1);
    }
    append_utf8(text, change.point);
    spans.resize(text.size(), span);
  }
  text.append(text_, end);
  spans.insert(spans.end(), spans_.begin() + static_cast<ptrdiff_t>(end), spans_.end());
  text_ = std::move(text);
  spans_ = std::move(spans);
}

void TracedText::prepend(std::string_view prefix) {
  if (text_.empty()) return;
  std::vector<CharChange> changes;
  for (size_t at = 0; at < prefix.size();) changes.push_back({next_point(prefix, at), changes.empty() ? 0 : 1});
  size_t first = 0;
  changes.push_back({next_point(text_, first), 1});
  // An empty prefix drops the first character's own span only in name: it is new without anything before it.
  transform_range(0, first, changes, 0);
}

void TracedText::replace(const std::vector<Stretch>& stretches, std::string_view content) {
  if (std::none_of(stretches.begin(), stretches.end(), [](const Stretch& s) { return s.match; })) return;
  std::string text;
  std::vector<TextSpan> spans;
  text.reserve(text_.size());
  spans.reserve(text_.size());
  for (const Stretch& stretch : stretches) {
    if (!stretch.match) {
      text.append(text_, stretch.begin, stretch.end - stretch.begin);
      spans.insert(spans.end(), spans_.begin() + static_cast<ptrdiff_t>(stretch.begin),
                   spans_.begin() + static_cast<ptrdiff_t>(stretch.end));
      continue;
    }
    text.append(content);
    spans.resize(text.size(), stretch.end > 0 ? span_at(stretch.end - 1) : TextSpan{origin_, origin_});
  }
  text_ = std::move(text);
  spans_ = std::move(spans);
}

void TracedText::filter(const std::function<bool(char32_t)>& keep) {
  std::vector<CharChange> changes;
  changes.reserve(text_.size());
  size_t dropped = 0;
  bool any = false;
  for (size_t at = 0; at < text_.size();) {
    const char32_t point = next_point(text_, at);
    if (keep(point)) {
      changes.push_back({point, 0});
      continue;
    }
    any = true;
    if (changes.empty()) {
      ++dropped;
    } else {
      --changes.back().change;
    }
  }
  if (any) transform(changes, dropped);
}

void TracedText::map(const std::function<char32_t(char32_t)>& to) {
  std::vector<CharChange> changes;
  changes.reserve(text_.size());
  bool any = false;
  for (size_t at = 0; at < text_.size();) {
    const char32_t point = next_point(text_, at);
    changes.push_back({to(point), 0});
    any = any || changes.back().point != point;
  }
  if (any) transform(changes);
}

void TracedText::strip(bool left, bool right) {
  const std::u32string points = decode_utf8(text_);
  size_t begin = 0;
  size_t end = points.size();
  while (left && begin < end && is_white_space(points[begin])) ++begin;
  while (right && end > begin && is_white_space(points[end - 1])) --end;
  if (begin == 0 && end == points.size()) return;
  std::vector<CharChange> changes;
  for (size_t i = begin; i < end; ++i) changes.push_back({points[i], 0});
  transform(changes, begin);
}

namespace {

/// Joins a match with the piece before it, in the order in which `stretches` come.
std::vector<Stretch> merge_matches(const std::vector<Stretch>& stretches, bool contiguous) {
  std::vector<Stretch> pieces;
  bool previous = false;
  for (const Stretch& stretch : stretches) {
    const bool joins = contiguous ? stretch.match == previous : stretch.match && !previous;
    if (joins && !pieces.empty()) {
      pieces.back().begin = std::min(pieces.back().begin, stretch.begin);
      pieces.back().end = std::max(pieces.back().end, stretch.end);
    } else {
      pieces.push_back(stretch);
    }
    previous = stretch.match;
  }
  return pieces;
}

}  // namespace

std::vector<Stretch> split_stretches(const std::vector<Stretch>& stretches, SplitBehavior behavior) {
  switch (behavior) {
    case SplitBehavior::isolated: return stretches;
    case SplitBehavior::contiguous: return merge_matches(stretches, true);
    case SplitBehavior::merged_with_previous: return merge_matches(stretches, false);
    case SplitBehavior::merged_with_next: {
      std::vector<Stretch> pieces = merge_matches({stretches.rbegin(), stretches.rend()}, false);
      std::reverse(pieces.begin(), pieces.end());
      return pieces;
    }
    case SplitBehavior::removed: break;
  }
  std::vector<Stretch> pieces;
  std::copy_if(stretches.begin(), stretches.end(), std::back_inserter(pieces),
               [](const Stretch& stretch) { return !stretch.match; });
  return pieces;
}

std::vector<Stretch> find_characters(std::string_view text, const std::function<bool(char32_t)>& matches) {
  std::vector<Stretch> stretches;
  size_t last = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (!matches(next_point(text, at))) continue;
    if (last < begin) stretches.push_back({last, begin, false});
    stretches.push_back({begin, at, true});
    last = at;
  }
  if (last < text.size()) stretches.push_back({last, text.size(), false});
  return stretches;
}

}  // namespace inazuma
