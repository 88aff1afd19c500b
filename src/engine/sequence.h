#pragma once
// What is asked of an engine, one row at a time, and what comes back.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"

namespace inazuma {

using Clock = std::chrono::steady_clock;

inline double seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

/// The only signal that runs against the stream: set by whoever loses interest (disconnect, matched stop string), read
/// by the engine at the start of each step.
using CancelFlag = std::shared_ptr<std::atomic<bool>>;

/// When a beam search ends before max_new_tokens (transformers' early_stopping).
enum class EarlyStopping {
  heuristic,  ///< false: as soon as no running beam, ending now, would beat the worst of num_beams finished hypotheses
  full,       ///< true: as soon as num_beams hypotheses are finished
  never,      ///< "never": as `heuristic`, but a running beam may grow to max_new_tokens (if length_penalty > 0)
};

/// Whether a hypothesis ends here for a reason of the caller's own (a stop string): decoder ids with the prompt's, of
/// which the first `prompt` are given. Called on the engine's thread for every candidate of a step: must be quick and
/// never throw.
using HypothesisEnd = std::function<bool(std::span<const int32_t> ids, int prompt)>;

/// How one row generates. Field meanings as in transformers' GenerationConfig; defaults are "off".
struct GenerationOptions {
  int max_new_tokens = 20;
  int min_new_tokens = 0;
  std::vector<int32_t> eos;  ///< generation ends after any of these (at most SelectionRow::kMaxEos)
  bool ignore_eos = false;
  bool sample = false;
  float temperature = 1.0f;
  int top_k = 0;  ///< 0 = off
  float top_p = 1.0f;
  float min_p = 0.0f;
  float typical_p = 1.0f;
  float repetition_penalty = 1.0f;
  float frequency_penalty = 0.0f;
  float presence_penalty = 0.0f;
  uint64_t seed = 0;
  std::vector<int32_t> suppress;                ///< never produced
  std::vector<std::vector<int32_t>> bad_words;  ///< id sequences never completed
  int no_repeat_ngram = 0;                      ///< 0 = off
  std::optional<int32_t> forced_bos, forced_eos;
  int num_beams = 1;             ///< above 1: beam search; nothing is told before its end
  int num_return_sequences = 1;  ///< hypotheses told, at most num_beams
  float length_penalty = 1.0f;   ///< hypotheses rank by sum of log-probabilities / generated ids^length_penalty
  EarlyStopping early_stopping = EarlyStopping::heuristic;
  float beam_diversity = 0.0f;  ///< FasterTransformer's: added to a candidate's rank score, times its place in its beam
  bool beams_keep_ended =
      false;                 ///< FasterTransformer's GPT: an ended text stays one of the num_beams until as many better
                             ///< ones push it out; the search is over when all have ended (length_penalty 0)
  bool beam_logits = false;  ///< FasterTransformer's order: temperature, penalties and bans act on logits, and
                             ///< log-softmax comes last; else on log-probabilities, temperature not at all
  int top_tokens = 0;        ///< how many alternatives to report with each token (not with beams)
  bool prompt_logprobs = false;  ///< report log-probabilities of the prompt's own tokens (decoder-only)
};

enum class FinishReason { eos, length, cancelled, encoded, stopped };  ///< stopped: a HypothesisEnd said so

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0.0f;
};

/// One finished answer of a beam search.
struct Hypothesis {
  std::vector<int32_t> ids;     ///< generated, the eos included
  std::vector<float> logprobs;  ///< of each, after penalties and bans
  float sum = 0.0f;             ///< of them
  float score = 0.0f;           ///< sum / ids^length_penalty: what hypotheses rank by
  FinishReason reason = FinishReason::length;
};

class SequenceSink;

/// One row of work. Moves into the engine; nothing of it is shared but sink and cancel flag.
struct SequenceRequest {
  enum class Wanted { none, all, listed };

  std::vector<int32_t> ids;       ///< source of an encoder(-decoder), prompt of a decoder
  std::vector<int32_t> type_ids;  ///< empty = all 0
  std::vector<float> hidden;      ///< [n, ModelInfo::hidden] in place of ids, for models without embeddings (vocab 0)
  std::vector<int32_t> decoder_ids;  ///< encoder-decoder: decoder prompt; empty = the model's start token
  Wanted rows = Wanted::none;        ///< encoders: whose outputs to return
  std::vector<int32_t> listed;       ///< with Wanted::listed: positions, increasing
  bool pooled = false;               ///< encoders: return the pooled output
  GenerationOptions generation;      ///< decoders
  HypothesisEnd hypothesis_end;      ///< beam search; may be empty

  int32_t index = 0;                                      ///< the caller's name for this row, returned in every event
  int32_t priority = 0;                                   ///< lower goes first among the waiting
  Clock::time_point deadline = Clock::time_point::max();  ///< never computed after this
  CancelFlag cancelled;                                   ///< may be null
  std::shared_ptr<SequenceSink> sink;
};

/// A float matrix handed over to the receiver.
struct Rows {
  int32_t count = 0;
  int32_t width = 0;
  std::vector<float> values;
};

struct SequenceTimes {
  Clock::duration queued{};   ///< submit to admission
  Clock::duration prefill{};  ///< admission to first token, or to the encoder's answer
  Clock::duration decode{};   ///< first to last token
};

/// Events of one row arrive in order: prompt?, token*, then exactly one finished or failed; or one finished with
/// rows/pooled. A beam search tells no tokens: its finished event holds the hypotheses. A cancelled row ends with
/// finished (reason cancelled) when it has told a token, else with failed (code cancelled).
struct SequenceEvent {
  enum class Kind { prompt, token, finished, failed };
  Kind kind = Kind::token;
  int32_t index = 0;

  TokenLogprob token;                          ///< token
  std::vector<TokenLogprob> top;               ///< token: alternatives, best first
  std::vector<TokenLogprob> prompt;            ///< prompt: one per prompt id; the first has NaN
  FinishReason reason = FinishReason::length;  ///< finished
  int32_t generated = 0;                       ///< finished; of all hypotheses told
  std::vector<Hypothesis> hypotheses;          ///< finished, beam search: best first; reason is the first one's
  Rows rows, pooled;                           ///< finished, encoders
  SequenceTimes times;                         ///< finished
  Status status;  ///< failed: deadline_exceeded, cancelled, unavailable, out_of_memory, internal
};

/// Where a row's events go. Called on the engine's thread, in order: must return at once and never throw (hand over and
/// go).
class SequenceSink {
 public:
  virtual ~SequenceSink() = default;
  virtual void on_event(SequenceEvent event) = 0;
};

}  // namespace inazuma
