#pragma once
// The kinds of parts a tokenizer.json is put together from. Each `read_` function makes a part from its JSON; all parts
// are immutable. Behaviour is that of the tokenizers library 0.22 (named by `type` as in the file).
//
// Reading throws Error(malformed) with the place of a bad field and Error(unsupported) for an unknown type.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/aligned/traced_text.h"
#include "text/fields/json_field.h"
#include "text/tokenizer.h"

namespace inazuma {

/// A token of one piece of text; bytes [begin, end) of the piece.
struct ModelToken {
  int32_t id = 0;
  uint32_t begin = 0;
  uint32_t end = 0;
};

/// A piece of the text; an added token carries its id, other pieces are tokenized by the model.
struct TextPiece {
  TracedText text;
  std::optional<int32_t> added;
};
using TextPieces = std::vector<TextPiece>;

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void normalize(TracedText& text) const = 0;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Splits the pieces that are not added tokens.
  virtual void split(TextPieces& pieces) const = 0;
};

class PipelineModel {
 public:
  virtual ~PipelineModel() = default;
  virtual void tokenize(const std::string& piece, std::vector<ModelToken>& out) const = 0;
  virtual std::optional<int32_t> id(std::string_view token) const = 0;
  virtual std::optional<std::string_view> token(int32_t id) const = 0;
  /// Number of tokens: where new added tokens are numbered from.
  virtual int32_t size() const = 0;
  virtual int32_t largest_id() const = 0;
  virtual std::string_view continuing_prefix() const { return {}; }
  /// Whether a token's text is the text it was made from even when it is unknown (Unigram), not the unknown token's.
  virtual bool tokens_show_text() const { return false; }
};

/// Texts on their way through the post-processors: one or two at first, any number after a template.
struct ProcessedText {
  Encoding encoding;
  /// Leading and trailing spaces of each token's text; filled only when a processor trims offsets.
  struct Spaces {
    uint16_t leading = 0;
    uint16_t trailing = 0;
  };
  std::vector<Spaces> spaces;
};

class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  virtual int32_t added_tokens(bool pair) const = 0;
  /// `trim` is false when offsets have been trimmed before (ids of an already encoded text are wrapped again).
  virtual void process(std::vector<ProcessedText>& texts, bool add_special_tokens, bool trim) const = 0;
  virtual bool trims_offsets() const { return false; }
  /// Whether it joins the texts with pieces of its own (TemplateProcessing).
  virtual bool rearranges() const { return false; }
};

class PipelineDecoder {
 public:
  virtual ~PipelineDecoder() = default;
  virtual void decode(std::vector<std::string>& tokens) const = 0;
};

/// Sequences inside sequences are read down to this depth; deeper ones are refused.
constexpr int kDeepestSequence = 16;

/// Every type of the library: Sequence, BertNormalizer, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Nmt,
/// Precompiled, Replace, Prepend, ByteLevel.
std::unique_ptr<Normalizer> read_normalizer(const JsonField& field, int depth = 0);
/// Sequence, BertPreTokenizer, ByteLevel, Metaspace, Whitespace, WhitespaceSplit, Split, Punctuation, Digits,
/// CharDelimiterSplit, FixedLength. UnicodeScripts is refused as unsupported.
std::unique_ptr<PreTokenizer> read_pre_tokenizer(const JsonField& field, int depth = 0);
/// WordPiece, BPE, Unigram, WordLevel. Without `type`, the model is told by its fields as the library does.
std::unique_ptr<PipelineModel> read_model(const JsonField& field);
std::unique_ptr<PipelineModel> read_unigram(const JsonField& field);
/// BertProcessing, RobertaProcessing, ByteLevel, TemplateProcessing, Sequence.
std::unique_ptr<PostProcessor> read_post_processor(const JsonField& field, int depth = 0);
/// Sequence, WordPiece, ByteLevel, Metaspace, BPEDecoder, ByteFallback, Fuse, Strip, Replace, CTC.
std::unique_ptr<PipelineDecoder> read_decoder(const JsonField& field, int depth = 0);

/// The items of a Sequence, each read one level deeper. Throws Error(malformed) below kDeepestSequence.
template <class Part>
std::vector<std::unique_ptr<Part>> read_sequence(const JsonField& items, int depth,
                                                 std::unique_ptr<Part> (*read)(const JsonField&, int)) {
  if (depth >= kDeepestSequence) items.malformed("is nested too deeply");
  std::vector<std::unique_ptr<Part>> parts;
  for (size_t i = 0; i < items.size(); ++i) parts.push_back(read(items.item(i), depth + 1));
  return parts;
}

/// WordPiece's clean-up of a decoded token.
std::string word_piece_clean_up(std::string text);

}  // namespace inazuma
