#include "text/sentencepiece/segmenter.h"

#include <algorithm>
#include <cfloat>
#include <queue>
#include <unordered_map>

#include "text/sentencepiece/normalizer.h"

namespace inazuma {

namespace {

constexpr float kUnknownPenalty = 10.0F;
constexpr float kUserDefinedPenalty = 0.1F;
constexpr uint32_t kUnreached = UINT32_MAX;

/// The best path that ends at a byte: its score and its last piece.
struct Best {
  float score = 0;
  int32_t id = 0;
  uint32_t begin = kUnreached;
};

DoubleArray make_trie(const std::vector<ModelPiece>& pieces, bool user_defined_only) {
  std::vector<std::pair<std::string_view, int32_t>> keys;
  for (size_t id = 0; id < pieces.size(); ++id) {
    const PieceType type = pieces[id].type;
    const bool wanted = type == PieceType::user_defined ||
                        (!user_defined_only && (type == PieceType::normal || type == PieceType::unused));
    if (wanted) keys.emplace_back(pieces[id].text, static_cast<int32_t>(id));
  }
  return DoubleArray(std::move(keys));
}

constexpr uint32_t kNone = UINT32_MAX;

/// Cuts text into characters, each user-defined symbol (the longest that fits) counting as one.
size_t symbol_length(const PieceTables& tables, std::string_view text, bool& frozen) {
  const size_t length = tables.user_defined.longest_prefix(text);
  frozen = length > 0;
  return frozen ? length : leading_length(text);
}

int32_t id_or_unknown(const PieceTables& tables, std::string_view piece) {
  const int32_t id = tables.matched.find(piece);
  return id == DoubleArray::kNone ? tables.unknown : id;
}

/// One text being merged.
class PieceMerger {
 public:
  PieceMerger(const PieceTables& tables, std::string_view text) : tables_(tables), text_(text) { split(); }

  void run(std::vector<Segment>& out) {
    for (uint32_t i = 0; i + 1 < symbols_.size(); ++i) consider(i, i + 1);
    while (!agenda_.empty()) {
      const Candidate top = agenda_.top();
      agenda_.pop();
      merge(top);
    }
    for (uint32_t i = 0; i != kNone; i = symbols_[i].next) emit(symbols_[i].begin, symbols_[i].end, out);
  }

 private:
  struct Symbol {
    uint32_t begin, end, previous, next;
    bool frozen;
  };
  struct Candidate {
    float score;
    uint32_t left, right, size;
    bool operator<(const Candidate& other) const {
      return score != other.score ? score < other.score : left > other.left;
    }
  };

  void split() {
    for (size_t at = 0; at < text_.size();) {
      bool frozen = false;
      const size_t length = symbol_length(tables_, text_.substr(at), frozen);
      const auto index = static_cast<uint32_t>(symbols_.size());
      const auto begin = static_cast<uint32_t>(at);
      at += length;
      symbols_.push_back({begin, static_cast<uint32_t>(at), index == 0 ? kNone : index - 1,
                          at == text_.size() ? kNone : index + 1, frozen});
    }
  }

  std::string_view view(uint32_t begin, uint32_t end) const { return text_.substr(begin, end - begin); }

  void consider(uint32_t left, uint32_t right) {
    if (left == kNone || right == kNone || symbols_[left].frozen || symbols_[right].frozen) return;
    const uint32_t begin = symbols_[left].begin;
    const uint32_t end = symbols_[right].end;
    const int32_t id = tables_.matched.find(view(begin, end));
    if (id == DoubleArray::kNone) return;
    agenda_.push({tables_.score(id), left, right, end - begin});
    // An unused piece is a step on the way only: how it was made is how it is taken apart again.
    if (tables_.type(id) == PieceType::unused) parts_[view(begin, end)] = symbols_[left].end - begin;
  }

  void merge(const Candidate& candidate) {
    Symbol& left = symbols_[candidate.left];
    Symbol& right = symbols_[candidate.right];
    if (left.begin == left.end || right.begin == right.end) return;  // swallowed since
    if (right.end - right.begin + left.end - left.begin != candidate.size) return;
    left.end = right.end;
    left.next = right.next;
    if (right.next != kNone) symbols_[right.next].previous = candidate.left;
    right.begin = right.end;
    consider(left.previous, candidate.left);
    consider(candidate.left, left.next);
  }

  void emit(uint32_t begin, uint32_t end, std::vector<Segment>& out) const {
    std::vector<std::pair<uint32_t, uint32_t>> pending = {{begin, end}};
    while (!pending.empty()) {
      auto [from, to] = pending.back();
      pending.pop_back();
      const int32_t id = id_or_unknown(tables_, view(from, to));
      auto parts = parts_.end();
      if (tables_.type(id) == PieceType::unused) parts = parts_.find(view(from, to));
      if (parts == parts_.end()) {
        out.push_back({id, from, to});
        continue;
      }
      pending.emplace_back(from + parts->second, to);
      pending.emplace_back(from, from + parts->second);
    }
  }

  const PieceTables& tables_;
  std::string_view text_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Candidate> agenda_;
  std::unordered_map<std::string_view, uint32_t> parts_;  // of an unused piece: length of its left part
};

/// Ends of words: each but the first begins with a space symbol.
std::vector<uint32_t> word_ends(std::string_view text) {
  std::vector<uint32_t> ends;
  for (size_t at = 0; at < text.size();) {
    const size_t length = leading_length(text.substr(at));
    if (at > 0 && text.substr(at, length) == kSpaceSymbol) ends.push_back(static_cast<uint32_t>(at));
    at += length;
  }
  if (!text.empty()) ends.push_back(static_cast<uint32_t>(text.size()));
  return ends;
}

}  // namespace

PieceTables::PieceTables(const std::vector<ModelPiece>& all)
    : pieces(&all),
      matched(make_trie(all, false)),
      user_defined(make_trie(all, true)),
      lowest_score(FLT_MAX),
      highest_score(FLT_MIN) {
  for (size_t id = 0; id < all.size(); ++id) {
    if (all[id].type == PieceType::unknown) unknown = static_cast<int32_t>(id);
    if (all[id].type != PieceType::normal) continue;
    lowest_score = std::min(lowest_score, all[id].score);
    highest_score = std::max(highest_score, all[id].score);
  }
}

void segment_unigram(const PieceTables& tables, std::string_view text, std::vector<Segment>& out) {
  if (text.empty()) return;
  const float unknown_score = tables.lowest_score - kUnknownPenalty;
  std::vector<Best> best(text.size() + 1);
  // All in float, and only strictly greater wins: both decide ties as SentencePiece 0.2 does (0.1 compared in double).
  auto offer = [&](size_t end, float score, int32_t id, size_t begin) {
    Best& target = best[end];
    if (target.begin == kUnreached || score > target.score) target = {score, id, static_cast<uint32_t>(begin)};
  };
  for (size_t begin = 0; begin < text.size();) {
    const float so_far = best[begin].score;
    const size_t character = leading_length(text.substr(begin));
    bool has_character = false;
    uint32_t node = DoubleArray::kRoot;
    for (size_t end = begin; end < text.size();) {
      if (!tables.matched.step(node, static_cast<unsigned char>(text[end++]))) break;
      const int32_t id = tables.matched.value(node);
      if (id == DoubleArray::kNone) continue;
      const PieceType type = tables.type(id);
      if (type == PieceType::unused) continue;
      const size_t length = end - begin;
      const float score = type == PieceType::user_defined
                              ? static_cast<float>(length) * tables.highest_score - kUserDefinedPenalty
                              : tables.score(id);
      offer(end, score + so_far, id, begin);
      has_character = has_character || length == character;
    }
    if (!has_character) offer(begin + character, unknown_score + so_far, tables.unknown, begin);
    begin += character;
  }
  const size_t first = out.size();
  for (size_t end = text.size(); end > 0; end = best[end].begin) {
    out.push_back({best[end].id, best[end].begin, static_cast<uint32_t>(end)});
  }
  std::reverse(out.begin() + static_cast<ptrdiff_t>(first), out.end());
}

void segment_bpe(const PieceTables& tables, std::string_view text, std::vector<Segment>& out) {
  if (!text.empty()) PieceMerger(tables, text).run(out);
}

void segment_words(const PieceTables& tables, std::string_view text, std::vector<Segment>& out) {
  uint32_t begin = 0;
  for (uint32_t end : word_ends(text)) {
    out.push_back({id_or_unknown(tables, text.substr(begin, end - begin)), begin, end});
    begin = end;
  }
}

void segment_characters(const PieceTables& tables, std::string_view text, std::vector<Segment>& out) {
  for (size_t at = 0; at < text.size();) {
    bool frozen = false;
    const size_t length = symbol_length(tables, text.substr(at), frozen);
    out.push_back({id_or_unknown(tables, text.substr(at, length)), static_cast<uint32_t>(at),
                   static_cast<uint32_t>(at + length)});
    at += length;
  }
}

}  // namespace inazuma
