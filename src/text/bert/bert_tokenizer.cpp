#include "text/bert/bert_tokenizer.h"

namespace inazuma {

namespace {

std::map<std::string, AddedToken> bert_defaults() {
  auto special = [](const char* content) {
    AddedToken token;
    token.content = content;
    token.special = true;
    token.normalized = false;
    return token;
  };
  return {{"unk_token", special("[UNK]")},
          {"sep_token", special("[SEP]")},
          {"pad_token", special("[PAD]")},
          {"cls_token", special("[CLS]")},
          {"mask_token", special("[MASK]")}};
}

/// str.strip() on UTF-8.
std::string strip(const std::string& text) {
  const AlignedText points = decode_aligned(text);
  return strip_left(strip_right(points)).utf8();
}

}  // namespace

BertStyleTokenizer::BertStyleTokenizer(TokenizerConfig config, bool clean_up_default)
    : SlowTokenizer(std::move(config), bert_defaults(), clean_up_default) {}

void BertStyleTokenizer::finish_bert() {
  const SpecialTokens& special = special_tokens();
  if (!special.cls || !special.sep || !special.unk) {
    throw fail(StatusCode::invalid, "{}: cls_token, sep_token and unk_token must be set",
               config().directory().string());
  }
  cls_ = *special.cls;
  sep_ = *special.sep;
}

Encoding BertStyleTokenizer::build(const Encoding& first, const Encoding* second) const {
  Encoding out;
  append_special(out, cls_, 0);
  append_text(out, first, 0, 0);
  append_special(out, sep_, 0);
  if (second == nullptr) return out;
  append_text(out, *second, 1, 1);
  append_special(out, sep_, 1);
  return out;
}

std::string BertStyleTokenizer::tokens_to_string(std::span<const std::string> tokens) const {
  return strip(replace_all(SlowTokenizer::tokens_to_string(tokens), " ##", ""));
}

TextSet BertStyleTokenizer::never_split() const {
  TextSet all;
  for (const std::string& text : config().texts("never_split")) all.insert(decode_utf8(text));
  for (const std::string& text : special_texts()) all.insert(decode_utf8(text));
  return all;
}

WordPiece VocabularyBertTokenizer::make_wordpiece() const {
  return WordPiece(
      vocabulary_.ids(), [this](std::string_view token) { return token_id(token); }, *special_tokens().unk);
}

BertTokenizer::BertTokenizer(TokenizerConfig config, Vocabulary vocabulary)
    : VocabularyBertTokenizer(std::move(config), std::move(vocabulary), true) {
  basic_ = this->config().flag("do_basic_tokenize", true);
  const bool lower_case = this->config().flag("do_lower_case", true);
  lower_case_text_ = basic_ && lower_case;
  finish_loading();
  finish_bert();
  basic_tokenizer_.lower_case = lower_case;
  basic_tokenizer_.space_ideographs = this->config().flag("tokenize_chinese_chars", true);
  basic_tokenizer_.strip_accents = this->config().optional_flag("strip_accents");
  basic_tokenizer_.never_split = never_split();
  for (const std::string& text : this->config().texts("never_split")) own_never_split_.insert(decode_utf8(text));
  wordpiece_ = make_wordpiece();
}

void BertTokenizer::tokenize_segment(const AlignedText& segment, Pieces& out) const {
  if (!basic_) {
    for_each_word(segment.points, 0, segment.size(), [&](size_t begin, size_t end) {
      wordpiece_.tokenize(segment, begin, end, out);
      ++out.words;
    });
    return;
  }
  for (const AlignedText& word : basic_tokenizer_.tokenize(segment)) {
    if (own_never_split_.contains(word.points)) {
      out.push(token_id(word.utf8()), word.span(0, word.size()));
    } else {
      wordpiece_.tokenize(word, out);
    }
    ++out.words;
  }
}

std::shared_ptr<const Tokenizer> load_slow_bert(const std::filesystem::path& directory) {
  return std::make_shared<BertTokenizer>(TokenizerConfig::read(directory), Vocabulary::read(directory / "vocab.txt"));
}

}  // namespace inazuma
