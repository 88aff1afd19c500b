#pragma once
// Plan -> Batch -> Model::forward -> selection -> numbers on the host. One runner works on one stream.

#include <array>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "engine/step_inputs.h"

namespace inazuma {

/// What a step gave, on the host; valid until the second step after it begins.
struct StepResult {
  int worked = 0;                    ///< rows over both lanes
  int prompt_rows = 0;               ///< of which read (not generated)
  int alternatives = 0;              ///< the most that any row wants
  std::span<const int32_t> tokens;   ///< [selecting]
  std::span<const float> logprobs;   ///< [selecting]
  std::span<const int32_t> top_ids;  ///< [selecting, alternatives], best first
  std::span<const float> top_logprobs;
  std::span<const float> prompt_logprobs;  ///< [targets], in the order of the plan's chunks
  std::span<const float> rows;             ///< [wanted rows, row_width], in the order of the plan
  std::span<const float> pooled;           ///< [wanted sequences, pooled_width]
};

/// Owns what a step needs: pool, history, arena. Not thread-safe: all calls come from the engine's thread. A steady
/// decoding step makes no heap allocation. Where the home records, a step whose shape was seen before is recorded, and
/// from then on steps of that shape are replayed: only their arrays are new.
class Runner {
 public:
  /// Allocates pool and history. `options` has no zeros. Throws Error(out_of_memory).
  Runner(const Model& model, Ops& ops, const EngineOptions& options);

  KvPool& pool() { return pool_; }
  const KvPool& pool() const { return pool_; }

  /// Gives the row its history row, its blocks, and its prompt to the device.
  void admit(Sequence& row);
  /// Takes them back.
  void release(Sequence& row);
  /// The search of the row's beams has chosen: tables, history and blocks follow it.
  void follow(Sequence& row);
  /// Begins a step, on a device without waiting for it; at most kInFlight are begun and not finished. Rows are only
  /// read: progress is noted by the engine. A step that throws has not begun.
  void begin(const Plan& plan);
  /// Waits for the oldest step begun. When it throws, that step is over too.
  const StepResult& finish();
  /// Whether `finish` would return at once.
  bool over() const { return ops_.passed(landings_[finished_ % kInFlight].mark); }
  const StepResult& run(const Plan& plan);
  static constexpr int kInFlight = 2;
  /// Runs the largest plans of at most `tokens` rows per lane that the options allow. With kWholePlan a shortage of
  /// memory shows now, and no later step asks for more.
  static constexpr int kWholePlan = std::numeric_limits<int>::max();
  void warm_up(int tokens = kWholePlan);

 private:
  /// Everything that shapes a step's work, and where its arrays begin.
  using Shapes = std::array<int64_t, 18>;
  struct Recorded {
    std::unique_ptr<Recording> recording;  ///< null while the shape was seen once
    Output output;
    Tensor selected;
    int64_t used = 0;  ///< number of the last step that used it
  };

  Output work(const StepInputs& step);
  /// Work that is replayed, or recorded for the next time.
  Output recorded_work(const StepInputs& step);
  static Shapes shapes_of(const StepInputs& step);
  void forget_oldest();
  void select(const StepInputs& step, const Tensor& logits);
  /// Where a step's numbers arrive.
  struct Landing {
    Buffer memory;
    uint64_t mark = 0;
    StepResult result;
  };
  void fetch(const StepInputs& step, const Output& output, Landing& landing);
  void warm_up_encoder(int tokens);
  void warm_up_decoder(int tokens);

  const Model& model_;
  Ops& ops_;
  EngineOptions options_;
  KvPool pool_;
  History history_;
  Buffer copies_;  // of follow: blocks from, blocks to
  Arena arena_;
  StepBuilder builder_;
  Tensor
      selected_;  // [4-byte words]: tokens, log-probabilities, alternatives, prompt's log-probabilities; on the device
  std::vector<int32_t> copy_words_;
  std::array<Landing, kInFlight> landings_;
  uint64_t begun_ = 0, finished_ = 0;
  bool records_;
  std::map<Shapes, Recorded> recorded_;
  int64_t steps_ = 0;
};

}  // namespace inazuma
