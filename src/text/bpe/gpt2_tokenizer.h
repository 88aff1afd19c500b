#pragma once
// GPT2Tokenizer of transformers 4.57 (the slow class): vocab.json and merges.txt.

#include <string>
#include <vector>

#include "text/bpe/merges.h"
#include "text/slow_base.h"

namespace inazuma {

class Gpt2Tokenizer : public SlowTokenizer {
 public:
  /// Reads vocab.json and merges.txt of the configuration's directory. Keys: add_prefix_space (default false),
  /// add_bos_token (false), errors ("replace" or "ignore") and the common ones. Throws Error(not_found),
  /// Error(malformed) or Error(unsupported) naming file and place.
  explicit Gpt2Tokenizer(TokenizerConfig config);

  int32_t added_tokens(bool pair) const override { return add_bos_token_ ? (pair ? 2 : 1) : 0; }
  Encoding build(const Encoding& first, const Encoding* second) const override;
  std::string description() const override { return "GPT2Tokenizer (slow)"; }

 protected:
  std::optional<int32_t> vocabulary_id(std::string_view token) const override;
  std::optional<std::string> vocabulary_token(int32_t id) const override;
  int32_t largest_vocabulary_id() const override { return largest_id_; }
  int32_t vocabulary_count() const override { return static_cast<int32_t>(vocabulary_.size()); }
  std::string convert_id(int32_t id) const override { return vocabulary_token(id).value_or(std::string()); }
  Pieces tokenize(const AlignedText& text, const EncodeOptions& options) const override;
  void tokenize_segment(const AlignedText& segment, Pieces& out) const override;
  std::string tokens_to_string(std::span<const std::string> tokens) const override;

 private:
  void read_vocabulary();
  void read_merges();
  uint32_t symbol(std::string_view text);
  void find_whole_words();
  int32_t symbol_id(uint32_t symbol) const;

  bool add_prefix_space_;
  bool add_bos_token_;
  bool ignore_errors_;
  int32_t largest_id_ = -1;
  StringMap<int32_t> vocabulary_;
  std::unordered_map<int32_t, std::string> tokens_;

  // Merging works on symbols: every text that the merges mention, in the vocabulary or not.
  StringMap<uint32_t> symbols_;
  std::vector<std::string> symbol_texts_;
  std::vector<uint32_t> byte_symbols_;
  MergeTable merges_;
  std::vector<int32_t> symbol_ids_;  // the id each symbol becomes; kUnresolved when the vocabulary lacks it
  StringMap<int32_t> whole_words_;   // raw bytes of the words that merge into one token, with its id
};

}  // namespace inazuma
