#pragma once
// Choosing the next token of one row on the CPU without sorting the vocabulary.

#include <span>

#include "kernels/cpu/kernels.h"
#include "kernels/ops.h"

namespace inazuma {

/// An id that may still be drawn.
struct Candidate {
  float score;
  int32_t id;
  double weight;  ///< exp(score - largest score)
  double key;     ///< what a filter orders by
};

/// Scratch of one thread for rows of `vocab` scores and histories of `capacity` ids.
struct SelectionScratch {
  std::span<float> weights;         ///< max(vocab, capacity)
  std::span<int32_t> ids;           ///< max(vocab, capacity) + 64
  std::span<Candidate> candidates;  ///< vocab
  static size_t floats(int64_t vocab, int64_t capacity);
  static SelectionScratch in(float* memory, int64_t vocab, int64_t capacity);
};

struct SelectionResult {
  int32_t token = 0;
  float logprob = 0.0f;
};

/// One row of SelectionArgs (checked): overwrites `logits`, reads `history` and `bans`; writes top_ids and top_logprobs
/// if they are not empty.
SelectionResult select_token(const Kernels& kernels, const SelectionRow& row, std::span<float> logits,
                             std::span<const int32_t> history, std::span<const int32_t> bans,
                             std::span<int32_t> top_ids, std::span<float> top_logprobs,
                             const SelectionScratch& scratch);

}  // namespace inazuma
