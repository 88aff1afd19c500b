#pragma once
// The "BPE" model of tokenizer.json, as the tokenizers library 0.22 runs it on one pre-token.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/bpe/merges.h"
#include "text/slow_base.h"

namespace inazuma {

struct BpeOptions {
  std::optional<std::string> unk_token;
  std::string continuing_subword_prefix;  ///< put before every character but the first
  std::string end_of_word_suffix;         ///< put after the last character
  bool fuse_unk = false;                  ///< a run of unknown characters is one token
  bool byte_fallback = false;             ///< unknown characters become <0xE3><0x81>... when all are in the vocabulary
  bool ignore_merges = false;             ///< a word that is in the vocabulary is that token
};

/// `begin` and `end` are bytes of the word as the library counts them: it adds lengths up from 0, so that characters
/// dropped for want of an unknown token shift what follows.
struct BpeToken {
  int32_t id = 0;
  uint32_t begin = 0;
  uint32_t end = 0;
  bool operator==(const BpeToken&) const = default;
};

/// Immutable and shared between threads.
class BpeModel {
 public:
  using Merges = std::vector<std::pair<std::string, std::string>>;

  /// Throws Error(malformed) when a part or a result of a merge is not in the vocabulary, or an id is negative.
  BpeModel(StringMap<int32_t> vocabulary, const Merges& merges, BpeOptions options);

  /// Appends the tokens of one pre-token. Throws Error(tokenization) when an unknown token is needed and the vocabulary
  /// lacks it.
  void tokenize(std::string_view word, std::vector<BpeToken>& out) const;

  const StringMap<int32_t>& vocabulary() const { return vocabulary_; }

 private:
  void add_merges(const Merges& merges);
  int32_t known_id(std::string_view token, size_t merge) const;
  std::vector<BpeSymbol> split(std::string_view word) const;
  bool push_bytes(std::string_view character, std::vector<BpeSymbol>& symbols) const;
  int32_t unknown_id() const;

  StringMap<int32_t> vocabulary_;
  BpeOptions options_;
  MergeTable merges_;
  std::vector<int32_t> byte_ids_;  // of <0x00>..<0xFF>; -1 when absent
  std::optional<int32_t> unknown_;
};

}  // namespace inazuma
