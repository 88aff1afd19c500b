// The Unigram model of tokenizer.json: Viterbi over all pieces, scores in double, unknown characters fused.
#include <algorithm>
#include <limits>

#include "text/pipeline/parts.h"
#include "text/sentencepiece/double_array.h"
#include "text/slow_base.h"

namespace inazuma {

namespace {

constexpr double kUnknownPenalty = 10.0;

/// The trie takes no NUL, and no UTF-8 holds 0xFF.
unsigned char trie_byte(char c) {
  return c == '\0' ? 0xFF : static_cast<unsigned char>(c);
}

class Unigram : public PipelineModel {
 public:
  explicit Unigram(const JsonField& field) {
    read_pieces(field.at("vocab"));
    if (auto unknown = field.find("unk_id")) unknown_ = static_cast<int32_t>(unknown->integer(0, size() - 1));
    if (field.flag_or("byte_fallback", false)) find_bytes();
    build_trie();
  }

  void tokenize(const std::string& piece, std::vector<ModelToken>& out) const override;
  std::optional<int32_t> id(std::string_view token) const override {
    auto found = ids_.find(token);
    if (found == ids_.end()) return std::nullopt;
    return found->second;
  }
  std::optional<std::string_view> token(int32_t id) const override {
    if (id < 0 || id >= size()) return std::nullopt;
    return pieces_[static_cast<size_t>(id)];
  }
  int32_t size() const override { return static_cast<int32_t>(pieces_.size()); }
  int32_t largest_id() const override { return size() - 1; }
  bool tokens_show_text() const override { return true; }

 private:
  struct Node {
    double score = 0;
    uint32_t begin = kNowhere;
    int32_t id = 0;
  };
  static constexpr uint32_t kNowhere = UINT32_MAX;

  void read_pieces(const JsonField& list);
  void find_bytes();
  void build_trie();
  void extend(const std::string& text, size_t begin, std::vector<Node>& nodes) const;
  void push(std::string_view text, uint32_t begin, uint32_t end, std::vector<ModelToken>& out) const;

  std::vector<std::string> pieces_;
  std::vector<double> scores_;
  StringMap<int32_t> ids_;
  std::optional<int32_t> unknown_;
  double lowest_ = std::numeric_limits<double>::infinity();
  std::vector<int32_t> byte_ids_;  // -1 when absent; empty without byte fallback
  DoubleArray trie_;
};

void Unigram::read_pieces(const JsonField& list) {
  const size_t count = list.size();
  if (count >= INT32_MAX) list.malformed("is too long");
  pieces_.reserve(count);
  scores_.reserve(count);
  ids_.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const JsonField pair = list.item(i);
    if (pair.size() != 2) pair.malformed("must be [piece, score]");
    pieces_.push_back(pair.item(0).text());
    scores_.push_back(pair.item(1).number());
    lowest_ = std::min(lowest_, scores_.back());
    ids_[pieces_.back()] = static_cast<int32_t>(i);  // of equal pieces the last one counts
  }
}

void Unigram::find_bytes() {
  byte_ids_.assign(256, -1);
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (auto known = id(fmt::format("<0x{:02X}>", byte))) byte_ids_[byte] = *known;
  }
}

void Unigram::build_trie() {
  std::vector<std::string> keys;
  std::vector<std::pair<std::string_view, int32_t>> entries;
  keys.reserve(ids_.size());
  for (const auto& [piece, id] : ids_) {
    if (piece.empty()) continue;
    keys.push_back(piece);
    for (char& c : keys.back()) c = static_cast<char>(trie_byte(c));
    entries.emplace_back(keys.back(), id);
  }
  if (!entries.empty()) trie_ = DoubleArray(std::move(entries));
}

/// Offers every piece that begins at `begin` to the node where it ends; a character that is no piece becomes unknown.
void Unigram::extend(const std::string& text, size_t begin, std::vector<Node>& nodes) const {
  size_t next = begin;
  next_point(text, next);
  const double before = nodes[begin].score;
  const auto offer = [&](size_t end, double score, int32_t id) {
    Node& node = nodes[end];
    if (node.begin != kNowhere && !(score > node.score)) return;
    node = {score, static_cast<uint32_t>(begin), id};
  };
  bool single = false;
  uint32_t at = DoubleArray::kRoot;
  for (size_t end = begin; !trie_.empty() && end < text.size() && trie_.step(at, trie_byte(text[end]));) {
    ++end;
    const int32_t id = trie_.value(at);
    if (id == DoubleArray::kNone) continue;
    single = single || end == next;
    offer(end, scores_[static_cast<size_t>(id)] + before, id);
  }
  if (single) return;
  if (!unknown_) {
    throw fail(StatusCode::tokenization, "{} is in no piece, and the model has no unk_id",
               quoted(std::string_view(text).substr(begin, next - begin)));
  }
  offer(next, lowest_ - kUnknownPenalty + before, *unknown_);
}

void Unigram::push(std::string_view text, uint32_t begin, uint32_t end, std::vector<ModelToken>& out) const {
  if (auto known = id(text)) {
    out.push_back({*known, begin, end});
    return;
  }
  const auto byte_id = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
  if (!byte_ids_.empty() && std::all_of(text.begin(), text.end(), [&](char c) { return byte_id(c) >= 0; })) {
    for (char c : text) out.push_back({byte_id(c), begin, end});
    return;
  }
  out.push_back({unknown_.value(), begin, end});
}

void Unigram::tokenize(const std::string& piece, std::vector<ModelToken>& out) const {
  if (piece.empty()) return;
  thread_local std::vector<Node> nodes;
  thread_local std::vector<std::pair<uint32_t, uint32_t>> path;
  nodes.assign(piece.size() + 1, Node());
  path.clear();
  for (size_t begin = 0; begin < piece.size(); next_point(piece, begin)) extend(piece, begin, nodes);
  bool unknown_before = false;
  for (auto end = static_cast<uint32_t>(piece.size()); end > 0; end = nodes[end].begin) {
    const Node& node = nodes[end];
    const bool unknown = unknown_ == node.id;
    if (unknown && unknown_before) {
      path.back().first = node.begin;  // fused with the unknown character behind it
    } else {
      path.emplace_back(node.begin, end);
    }
    unknown_before = unknown;
  }
  for (auto token = path.rbegin(); token != path.rend(); ++token) {
    push(std::string_view(piece).substr(token->first, token->second - token->first), token->first, token->second, out);
  }
}

}  // namespace

std::unique_ptr<PipelineModel> read_unigram(const JsonField& field) {
  return std::make_unique<Unigram>(field);
}

}  // namespace inazuma
