#pragma once
// SentencePiece's normaliser: user-defined symbols kept, character map, white space; every byte knows where it came
// from.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/sentencepiece/charsmap.h"
#include "text/sentencepiece/double_array.h"
#include "text/sentencepiece/model_file.h"

namespace inazuma {

/// "▁", which stands for a space inside pieces.
inline constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";

/// Text after normalisation; byte i of `text` stands for bytes [begin[i], end[i]) of the input (empty for the dummy
/// prefix).
struct NormalizedText {
  std::string text;
  std::vector<uint32_t> begin;
  std::vector<uint32_t> end;
};

class PieceNormalizer {
 public:
  /// `symbols` (may be nullptr) holds the user-defined symbols and must outlive this object. Throws Error(malformed)
  /// when the character map is broken.
  PieceNormalizer(const NormalizerSpec& spec, bool space_as_suffix, const DoubleArray* symbols);

  /// `input` may be any bytes: one that is not part of a well-formed character becomes U+FFFD. At most 2^32 - 1 bytes.
  void normalize(std::string_view input, NormalizedText& out) const;

 private:
  struct Chunk {
    std::string_view text;
    size_t consumed;
  };
  Chunk chunk(std::string_view input) const;
  void append(NormalizedText& out, std::string_view text, size_t begin, size_t end) const;
  void append_space(NormalizedText& out, size_t begin, size_t end) const;

  Charsmap charsmap_;
  const DoubleArray* symbols_;
  bool dummy_prefix_, dummy_suffix_, remove_extra_, escape_;
  std::string_view space_;  // what a space becomes
};

/// Bytes of the character at the start of `text`, judged by its first byte alone and at most text.size().
size_t leading_length(std::string_view text);
/// Bytes of the well-formed character at the start of `text` (not empty), or 0 when there is none.
size_t well_formed_length(std::string_view text);

}  // namespace inazuma
