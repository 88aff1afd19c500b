#pragma once
// Plan -> Batch: the step's integers gathered on the host, sent to the device in one copy, seen as flat arrays.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "engine/kv_pool.h"
#include "engine/scheduler.h"
#include "models/model.h"
#include "tensor/arena.h"

namespace inazuma {

/// Arrays laid side by side in host memory and uploaded together. Memory is reused from step to step.
class Upload {
 public:
  /// Room that an array of `count` bytes takes.
  static size_t room(size_t count) { return (count + kAlignment - 1) / kAlignment * kAlignment; }
  void reserve(size_t capacity) { host_.resize(capacity); }
  /// Starts a step of at most `capacity` bytes (the sum of the arrays' rooms), taken from the step's arena.
  void begin(Arena& arena, size_t capacity);
  /// Copies an array in; returns its view on the device, which is filled once `send` was called. Undefined if empty.
  template <class T>
  Tensor place(const std::vector<T>& values, DType dtype, const Shape& shape) {
    return place_bytes(values.data(), values.size() * sizeof(T), dtype, shape);
  }
  void send(Ops& ops);

 private:
  static constexpr size_t kAlignment = 64;
  Tensor place_bytes(const void* data, size_t count, DType dtype, const Shape& shape);
  std::vector<std::byte> host_;
  Tensor device_;
  size_t used_ = 0;
};

/// The device's copy of decoder ids, [slots, capacity] i32. Selected tokens are written here by the device itself, so
/// that the next step's ids need no way over the host.
class History {
 public:
  History(Ops& ops, int slots, int capacity);
  const Tensor& tensor() const { return tensor_; }
  /// A row that no sequence has, of zeros and chosen tokens: rows that round a step up read and write there.
  int spare() const { return spare_; }
  int take();                 ///< a free row; Error(internal) when none is left (admission counts them)
  void give_back(int& slot);  ///< sets it to -1; ignores -1
  /// Puts `ids` at [begin, begin + ids) of a row.
  void write(Ops& ops, int slot, int begin, std::span<const int32_t> ids);

 private:
  Buffer buffer_;
  Tensor tensor_;  // undefined with capacity 0 (encoders)
  int spare_;
  std::vector<int> free_;
};

/// What a step computes, as a model and the selection read it. On a device that replays recorded steps the arrays of a
/// small step are rounded up to one of few shapes: sequences without rows, rows of no sequence (id 0, nothing kept),
/// selections for nobody. What is asked for comes first in every array.
struct StepInputs {
  Batch batch;
  Tensor history_slots;              ///< [decoder tokens]: where batch.decoder.ids are read from, at its positions
  int rows = 0;                      ///< of the encoder's wanted rows, how many are asked for
  int pooled = 0;                    ///< likewise
  bool rounded = false;              ///< a shape that will come again
  Tensor selection;                  ///< [selecting, ...] SelectionRow as bytes; undefined when no row selects
  Tensor bans;                       ///< [n] i32 or undefined
  Tensor targets;                    ///< [n] i32: prompt ids whose log-probabilities are wanted; undefined for none
  std::vector<Sequence*> selecting;  ///< logits rows [0, selecting) in order; the prompts' rows follow
  int top_tokens = 0;                ///< the most alternatives any selecting row wants
  int tokens = 0;                    ///< rows worked over both lanes
  int prompt_tokens = 0;             ///< of which read (not generated)
};

/// Builds StepInputs; keeps the host arrays, so that a steady step allocates nothing.
class StepBuilder {
 public:
  /// `rounds`: small steps are rounded up (StepInputs).
  StepBuilder(const ModelInfo& info, const EngineOptions& options, bool rounds);
  /// Every planned row is admitted (has slot and blocks). The result is valid until the next call or the arena's reset.
  /// The decoder's ids are not read yet.
  const StepInputs& build(const Plan& plan, const KvPool& pool, const History& history, Ops& ops, Arena& arena);

 private:
  void clear();
  void gather_encoder(const Plan& plan, const KvPool& pool);
  void gather_source(const Sequence& row, const KvPool& pool);
  void gather_decoder(const Plan& plan, const KvPool& pool);
  void gather_tables(const Plan& plan, const KvPool& pool);
  void gather_selection(const Plan& plan);
  void round_encoder();
  void round_decoder(int spare);
  size_t room() const;
  void place_encoder(const Plan& plan, DType compute_dtype);
  Tensor place_hidden(DType compute_dtype);
  void place_decoder(const Plan& plan);
  void place_selection();

  using Ints = std::vector<int32_t>;
  struct EncoderArrays {
    Ints ids, type_ids, positions, offsets, cross_slots, rows, pooled;
  };
  struct DecoderArrays {
    Ints history_slots, positions, offsets, slots, context_lengths, block_tables, cross_lengths, cross_tables, rows;
  };

  const ModelInfo& info_;
  const bool rounds_;
  StepInputs step_;
  EncoderArrays encoder_;
  DecoderArrays decoder_;
  std::vector<SelectionRow> selection_;
  std::vector<float> hidden_;            // [encoder tokens, hidden] of a model without embeddings
  std::vector<uint16_t> hidden_halves_;  // the same as float16 or bfloat16
  Ints bans_, targets_;
  Upload upload_;
};

}  // namespace inazuma
