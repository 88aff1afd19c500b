#pragma once
// Beam search as transformers 4.57 does it for one row: generate(num_beams=K, do_sample=False), _beam_search and its
// helpers in generation/utils.py. Pure: candidates in, choices out; no device, no clock.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/sequence.h"

namespace inazuma {

/// A text that is still growing.
struct Beam {
  std::vector<int32_t> ids;     ///< decoder ids, the prompt's first
  std::vector<float> logprobs;  ///< of each generated id
  float score = 0.0f;           ///< sum of them
  int parent = 0;               ///< which beam of the step before it continues
};

/// K running beams and the best K finished hypotheses of one row.
///
/// Each step: the max(2, 1 + eos ids) · K best continuations of all beams by score, ties to the lower beam, then id.
/// Those that end (an eos, the caller's own reason, the last of max_new_tokens) become hypotheses if they are among the
/// best K; the best K others run on. Sums are float32, added up in the order of the ids, as there. Where fewer than K
/// continuations are possible the rest run on with scores near -1e9, as there.
///
/// With beams_keep_ended the best K of running and ended texts together remain; beams beyond them run on near -1e9.
class BeamSearch {
 public:
  /// `vocab` bounds how many candidates a beam can have. `options` were checked (limits.h).
  BeamSearch(const GenerationOptions& options, HypothesisEnd end, std::vector<int32_t> prompt, int vocab);

  int width() const { return width_; }
  /// How many best continuations `advance` wants to see of each beam.
  int candidates() const { return candidates_; }
  /// The running beams, best first; before the first step K times the prompt.
  const std::vector<Beam>& beams() const { return beams_; }

  /// One step: ids and log-probabilities of each beam's best continuations, `stride` apart, best first (NaN: cannot be
  /// chosen). The first step takes one beam's: they all hold the prompt. False, and nothing changes, when no
  /// continuation of any beam is possible.
  bool advance(std::span<const int32_t> ids, std::span<const float> logprobs, int stride);
  /// No further step is to be made.
  bool ended() const { return ended_; }
  /// The best num_return_sequences of the finished hypotheses, best first. There are fewer only if fewer were possible.
  std::vector<Hypothesis> take_hypotheses();

 private:
  struct Candidate {
    float score;    ///< sum of log-probabilities
    float rank;     ///< what candidates are ordered by
    float logprob;  ///< of its id
    int beam;
    int32_t id;
    void fall_behind();  ///< it runs on only where nothing else does
  };
  void collect(std::span<const int32_t> ids, std::span<const float> logprobs, int stride);
  std::optional<FinishReason> end_of(const Candidate& candidate);
  void finish(const Candidate& candidate, FinishReason reason);
  bool end_among_best();
  void keep_best_with_ended();
  void run_on();
  bool can_improve() const;
  float length_divisor(int generated) const;

  GenerationOptions options_;
  HypothesisEnd end_;
  int width_;
  int kept_;        ///< continuations kept of all beams
  int candidates_;  ///< of each beam
  int prompt_;
  int generated_ = 0;
  bool ended_ = false;
  std::vector<Beam> beams_;
  std::vector<Hypothesis> finished_;  ///< best first, at most width_
  std::vector<Candidate> best_;
  std::vector<int32_t> tried_;  ///< ids of a candidate, for end_
};

}  // namespace inazuma
