// Any bytes as spiece.model, any text: reading it explains itself, and what was read encodes and decodes everything.
//
// Input: text, then a zero byte, then the model file.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "text/sentencepiece/sentence_piece.h"

namespace {

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

void check_pieces(const inazuma::SentencePiece& model, const inazuma::PieceEncoding& encoding, std::string_view text) {
  const auto normal = static_cast<uint32_t>(encoding.normalized.text.size());
  for (const inazuma::EncodedPiece& piece : encoding.pieces) {
    require(piece.id >= 0 && piece.id < model.size(), "ids are pieces");
    require(piece.begin <= piece.end && piece.end <= text.size(), "spans lie in the text");
    require(piece.normal_begin <= piece.normal_end && piece.normal_end <= normal, "spans lie in the normalised text");
  }
}

void use(const inazuma::SentencePiece& model, std::string_view text) {
  inazuma::PieceEncoding encoding;
  for (int round = 0; round < 2; ++round) {  // the second time with used scratch memory
    model.encode(text, encoding);
    check_pieces(model, encoding, text);
  }
  std::vector<std::string> pieces;
  for (const inazuma::EncodedPiece& piece : encoding.pieces) pieces.push_back(model.piece(piece.id));
  (void)model.decode(pieces);
  for (int32_t id = 0; id < std::min(model.size(), 16); ++id)
    require(model.find(model.piece(id)).has_value() || model.piece(id).empty(), "pieces are found by their text");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  if (zero == std::string_view::npos) return 0;
  const std::string_view text = input.substr(0, zero), bytes = input.substr(zero + 1);
  const inazuma::Status status = inazuma::capture([&] {
    const inazuma::SentencePiece model(bytes);
    use(model, text);
    const inazuma::SentencePiece bare(bytes, false);
    use(bare, text);
  });
  require(status.ok() || (status.code() != inazuma::StatusCode::internal && !status.message().empty()),
          status.message().c_str());
  return 0;
}
