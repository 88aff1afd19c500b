#pragma once
// A SentencePiece model: text to pieces and back, as the sentencepiece library 0.2 does it.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/sentencepiece/normalizer.h"
#include "text/sentencepiece/segmenter.h"
#include "text/slow_base.h"

namespace inazuma {

/// One piece of an encoded text.
struct EncodedPiece {
  int32_t id = 0;
  std::string_view text;  ///< the piece; of an unknown run its normalised text. Lives as long as the PieceEncoding
  uint32_t begin = 0;     ///< bytes [begin, end) of the input; of a byte piece those of its whole character; empty for
  uint32_t end = 0;       ///< the dummy prefix alone
  uint32_t normal_begin = 0;  ///< bytes of PieceEncoding::normalized.text (the whole character for a byte piece)
  uint32_t normal_end = 0;
};

/// Result and scratch memory of encoding; use one again and again.
struct PieceEncoding {
  NormalizedText normalized;
  std::vector<Segment> segments;
  std::vector<EncodedPiece> pieces;
};

/// Immutable and shared between threads.
class SentencePiece {
 public:
  /// `bytes`: a model file. `add_dummy_prefix` replaces the model's own setting when given (transformers'
  /// `legacy: false`). Throws Error(malformed) as read_piece_model does.
  explicit SentencePiece(std::string_view bytes, std::optional<bool> add_dummy_prefix = std::nullopt);
  SentencePiece(const SentencePiece&) = delete;
  SentencePiece& operator=(const SentencePiece&) = delete;

  /// Any bytes, at most 1 GiB.
  void encode(std::string_view text, PieceEncoding& out) const;
  /// Pieces by their texts, as `decode` of a list of strings.
  std::string decode(std::span<const std::string> pieces) const;

  int32_t size() const { return static_cast<int32_t>(file_.pieces.size()); }
  /// Text of a piece; `id` in [0, size()).
  const std::string& piece(int32_t id) const { return file_.pieces[static_cast<size_t>(id)].text; }
  PieceType type(int32_t id) const { return tables_.type(id); }
  /// Id of a piece of any type, else the unknown piece's.
  int32_t id(std::string_view piece) const { return find(piece).value_or(tables_.unknown); }
  std::optional<int32_t> find(std::string_view piece) const;
  int32_t unknown_id() const { return tables_.unknown; }
  /// Number of different texts among the pieces.
  int32_t distinct_pieces() const;
  bool space_as_suffix() const { return file_.treat_whitespace_as_suffix; }

 private:
  void push(const Segment& segment, bool joins_unknown, PieceEncoding& out) const;
  std::string surface(const std::string& piece, int32_t id, bool at_start, bool& took_space) const;

  PieceModelFile file_;
  PieceTables tables_;
  PieceNormalizer normalizer_;
  std::optional<PieceNormalizer> denormalizer_;
  StringMap<int32_t> reserved_;  // control, unknown and byte pieces
  std::vector<int32_t> byte_ids_;
};

/// One piece of an aligned text, ready for a tokenizer.
struct AlignedPiece {
  int32_t id = 0;
  std::string_view text;  ///< as EncodedPiece::text
  TextSpan span;          ///< code points of the original input
  bool begins_word = false;
};

/// Encodes `prefix` followed by `text` and says where each piece came from; pieces of the prefix have an empty span at
/// the start of `text`, which must not be empty.
std::vector<AlignedPiece> encode_aligned(const SentencePiece& model, const AlignedText& text, std::string_view prefix,
                                         PieceEncoding& scratch);

/// One token of BertJapaneseTokenizer's subword_tokenizer_type "sentencepiece".
struct PieceToken {
  std::string text;  ///< look its id up with SentencePiece::id
  TextSpan span;
};
/// transformers' SentencepieceTokenizer.tokenize with its defaults: white space collapsed, `` and '' become ", and a
/// piece of digits that ends in a comma is cut once more.
std::vector<PieceToken> japanese_subwords(const SentencePiece& model, const AlignedText& text);

/// The model in a file. Throws Error that names it.
SentencePiece open_sentence_piece(const std::filesystem::path& path,
                                  std::optional<bool> add_dummy_prefix = std::nullopt);

}  // namespace inazuma
