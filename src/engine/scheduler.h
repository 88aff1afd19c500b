#pragma once
// What the next step works on: a pure function of the rows, the budgets and the time. No device, no clock, no I/O.
//
// Rules
// - Decoding rows move by one token in every step: max_sequences <= max_batch_tokens, hence they always fit. (A row
// that
//   looks back at what it generated sits out a step that is planned before its last token is known.)
// - What is left of max_batch_tokens goes to running rows that still read (a source, or their prompt in chunks), then
// to
//   waiting ones, in order; the first that cannot go on stops all behind it. So a row that needs much is never
//   overtaken because of its size: everything it waits for (decoding rows, each of at most max_new_tokens steps) ends
//   by itself.
// - A row with beams counts as that many sequences, and decodes that many tokens a step.
// - A source is read whole. One that exceeds what is left of the budget is read when it is the first reader of a step,
// and
//   then as the only one; decoding rows go on beside it.
// - A row is admitted with the blocks of its whole life reserved (prompt + max_new_tokens, and its source): admitted
// rows
//   never wait for memory, so there is no preemption and no deadlock.
// - Waiting rows stand in order of arrival + priority · kPriorityStride, where `arrival` numbers rows: within one
// priority
//   first come, first served, and a row is overtaken by at most kPriorityStride later rows per step of priority, so
//   nobody starves.
// - Cancelled rows and rows past their deadline leave before anything is computed, wherever they are.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/beams/beam_group.h"
#include "engine/sequence.h"

namespace inazuma {

/// All mutable state of one row, owned by the engine's thread once it is in.
struct Sequence {
  enum class Phase {
    encode,   ///< its source (or whole text) is to be read
    prefill,  ///< ids of the decoder prompt are to be read
    decode,   ///< one id per step
    leaving,  ///< all its work has begun, its last answers are on their way
    ended,    ///< its end has been told; leaves the engine's lists
  };

  SequenceRequest request;
  Phase phase = Phase::encode;
  int64_t arrival = 0;
  bool cancelled = false;  ///< request.cancelled as sampled at the start of the step

  bool deaf = false;  ///< its sink threw: treated as cancelled

  std::vector<int32_t> history;  ///< decoder ids: the prompt, and what was generated if the bans need it
  int prompt = 0;                ///< decoder ids given
  int generated = 0;             ///< ids that steps begun so far select
  int told = 0;                  ///< of which the sink has heard
  int computed = 0;              ///< decoder ids whose keys and values steps begun so far put in the pool
  int in_flight = 0;             ///< how often it is named in steps begun and not finished
  bool looks_back = false;       ///< what may come next depends on what was generated (needs_history, beams)
  int slot = -1;                 ///< row of the device's history
  int blocks_needed = 0;         ///< for the decoder's whole life
  int cross_blocks_needed = 0;   ///< for the source
  std::vector<int32_t> blocks, cross_blocks;
  std::vector<TokenLogprob> prompt_logprobs;
  std::unique_ptr<BeamGroup> beams;  ///< with num_beams above 1; a prompt is read as beam 0

  Clock::time_point submitted, admitted, first_token, last_token;

  int length() const { return prompt + generated; }
  int width() const { return request.generation.num_beams; }
  int slot_of(int beam) const { return beams ? beams->holdings[static_cast<size_t>(beam)].slot : slot; }
  const std::vector<int32_t>& blocks_of(int beam) const {
    return beams ? beams->holdings[static_cast<size_t>(beam)].blocks : blocks;
  }
  const std::vector<int32_t>& history_of(int beam) const {
    return beams ? beams->search.beams()[static_cast<size_t>(beam)].ids : history;
  }
  /// Decoding, and the next step can begin.
  bool decodes() const { return phase == Phase::decode && !(looks_back && told < generated); }
  bool reads() const { return phase == Phase::encode || phase == Phase::prefill; }
  int source() const { return static_cast<int>(request.ids.size()); }
  int64_t rank() const;  ///< order among the waiting; lower goes first
};

inline constexpr int64_t kPriorityStride = 1024;
inline int64_t Sequence::rank() const {
  return arrival + kPriorityStride * request.priority;
}

struct Budgets {
  int max_sequences = 1;
  int max_batch_tokens = 1;  ///< >= max_sequences when rows decode
  int free_blocks = 0;
  int logprob_rows =
      256;  ///< prompt positions per step that get logits for prompt_logprobs (each is a row of vocab floats)
};

struct Plan {
  struct Dropped {
    Sequence* sequence;
    StatusCode why;  ///< cancelled or deadline_exceeded
  };
  /// `count` decoder ids of a sequence from `begin` on: one for a decoding row, a chunk for one being prefilled. The
  /// beams of a row follow one another.
  struct Chunk {
    Sequence* sequence;
    int begin;
    int count;
    int beam = 0;
    bool reads() const { return begin < sequence->prompt; }
    bool ends_prompt() const { return reads() && begin + count == sequence->prompt; }
    bool selects() const {
      return begin + count >= sequence->prompt && sequence->request.generation.max_new_tokens > 0;
    }
  };
  std::vector<Dropped> dropped;
  std::vector<Sequence*> admitted;  ///< in order; also named in the lists of work
  std::vector<Sequence*> encode;
  std::vector<Chunk> decode;

  bool has_work() const { return !encode.empty() || !decode.empty(); }
  void clear();
};

/// `waiting` ordered by rank; `running` in order of admission. Overwrites `plan` (whose memory is reused).
void plan_step(std::span<const std::unique_ptr<Sequence>> waiting, std::span<const std::unique_ptr<Sequence>> running,
               const Budgets& budgets, Clock::time_point now, Plan& plan);

}  // namespace inazuma
