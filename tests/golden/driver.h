#pragma once
// Builds Batch and KvView by hand, so that models are tested without an engine.

#include <cstdint>
#include <vector>

#include "models/model.h"

namespace inazuma::golden {

/// A text read whole in a step. Its keys and values go to `sequence` where the model has a decoder.
struct Encode {
  std::vector<int> ids;
  std::vector<int> types;
  int sequence = -1;
  std::vector<int> rows;  ///< wanted rows of the text
  bool pooled = true;
};

/// The next ids of a sequence: its prompt, a chunk of it, or one token.
struct Decode {
  enum class Want { all, last, none };
  int sequence = 0;
  std::vector<int> ids;
  Want want = Want::all;
};

struct StepOutput {
  std::vector<std::vector<float>> rows;    ///< per Encode, [wanted, row_width]
  std::vector<std::vector<float>> pooled;  ///< per Encode, [pooled_width]
  std::vector<std::vector<float>> logits;  ///< per Decode, [wanted, vocab]
  Output device;                           ///< valid until the next step
};

/// Sequences of one model over a pool of small, shuffled blocks that begins as NaN: reading a place that nothing was
/// stored to shows.
class Driver {
 public:
  Driver(Ops& ops, const Model& model);

  int open();  ///< a new sequence, with nothing kept yet
  StepOutput step(const std::vector<Encode>& encodes, const std::vector<Decode>& decodes);
  /// Host integers on the model's device; lives until the next step.
  Tensor ints(const std::vector<int>& values, const Shape& shape);
  Tensor device(DType dtype, const Shape& shape, const void* values);

 private:
  struct Context {
    int length = 0;
    int cross_length = 0;
    std::vector<int> blocks, cross_blocks;
  };

  int slot(std::vector<int>& blocks, int position);
  EncoderLane encoder_lane(const std::vector<Encode>& encodes);
  DecoderLane decoder_lane(const std::vector<Decode>& decodes);
  Tensor tables(const std::vector<Decode>& decodes, bool cross);

  Ops& ops_;
  const Model& model_;
  Arena arena_;
  std::vector<Buffer> pool_memory_, step_memory_;
  KvView kv_;
  std::vector<int> free_;
  std::vector<Context> contexts_;
};

}  // namespace inazuma::golden
