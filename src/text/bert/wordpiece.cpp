#include "text/bert/wordpiece.h"

namespace inazuma {

namespace {
constexpr size_t kLongestWord = 100;
constexpr std::string_view kPrefix = "##";
}  // namespace

size_t PointTrie::slot(uint64_t key) const {
  const size_t mask = table_.size() - 1;
  size_t at = (key * 0x9E3779B97F4A7C15u >> 20) & mask;
  while (table_[at].key != 0 && table_[at].key != key) at = (at + 1) & mask;
  return at;
}

void PointTrie::grow() {
  std::vector<Slot> old(table_.size() * 2);
  old.swap(table_);
  for (const Slot& entry : old) {
    if (entry.key != 0) table_[slot(entry.key)] = entry;
  }
}

void PointTrie::add(std::u32string_view word, int32_t id) {
  int32_t node = 0;
  for (char32_t point : word) {
    const uint64_t wanted = key(node, point);
    size_t at = slot(wanted);
    if (table_[at].key == 0) {
      if (++used_ * 2 > table_.size()) {
        grow();
        at = slot(wanted);
      }
      table_[at] = {wanted, static_cast<int32_t>(ids_.size())};
      ids_.push_back(kNone);
    }
    node = table_[at].next;
  }
  ids_[static_cast<size_t>(node)] = id;
}

PointTrie::Match PointTrie::longest(std::u32string_view text) const {
  Match best;
  int32_t node = 0;
  for (size_t length = 1; length <= text.size(); ++length) {
    const Slot& next = table_[slot(key(node, text[length - 1]))];
    if (next.key == 0) break;
    node = next.next;
    const int32_t id = ids_[static_cast<size_t>(node)];
    if (id != kNone) best = {length, id};
  }
  return best;
}

WordPiece::WordPiece(const StringMap<int32_t>& vocabulary, const std::function<int32_t(std::string_view)>& id_of,
                     int32_t unknown)
    : unknown_(unknown) {
  for (const auto& [token, vocabulary_id] : vocabulary) {
    const int32_t id = id_of(token);
    const std::u32string points = decode_utf8(token);
    initial_.add(points, id);
    if (token.starts_with(kPrefix)) continuing_.add(std::u32string_view(points).substr(kPrefix.size()), id);
  }
}

void WordPiece::tokenize(const AlignedText& text, size_t begin, size_t end, Pieces& out) const {
  for_each_word(text.points, begin, end, [&](size_t from, size_t to) { tokenize_word(text, from, to, out); });
}

void WordPiece::tokenize_word(const AlignedText& text, size_t begin, size_t end, Pieces& out) const {
  const size_t kept = out.list.size();
  bool covered = end - begin <= kLongestWord;
  std::u32string_view word = std::u32string_view(text.points).substr(0, end);
  for (size_t at = begin; covered && at < end;) {
    auto match = (at == begin ? initial_ : continuing_).longest(word.substr(at));
    covered = match.length > 0;
    if (covered) out.push(match.id, text.span(at, at + match.length));
    at += match.length;
  }
  if (covered) return;
  out.list.resize(kept);
  out.push(unknown_, text.span(begin, end));
}

}  // namespace inazuma
