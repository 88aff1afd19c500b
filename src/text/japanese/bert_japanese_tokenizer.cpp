#include "text/japanese/bert_japanese_tokenizer.h"

#include "text/japanese/bert_japanese_sentencepiece.h"
#include "text/japanese/japanese_words.h"

namespace inazuma {

namespace {

enum class Subword { wordpiece, character, none };

class BertJapaneseTokenizer final : public VocabularyBertTokenizer {
 public:
  BertJapaneseTokenizer(TokenizerConfig config, Vocabulary vocabulary, const TokenizerOptions& options,
                        Subword subword);
  std::string description() const override { return "BertJapaneseTokenizer (slow), words by " + words_.description(); }

 protected:
  void tokenize_segment(const AlignedText& segment, Pieces& out) const override;

 private:
  void push_characters(const AlignedText& word, Pieces& out) const;

  Subword subword_;
  JapaneseWords words_;
  WordPiece wordpiece_;
};

BertJapaneseTokenizer::BertJapaneseTokenizer(TokenizerConfig config, Vocabulary vocabulary,
                                             const TokenizerOptions& options, Subword subword)
    : VocabularyBertTokenizer(std::move(config), std::move(vocabulary), false), subword_(subword) {
  lower_case_text_ = this->config().flag("do_lower_case", false);
  finish_loading();
  finish_bert();
  words_ = JapaneseWords(this->config(), options, never_split());
  wordpiece_ = make_wordpiece();
}

void BertJapaneseTokenizer::tokenize_segment(const AlignedText& segment, Pieces& out) const {
  words_.for_each(segment, [&](const AlignedText& word) {
    if (subword_ == Subword::wordpiece) {
      wordpiece_.tokenize(word, out);
    } else if (subword_ == Subword::character) {
      push_characters(word, out);
    } else {
      out.push(token_id(word.utf8()), word.span(0, word.size()));
    }
    ++out.words;
  });
}

void BertJapaneseTokenizer::push_characters(const AlignedText& word, Pieces& out) const {
  const AlignedText text = normalize(word, NormalForm::nfkc);
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string character = text.utf8(i, i + 1);
    const bool known = vocabulary_.id(character).has_value();
    out.push(known ? token_id(character) : *special_tokens().unk, text.source[i]);
  }
}

}  // namespace

std::shared_ptr<const Tokenizer> load_bert_japanese(const std::filesystem::path& directory,
                                                    const TokenizerOptions& options) {
  TokenizerConfig config = TokenizerConfig::read(directory);
  Subword subword = Subword::none;
  if (config.flag("do_subword_tokenize", true)) {
    const std::string type = config.text("subword_tokenizer_type", "wordpiece");
    if (type == "sentencepiece") return load_bert_japanese_sentencepiece(std::move(config), options);
    if (type != "wordpiece" && type != "character") {
      throw fail(StatusCode::invalid, "{}: subword_tokenizer_type is {}, must be wordpiece, character or sentencepiece",
                 directory.string(), quoted(std::string_view(type)));
    }
    subword = type == "wordpiece" ? Subword::wordpiece : Subword::character;
  }
  Vocabulary vocabulary = Vocabulary::read(directory / "vocab.txt");
  return std::make_shared<BertJapaneseTokenizer>(std::move(config), std::move(vocabulary), options, subword);
}

}  // namespace inazuma
