#pragma once
// A model whose answers can be computed by hand, a home that can fail, and a sink that remembers.

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "kernels/ops.h"
#include "models/model.h"

namespace inazuma::test {

enum class Family { encoder, decoder, encoder_decoder };

/// Every answer is a hash of all ids that it may depend on, read back through block tables and slots: one id from a
/// wrong row, block or position changes it. Runs on host memory.
class FakeModel final : public Model {
 public:
  static constexpr int kVocab = 97;
  static constexpr int kTypes = 2;
  static constexpr int kRowWidth = 3;
  static constexpr int kPooledWidth = 2;
  static constexpr int kStart = 1;

  explicit FakeModel(Family family, int max_positions = 64);
  const ModelInfo& info() const override { return info_; }
  Output forward(Ops& ops, const Batch& batch, KvView& kv, Arena& arena) const override;

  /// Called at the start of every forward; may throw or wait.
  std::function<void(const Batch&)> before;
  /// Called at the end of every forward; may spoil what it gives.
  std::function<void(const Batch&, Output&)> after;

 private:
  void encode(const EncoderLane& lane, KvView& kv, Arena& arena, Output& out) const;
  void decode(const DecoderLane& lane, KvView& kv, Arena& arena, Output& out) const;
  ModelInfo info_;
};

/// What FakeModel must answer, from the ids alone.
std::vector<float> expected_rows(const std::vector<int32_t>& ids, const std::vector<int32_t>& types);
std::vector<float> expected_pooled(const std::vector<int32_t>& ids, const std::vector<int32_t>& types);
/// Logits after `history`, for an empty or given source.
std::vector<float> expected_logits(const std::vector<int32_t>& source, const std::vector<int32_t>& history);
std::vector<int32_t> expected_greedy(const std::vector<int32_t>& source, std::vector<int32_t> history, int count);

/// Passes everything on to the reference home. `on_call` hears the name of each step operation, `allocate` and `upload`
/// first and may throw; `paused` is true on this thread while the inner home works.
class WatchedOps final : public Ops {
 public:
  explicit WatchedOps(std::function<void(const char*)> on_call = {})
      : inner_(make_reference_ops()), on_call_(std::move(on_call)) {}
  static thread_local bool paused;

  Stream stream() const override { return inner_->stream(); }
  DType compute_dtype() const override { return inner_->compute_dtype(); }
  std::string description() const override { return "watched " + inner_->description(); }
  Buffer allocate(size_t bytes) override;
  void synchronize() override { inner_->synchronize(); }
  Status health() const override {
    return lost && *lost ? Status(StatusCode::unavailable, "cuda:0 is lost") : Status();
  }
  std::shared_ptr<std::atomic<bool>> lost;  ///< null or false: all is well
  void wait(uint64_t mark) override {
    while (!passed(mark)) std::this_thread::yield();
  }
  bool passed(uint64_t) override { return !busy || !*busy; }
  std::shared_ptr<std::atomic<bool>> busy;  ///< while true, no step is over

 private:
  template <class Work>
  auto pass(const char* name, Work&& work);
  Matrix do_pack(std::span<const Tensor> weights, WeightLayout layout) override;
  Parameter do_parameter(std::span<const Tensor> parts, DType dtype) override;
  void do_upload(const Tensor& destination, const void* source) override;
  void do_download(void* destination, const Tensor& source) override;
  void do_embed(const Tensor& out, std::span<const EmbeddingTerm> terms) override;
  void do_linear(const LinearArgs& args) override;
  void do_norm(const NormArgs& args) override;
  void do_attention(const AttentionArgs& args) override;
  void do_paged_attention(const PagedAttentionArgs& args) override;
  void do_store_kv(const StoreKvArgs& args) override;
  void do_gather_rows(const Tensor& out, const Tensor& x, const Tensor& rows) override;
  void do_copy_rows(const Tensor& x, const Tensor& from, const Tensor& to) override;
  void do_pool(const Tensor& out, const Tensor& x, const Tensor& offsets, const Tensor& which,
               Pooling pooling) override;
  void do_read_history(const Tensor& ids, const Tensor& history, const Tensor& slots, const Tensor& positions) override;
  void do_select_tokens(const SelectionArgs& args) override;
  void do_token_logprobs(const Tensor& out, const Tensor& logits, const Tensor& targets) override;

  std::unique_ptr<Ops> inner_;
  std::function<void(const char*)> on_call_;
};

/// Everything one row was told, and whether the order kept the contract.
struct Told {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  std::vector<std::vector<TokenLogprob>> top;
  std::vector<TokenLogprob> prompt;
  std::optional<FinishReason> reason;
  Status failed;
  int generated = 0;
  std::vector<Hypothesis> hypotheses;
  Rows rows, pooled;
  SequenceTimes times;
  int ends = 0;
  std::string broken;  ///< what was wrong with the order, "" if nothing
};

/// One sink for many rows, by index. Thread-safe.
class Collector final : public SequenceSink {
 public:
  void on_event(SequenceEvent event) override;
  /// Blocks until `count` rows have ended; false after ninety seconds.
  bool wait(int count);
  /// Blocks until row `index` has told `tokens` tokens; false after ninety seconds.
  bool wait_tokens(int index, size_t tokens);
  Told row(int index) const;
  int ended() const;
  std::vector<int> order_of_ends() const;
  std::function<void(const SequenceEvent&)> also;  ///< called for each event, on the engine's thread

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, Told> rows_;
  std::vector<int> ended_;
};

/// A row of each family with everything at its default.
SequenceRequest encode_row(std::vector<int32_t> ids, int index, std::shared_ptr<SequenceSink> sink);
SequenceRequest generate_row(std::vector<int32_t> ids, int max_new, int index, std::shared_ptr<SequenceSink> sink);

std::unique_ptr<Engine> start(std::shared_ptr<const Model> model, const EngineOptions& options = {});
/// Submits one row or all; expects it to be accepted.
void accept(Engine& engine, SequenceRequest row);

}  // namespace inazuma::test
