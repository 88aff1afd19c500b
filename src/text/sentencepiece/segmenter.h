#pragma once
// The four ways in which a SentencePiece model cuts normalised text into pieces.

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "text/sentencepiece/double_array.h"
#include "text/sentencepiece/model_file.h"

namespace inazuma {

/// Bytes [begin, end) of the normalised text.
struct Segment {
  int32_t id = 0;
  uint32_t begin = 0;
  uint32_t end = 0;
};

/// What all of them look things up in. Built once, never changed.
struct PieceTables {
  explicit PieceTables(const std::vector<ModelPiece>& all);

  const std::vector<ModelPiece>* pieces;
  DoubleArray matched;       ///< normal, user-defined and unused pieces: the only ones found in text
  DoubleArray user_defined;  ///< those that are never cut
  int32_t unknown = 0;
  float lowest_score, highest_score;  ///< of normal pieces; the highest is at least FLT_MIN, as in the original

  PieceType type(int32_t id) const { return (*pieces)[static_cast<size_t>(id)].type; }
  float score(int32_t id) const { return (*pieces)[static_cast<size_t>(id)].score; }
};

/// Appends the segments of `text`, which cover it without gaps.
void segment_unigram(const PieceTables& tables, std::string_view text, std::vector<Segment>& out);
void segment_bpe(const PieceTables& tables, std::string_view text, std::vector<Segment>& out);
void segment_words(const PieceTables& tables, std::string_view text, std::vector<Segment>& out);
void segment_characters(const PieceTables& tables, std::string_view text, std::vector<Segment>& out);

}  // namespace inazuma
