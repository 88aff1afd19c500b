#pragma once
// BertJapaneseTokenizer with subword_tokenizer_type sentencepiece.

#include <memory>

#include "text/slow/tokenizer_config.h"
#include "text/tokenizer.h"

namespace inazuma {

/// Reads spiece.model of the configuration's directory. Throws Error.
std::shared_ptr<const Tokenizer> load_bert_japanese_sentencepiece(TokenizerConfig config,
                                                                  const TokenizerOptions& options);

}  // namespace inazuma
