#pragma once
// spiece.model: the parts of SentencePiece's ModelProto that encoding and decoding need.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace inazuma {

enum class PieceType : int32_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct ModelPiece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::normal;
};

enum class PieceModel : int32_t { unigram = 1, bpe = 2, word = 3, character = 4 };

struct NormalizerSpec {
  std::string charsmap;  ///< as in the file; see Charsmap
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

struct PieceModelFile {
  std::vector<ModelPiece> pieces;  ///< id = index
  PieceModel model = PieceModel::unigram;
  bool treat_whitespace_as_suffix = false;
  bool byte_fallback = false;
  std::string unk_surface = " \xE2\x81\x87 ";
  NormalizerSpec normalizer;
  NormalizerSpec denormalizer;  ///< used when its charsmap is not empty
};

/// Reads the bytes of a model file and checks what SentencePiece 0.2 checks when it loads one. Fields it does not know
/// are skipped. Throws Error(malformed) with the byte position or the piece, Error(unsupported) for an unknown model
/// type.
PieceModelFile read_piece_model(std::string_view bytes);

/// Value of a byte piece's text "<0x0A>" (upper-case hexadecimal), or -1.
int byte_of_piece(std::string_view text);

}  // namespace inazuma
