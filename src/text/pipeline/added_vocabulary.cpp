#include "text/pipeline/added_vocabulary.h"

#include <algorithm>

#include "text/aligned/unicode_forms.h"
#include "text/unicode.h"

namespace inazuma {

namespace {

bool same(const AddedToken& a, const AddedToken& b) {
  return a.content == b.content && a.lstrip == b.lstrip && a.rstrip == b.rstrip && a.single_word == b.single_word &&
         a.normalized == b.normalized && a.special == b.special;
}

/// Begin of the last character of `text`, which is not empty.
size_t last_character(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

bool ends_with_word(std::string_view text) {
  if (text.empty()) return false;
  size_t at = last_character(text);
  return is_rust_word(next_point(text, at));
}

bool starts_with_word(std::string_view text) {
  size_t at = 0;
  return !text.empty() && is_rust_word(next_point(text, at));
}

size_t without_trailing_space(std::string_view text) {
  while (!text.empty()) {
    const size_t last = last_character(text);
    size_t at = last;
    if (!is_white_space(next_point(text, at))) break;
    text = text.substr(0, last);
  }
  return text.size();
}

size_t leading_space(std::string_view text) {
  size_t end = 0;
  for (size_t at = 0; at < text.size(); end = at) {
    if (!is_white_space(next_point(text, at))) break;
  }
  return end;
}

}  // namespace

void TokenFinder::add(const std::string& text, int32_t id) {
  if (text.empty()) return;
  if (nodes_.empty()) nodes_.emplace_back();
  begins_[static_cast<unsigned char>(text[0])] = true;
  uint32_t at = 0;
  for (char c : text) {
    auto [next, fresh] =
        nodes_[at].next.try_emplace(static_cast<unsigned char>(c), static_cast<uint32_t>(nodes_.size()));
    at = next->second;
    if (fresh) nodes_.emplace_back();
  }
  if (nodes_[at].id < 0) nodes_[at].id = id;  // of equal texts the first one counts
}

std::optional<TokenFinder::Hit> TokenFinder::find(std::string_view text, size_t from) const {
  if (nodes_.empty()) return std::nullopt;
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!begins_[static_cast<unsigned char>(text[begin])]) continue;
    std::optional<Hit> hit;
    uint32_t at = 0;
    for (size_t end = begin; end < text.size();) {
      auto next = nodes_[at].next.find(static_cast<unsigned char>(text[end]));
      if (next == nodes_[at].next.end()) break;
      at = next->second;
      ++end;
      if (nodes_[at].id >= 0) hit = Hit{begin, end, nodes_[at].id};
    }
    if (hit) return hit;
  }
  return std::nullopt;
}

void AddedVocabulary::add(const std::vector<AddedToken>& tokens, const PipelineModel& model) {
  for (const AddedToken& token : tokens) {
    if (!token.special || token.content.empty() || !special_.insert(token.content).second) continue;
    order_special_.push_back(token);
  }
  int32_t largest = -1;
  for (const auto& [content, id] : ids_) largest = std::max(largest, id);
  for (const AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    std::optional<int32_t> known = id(token.content);
    if (known && by_id_.contains(*known) && same(by_id_.at(*known), token)) continue;
    if (!known) known = model.id(token.content);
    if (!known) known = largest < model.size() && model.size() > 0 ? model.size() : largest + 1;
    largest = std::max(largest, *known);
    ids_[token.content] = *known;
    by_id_[*known] = token;
    if (!special_.contains(token.content)) order_plain_.push_back(token);
  }
}

void AddedVocabulary::finish(const Normalizer* normalizer) {
  raw_ = normalized_ = TokenFinder();
  for (const std::vector<AddedToken>* order : {&order_special_, &order_plain_}) {
    for (const AddedToken& token : *order) {
      const int32_t id = ids_.at(token.content);
      if (!token.normalized) {
        raw_.add(token.content, id);
        continue;
      }
      TracedText text(token.content);
      if (normalizer != nullptr) normalizer->normalize(text);
      normalized_.add(text.text(), id);
    }
  }
}

std::optional<int32_t> AddedVocabulary::id(std::string_view token) const {
  auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const AddedToken* AddedVocabulary::token(int32_t id) const {
  auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &found->second;
}

void AddedVocabulary::split(TracedText text, const TokenFinder& finder, bool plain_special, TextPieces& out) const {
  const std::string& bytes = text.text();
  const std::string_view view = bytes;
  size_t covered = 0;
  size_t from = 0;
  while (const auto hit = finder.find(view, from)) {
    from = hit->end;
    const AddedToken& token = by_id_.at(hit->id);
    if (plain_special && special_.contains(token.content)) continue;
    size_t begin = hit->begin;
    size_t end = hit->end;
    if (token.single_word && (ends_with_word(view.substr(0, begin)) || starts_with_word(view.substr(end)))) continue;
    if (token.lstrip) begin = std::max(without_trailing_space(view.substr(0, begin)), covered);
    if (token.rstrip) end += leading_space(view.substr(end));
    begin = std::max(begin, covered);
    if (covered < begin) out.push_back({text.slice(covered, begin), std::nullopt});
    out.push_back({text.slice(begin, end), hit->id});
    covered = end;
    from = std::max(from, end);
  }
  if (covered == 0 && !bytes.empty()) {
    out.push_back({std::move(text), std::nullopt});
  } else if (covered < bytes.size()) {
    out.push_back({text.slice(covered, bytes.size()), std::nullopt});
  }
}

TextPieces AddedVocabulary::extract(std::string text, const Normalizer* normalizer, bool plain_special) const {
  TextPieces raw;
  split(TracedText(std::move(text)), raw_, plain_special, raw);
  TextPieces out;
  out.reserve(raw.size());
  for (TextPiece& piece : raw) {
    if (piece.added) {
      out.push_back(std::move(piece));
      continue;
    }
    if (normalizer != nullptr) normalizer->normalize(piece.text);
    split(std::move(piece.text), normalized_, plain_special, out);
  }
  return out;
}

}  // namespace inazuma
