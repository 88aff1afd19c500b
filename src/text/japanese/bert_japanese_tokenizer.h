#pragma once
// BertJapaneseTokenizer: words by MeCab (or BasicTokenizer), pieces by WordPiece, characters or SentencePiece.

#include <memory>

#include "text/bert/bert_tokenizer.h"
#include "text/japanese/mecab.h"

namespace inazuma {

/// Throws Error. `directory` needs vocab.txt, or spiece.model for subword_tokenizer_type sentencepiece.
/// The offsets reach through NFKC and MeCab's skipped whitespace to the code points of the input; a token's word is the
/// MeCab word.
std::shared_ptr<const Tokenizer> load_bert_japanese(const std::filesystem::path& directory,
                                                    const TokenizerOptions& options);

}  // namespace inazuma
