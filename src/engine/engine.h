#pragma once
// The single thread that loops: drain inbox, schedule, run, emit.

#include <array>
#include <memory>
#include <vector>

#include "engine/sequence.h"
#include "models/model.h"

namespace inazuma {

/// Budgets of one engine. Zero means "choose from the model and the machine".
struct EngineOptions {
  int max_queue = 1024;      ///< rows waiting (not yet admitted); one more is answered `overloaded`
  int max_sequences = 0;     ///< rows running at once
  int max_batch_tokens = 0;  ///< rows of a step over both lanes; a longer text still runs, alone
  int block_tokens = 16;     ///< tokens of a pool block
  int64_t kv_tokens = 0;     ///< size of the pool
  int steps_in_flight = 0;   ///< 2: a step begins while the tokens of the one before travel to the host; 1: it does not
  int max_context = 0;       ///< longest prompt + generated (decoder side); 0 = the model's positions
};

/// A moment's counts, for metrics; monotone counters where named total.
/// How many sizes were at most 1, 2, 4, ... 8192, and above: for histograms.
struct SizeCounts {
  std::array<int64_t, 15> up_to{};  ///< not cumulated; the last has no bound
  int64_t sum = 0;
  void add(int64_t size) {
    size_t at = 0;
    while (at + 1 < up_to.size() && size > int64_t{1} << at) ++at;
    ++up_to[at];
    sum += size;
  }
};

struct EngineStats {
  int waiting = 0;
  int running = 0;
  int kv_blocks_used = 0;
  int kv_blocks_total = 0;
  int64_t steps_total = 0;
  int64_t rows_total = 0;             ///< tokens worked
  SizeCounts step_rows, step_tokens;  ///< texts (or beams) and tokens of a step
  int64_t prompt_tokens_total = 0;
  int64_t generated_tokens_total = 0;
  int64_t finished_total = 0;
  int64_t cancelled_total = 0;
  int64_t deadline_total = 0;
  int64_t failed_total = 0;
  bool lost = false;            ///< the home can work no more (Ops::health): every row is answered `unavailable`
  Clock::time_point heartbeat;  ///< last time the loop turned (idle or busy)
};

/// One model on one stream. Thread-safe: any thread may submit; events come from the engine's own thread.
class Engine {
 public:
  /// Starts the thread, allocates the pool and runs a warm-up: on a GPU of the largest plan (so that memory is known to
  /// suffice: out_of_memory otherwise), on the CPU of a small one. invalid: an option out of range (see limits.h).
  static Result<std::unique_ptr<Engine>> start(std::shared_ptr<const Model> model, std::unique_ptr<Ops> ops,
                                               const EngineOptions& options = {});
  /// Stops: rows not finished fail with `unavailable`. Must not be called from a sink (the thread would wait for
  /// itself).
  virtual ~Engine() = default;

  /// All rows or none: invalid (ids outside the vocabulary, options out of range), too_long (context), empty,
  /// overloaded (queue full), unavailable (draining). On success every row's sink hears exactly one end.
  virtual Status submit(std::vector<SequenceRequest> rows) = 0;
  /// No new rows; returns when the accepted ones have ended or `until` passed (true = all ended).
  virtual bool drain(Clock::time_point until) = 0;

  virtual const ModelInfo& info() const = 0;
  virtual const EngineOptions& options() const = 0;  ///< with the zeros filled in
  virtual EngineStats stats() const = 0;
  virtual std::string device_description() const = 0;
};

}  // namespace inazuma
