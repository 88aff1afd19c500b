#pragma once
// The slow BertTokenizer, and what BertJapaneseTokenizer has in common with it.

#include <memory>

#include "text/bert/basic_tokenizer.h"
#include "text/bert/vocabulary.h"
#include "text/bert/wordpiece.h"
#include "text/slow_base.h"

namespace inazuma {

/// A vocab.txt, [CLS] and [SEP] around the text, "##" between the pieces of a word.
class BertStyleTokenizer : public SlowTokenizer {
 public:
  int32_t added_tokens(bool pair) const override { return pair ? 3 : 2; }
  Encoding build(const Encoding& first, const Encoding* second) const override;
  std::string_view continuing_prefix() const override { return "##"; }

 protected:
  BertStyleTokenizer(TokenizerConfig config, bool clean_up_default);

  /// Checks that [CLS], [SEP] and [UNK] exist; call after finish_loading.
  void finish_bert();
  std::string tokens_to_string(std::span<const std::string> tokens) const override;

  /// never_split of the config together with all special tokens.
  TextSet never_split() const;

 private:
  int32_t cls_ = 0, sep_ = 0;
};

/// Those whose vocabulary is a vocab.txt.
class VocabularyBertTokenizer : public BertStyleTokenizer {
 protected:
  VocabularyBertTokenizer(TokenizerConfig config, Vocabulary vocabulary, bool clean_up_default)
      : BertStyleTokenizer(std::move(config), clean_up_default), vocabulary_(std::move(vocabulary)) {}

  std::optional<int32_t> vocabulary_id(std::string_view token) const override { return vocabulary_.id(token); }
  std::optional<std::string> vocabulary_token(int32_t id) const override { return vocabulary_.token(id); }
  int32_t largest_vocabulary_id() const override { return vocabulary_.largest_id(); }
  int32_t vocabulary_count() const override { return vocabulary_.count(); }
  WordPiece make_wordpiece() const;

  Vocabulary vocabulary_;
};

class BertTokenizer final : public VocabularyBertTokenizer {
 public:
  BertTokenizer(TokenizerConfig config, Vocabulary vocabulary);
  std::string description() const override { return "BertTokenizer (slow)"; }
  /// What transformers' BertConverter makes of this tokenizer: the object of a tokenizer.json.
  nlohmann::json pipeline() const;

 protected:
  void tokenize_segment(const AlignedText& segment, Pieces& out) const override;

 private:
  bool basic_ = true;
  BasicTokenizer basic_tokenizer_;
  TextSet own_never_split_;
  WordPiece wordpiece_;
};

/// The slow class; throws Error. `directory` needs vocab.txt.
std::shared_ptr<const Tokenizer> load_slow_bert(const std::filesystem::path& directory);

/// The same for the fast class of a directory that has vocab.txt and no tokenizer.json. Throws Error.
nlohmann::json bert_pipeline(const std::filesystem::path& directory);

}  // namespace inazuma
