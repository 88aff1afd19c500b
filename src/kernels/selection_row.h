#pragma once
// How one row's next token is chosen, as bytes that travel to the device. Plain: device code includes it.

#include <cstdint>

namespace inazuma {

/// How one row's next token is chosen: plain data that travels to the device as bytes. Order of work as in
/// transformers 4.57 (processors, then warpers): repetition penalty (over all ids of the history), frequency and
/// presence penalty, bans, minimum lengths, temperature, then for sampling top-k, top-p, min-p, typical-p. Ids outside
/// the vocabulary (an eos the head does not reach) are ignored.
struct SelectionRow {
  static constexpr int kMaxEos = 8;
  int32_t slot = 0;            ///< row of the history
  int32_t length = 0;          ///< ids in the history so far; the chosen token is written there
  int32_t generated = 0;       ///< of which generated
  int32_t min_new_tokens = 0;  ///< eos is banned while generated < min_new_tokens
  int32_t eos_count = 0;
  int32_t eos[kMaxEos] = {};
  int32_t ban_begin = 0;  ///< this row's range of `SelectionArgs::bans`
  int32_t ban_end = 0;
  int32_t sample = 0;  ///< 0: argmax, ties to the lowest id; 1: draw (first id at which the running sum of
                       ///< probabilities passes philox_uniform(seed, generated): philox.h)
  int32_t top_k = 0;   ///< 0 = off; ties at the edge survive
  float temperature = 1.0f;
  float top_p = 1.0f;
  float min_p = 0.0f;
  float typical_p = 1.0f;
  float repetition_penalty = 1.0f;
  float frequency_penalty = 0.0f;  ///< logit -= count of the id among generated ids · p (TGI, OpenAI)
  float presence_penalty = 0.0f;
  int32_t log_softmax_first = 0;  ///< 1: penalties and bans act on log-probabilities, and what is reported is the score
                                  ///< itself (beam search as in transformers); 0: log-softmax comes last
  int32_t reserved = 0;
  uint64_t seed = 0;  ///< the draw is a pure function of (seed, generated): a stream repeats alone or in any batch
};
static_assert(sizeof(SelectionRow) == 112, "plain data without padding: it is compared and copied as bytes");

}  // namespace inazuma
