#pragma once
// The word step of BertJapaneseTokenizer.

#include <functional>
#include <memory>

#include "text/bert/basic_tokenizer.h"
#include "text/japanese/mecab.h"
#include "text/slow/tokenizer_config.h"
#include "text/tokenizer.h"

namespace inazuma {

/// Cheap to copy; shares the MeCab model.
class JapaneseWords {
 public:
  JapaneseWords() = default;
  /// Reads do_word_tokenize, word_tokenizer_type, do_lower_case and mecab_kwargs. Throws Error: unsupported for sudachi
  /// and jumanpp, not_found without the dictionary.
  JapaneseWords(const TokenizerConfig& config, const TokenizerOptions& options, TextSet never_split);

  /// Visits the words of a stretch of text in order; words are never empty.
  void for_each(const AlignedText& text, const std::function<void(const AlignedText&)>& visit) const;
  std::string description() const;

 private:
  enum class Kind { none, basic, mecab };

  void read_mecab_arguments(const TokenizerConfig& config, const TokenizerOptions& options);
  void split_by_mecab(const AlignedText& text, const std::function<void(const AlignedText&)>& visit) const;

  Kind kind_ = Kind::none;
  BasicTokenizer basic_;
  bool normalize_ = true;
  bool lower_case_ = false;
  TextSet never_split_;
  std::shared_ptr<const MecabWords> mecab_;
  std::string dictionary_;
};

}  // namespace inazuma
