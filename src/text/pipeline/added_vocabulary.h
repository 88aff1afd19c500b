#pragma once
// Added tokens of a tokenizer.json: their ids, and finding them in a text (the library's AddedVocabulary).

#include <set>
#include <unordered_map>

#include "text/pipeline/parts.h"
#include "text/slow_base.h"

namespace inazuma {

/// Finds the leftmost of several strings, the longest of those that begin at the same place (as Aho-Corasick does with
/// leftmost-longest matching). A trie per first byte; time is that of the text times the longest overlap.
class TokenFinder {
 public:
  struct Hit {
    size_t begin = 0, end = 0;
    int32_t id = 0;
  };
  /// An empty `text` is never found.
  void add(const std::string& text, int32_t id);
  std::optional<Hit> find(std::string_view text, size_t from) const;

 private:
  struct Node {
    std::unordered_map<unsigned char, uint32_t> next;
    int32_t id = -1;
  };
  std::vector<Node> nodes_;
  std::array<bool, 256> begins_{};
};

class AddedVocabulary {
 public:
  /// Adds tokens in this order: one that is known keeps its id, others are numbered on from model and added tokens.
  void add(const std::vector<AddedToken>& tokens, const PipelineModel& model);
  /// Prepares for `extract`; `normalizer` may be null.
  void finish(const Normalizer* normalizer);

  std::optional<int32_t> id(std::string_view token) const;
  const AddedToken* token(int32_t id) const;
  bool is_special(std::string_view token) const { return special_.contains(token); }
  /// By id.
  const std::map<int32_t, AddedToken>& tokens() const { return by_id_; }

  /// Cuts out the tokens that are looked for in the raw text, normalizes the rest, and cuts out the others there.
  /// Special tokens stay text when `plain_special` is set.
  TextPieces extract(std::string text, const Normalizer* normalizer, bool plain_special) const;

 private:
  void split(TracedText text, const TokenFinder& finder, bool plain_special, TextPieces& out) const;

  StringMap<int32_t> ids_;
  std::map<int32_t, AddedToken> by_id_;
  // Each as it was when it was first added: its flags then decide where it is looked for.
  std::vector<AddedToken> order_special_, order_plain_;
  std::set<std::string, std::less<>> special_;
  TokenFinder raw_, normalized_;
};

}  // namespace inazuma
