#pragma once
// The building blocks that architectures are written with: weights of a block as a plain struct, its work as a free
// function over Ops. No model names in here. Shapes: T rows of a lane, H width of the model, W = heads · dim.
//
// Blocks write into views their caller took from the arena once, before the layer loop: a bump arena frees nothing
// until the step ends, and buffers that every layer reuses stay in the cache.

#include <vector>

#include "kernels/ops.h"
#include "models/batch.h"
#include "tensor/arena.h"

namespace inazuma {

struct Linear {
  Matrix weight;
  Parameter bias;  ///< undefined for none
};

struct Norm {
  Parameter weight, bias;
  float epsilon = 1e-5f;
  NormKind kind = NormKind::layer;
};

/// down(act(up(x))), or down(act(up(x)) · gate(x)) where there is a gate.
struct FeedForward {
  Linear up, gate, down;
  Activation activation = Activation::none;
};

struct Heads {
  int count = 0;
  int dim = 0;
  float scale = 1.0f;
  int width() const { return count * dim; }
};

/// Which learned bias a distance has (T5): exact while near, logarithmic up to max_distance, one bucket beyond.
struct DistanceBuckets {
  int buckets = 32;
  int max_distance = 128;
  bool bidirectional = false;
  /// In [0, buckets); `distance` = key position - query position. Follows T5Attention._relative_position_bucket, in the
  /// same single precision.
  int of(int distance) const;
};

/// act(alpha · x Wᵀ + bias) · multiplier + residual
struct Epilogue {
  Activation activation = Activation::none;
  Tensor multiplier;
  Tensor residual;
  float alpha = 1.0f;
};
void linear(Ops& ops, const Linear& weights, const Tensor& out, const Tensor& x, const Epilogue& epilogue = {});
void norm(Ops& ops, const Norm& weights, const Tensor& out, const Tensor& x);
/// out = block(x) + residual. hidden and gate [T, inner]; gate only where the block has one.
void feed_forward(Ops& ops, const FeedForward& weights, const Tensor& out, const Tensor& x, const Tensor& residual,
                  const Tensor& hidden, const Tensor& gate = {});

/// ctx [T, W] from qkv [T, 3W], every row seeing its whole sequence.
void encoder_attention(Ops& ops, const Heads& heads, const Tensor& ctx, const Tensor& qkv, const EncoderLane& lane,
                       const RelativeBias& bias = {});
/// Keeps this step's keys and values of qkv [T, 3W] in the pool, then ctx [T, W] over all that are kept.
void decoder_attention(Ops& ops, const Heads& heads, const Tensor& ctx, const Tensor& qkv, const DecoderLane& lane,
                       const KvView& kv, size_t layer, const RelativeBias& bias = {});
/// Keeps a source's keys and values, kv_rows [T, 2W], where cross_attention of `layer` finds them.
void store_cross(Ops& ops, const Heads& heads, const Tensor& kv_rows, const Tensor& slots, const KvView& kv,
                 size_t layer);
/// ctx [T, W] of q [T, W] over the sources of the decoding sequences.
void cross_attention(Ops& ops, const Heads& heads, const Tensor& ctx, const Tensor& q, const DecoderLane& lane,
                     const KvView& kv, size_t layer);

/// The wanted rows of x, packed, as `dtype`.
Tensor gather(Ops& ops, Arena& arena, const Tensor& x, const Tensor& rows, DType dtype);

/// Pre-norm networks add every block's output to one running sum. It is kept in f32 whatever the compute dtype: in half
/// precision large T5 models overflow there, and all lose digits layer by layer.
constexpr DType kResidualType = DType::f32;

}  // namespace inazuma
