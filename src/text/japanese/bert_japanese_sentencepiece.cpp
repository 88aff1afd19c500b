#include "text/japanese/bert_japanese_sentencepiece.h"

#include "text/bert/bert_tokenizer.h"
#include "text/japanese/japanese_words.h"
#include "text/sentencepiece/sentence_piece.h"

namespace inazuma {

namespace {

/// The ids are the model's; special tokens that are no pieces follow them.
class BertJapaneseSentencePiece final : public BertStyleTokenizer {
 public:
  BertJapaneseSentencePiece(TokenizerConfig config, const TokenizerOptions& options)
      : BertStyleTokenizer(std::move(config), false),
        model_(open_sentence_piece(this->config().directory() / "spiece.model")) {
    lower_case_text_ = this->config().flag("do_lower_case", false);
    finish_loading();
    finish_bert();
    words_ = JapaneseWords(this->config(), options, never_split());
  }

  std::string description() const override {
    return "BertJapaneseTokenizer (slow), words by " + words_.description() + ", pieces by SentencePiece";
  }
  std::string_view continuing_prefix() const override { return {}; }

 protected:
  std::optional<int32_t> vocabulary_id(std::string_view token) const override { return model_.find(token); }
  std::optional<std::string> vocabulary_token(int32_t id) const override {
    if (id < 0 || id >= model_.size()) return std::nullopt;
    return model_.piece(id);
  }
  int32_t largest_vocabulary_id() const override { return model_.size() - 1; }
  int32_t vocabulary_count() const override { return model_.distinct_pieces(); }
  int32_t base_vocab_size() const override { return model_.size(); }
  int32_t convert_token(std::string_view token) const override { return model_.id(token); }
  std::string tokens_to_string(std::span<const std::string> tokens) const override { return model_.decode(tokens); }

  void tokenize_segment(const AlignedText& segment, Pieces& out) const override {
    words_.for_each(segment, [&](const AlignedText& word) {
      for (const PieceToken& token : japanese_subwords(model_, word)) out.push(token_id(token.text), token.span);
      ++out.words;
    });
  }

 private:
  SentencePiece model_;
  JapaneseWords words_;
};

}  // namespace

std::shared_ptr<const Tokenizer> load_bert_japanese_sentencepiece(TokenizerConfig config,
                                                                  const TokenizerOptions& options) {
  return std::make_shared<BertJapaneseSentencePiece>(std::move(config), options);
}

}  // namespace inazuma
