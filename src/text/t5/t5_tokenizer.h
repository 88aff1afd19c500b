#pragma once
// T5Tokenizer of transformers 4.57 (the slow class): T5, mT5 and the GPT-2 models that ship a spiece.model.

#include <memory>
#include <vector>

#include "text/sentencepiece/sentence_piece.h"
#include "text/slow_base.h"

namespace inazuma {

/// What T5TokenizerFast makes of spiece.model (keys of the configuration: extra_ids, add_prefix_space, legacy).
/// Throws Error(not_found), Error(malformed), Error(unsupported) or Error(invalid) naming file or key.
nlohmann::json t5_pipeline(const std::filesystem::path& directory);

class T5Tokenizer : public SlowTokenizer {
 public:
  /// Reads spiece.model of the configuration's directory. Keys: legacy (default true), add_prefix_space (true),
  /// extra_ids (100), additional_special_tokens and the common ones; do_lower_case is ignored, as there. Throws
  /// Error(not_found), Error(malformed) or Error(invalid) naming file or key.
  explicit T5Tokenizer(TokenizerConfig config);

  int32_t added_tokens(bool pair) const override { return pair ? 2 : 1; }
  Encoding build(const Encoding& first, const Encoding* second) const override;
  std::string description() const override;
  bool decodes_in_order() const override { return false; }

 protected:
  std::optional<int32_t> vocabulary_id(std::string_view token) const override { return model_.find(token); }
  std::optional<std::string> vocabulary_token(int32_t id) const override;
  int32_t largest_vocabulary_id() const override { return model_.size() - 1; }
  int32_t vocabulary_count() const override { return model_.distinct_pieces(); }
  int32_t base_vocab_size() const override { return model_.size(); }
  int32_t convert_token(std::string_view token) const override { return model_.id(token); }
  std::string convert_id(int32_t id) const override;
  Pieces tokenize(const AlignedText& text, const EncodeOptions& options) const override;
  void tokenize_segment(const AlignedText& segment, Pieces& out) const override;
  std::string tokens_to_string(std::span<const std::string> tokens) const override;

 private:
  std::vector<AddedToken> extra_tokens(std::map<int32_t, AddedToken>& own) const;
  bool is_lone_space(const Piece& piece) const;
  bool is_special_piece(const Piece& piece, const AlignedText& text) const;
  void append_with_eos(Encoding& out, const Encoding& part, int32_t sequence) const;

  bool legacy_;
  bool add_prefix_space_;
  SentencePiece model_;
  std::string unknown_text_;
  size_t unknown_pieces_ = 0;  // how many pieces the text of the unknown token makes
  std::vector<int32_t> ids_;   // id of a piece's text once added tokens are known, by piece
};

}  // namespace inazuma
