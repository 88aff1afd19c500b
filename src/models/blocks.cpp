#include "models/blocks.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace inazuma {

int DistanceBuckets::of(int distance) const {
  const int count = bidirectional ? buckets / 2 : buckets;
  const int base = bidirectional && distance > 0 ? count : 0;
  const int near = count / 2;
  const int n = bidirectional ? std::abs(distance) : std::max(-distance, 0);
  if (n < near) return base + n;
  const float ratio = std::log(static_cast<float>(n) / static_cast<float>(near)) /
                      static_cast<float>(std::log(static_cast<double>(max_distance) / near));
  const int far = near + static_cast<int>(ratio * static_cast<float>(count - near));
  return base + std::min(count - 1, far);
}

void linear(Ops& ops, const Linear& weights, const Tensor& out, const Tensor& x, const Epilogue& epilogue) {
  ops.linear({.out = out,
              .x = x,
              .weight = weights.weight.get(),
              .bias = weights.bias.tensor,
              .activation = epilogue.activation,
              .multiplier = epilogue.multiplier,
              .residual = epilogue.residual,
              .alpha = epilogue.alpha});
}

void norm(Ops& ops, const Norm& weights, const Tensor& out, const Tensor& x) {
  ops.norm({.out = out,
            .x = x,
            .weight = weights.weight.tensor,
            .bias = weights.bias.tensor,
            .epsilon = weights.epsilon,
            .kind = weights.kind});
}

void feed_forward(Ops& ops, const FeedForward& weights, const Tensor& out, const Tensor& x, const Tensor& residual,
                  const Tensor& hidden, const Tensor& gate) {
  const bool gated = weights.gate.weight != nullptr;
  if (gated) linear(ops, weights.gate, gate, x);
  linear(ops, weights.up, hidden, x, {.activation = weights.activation, .multiplier = gated ? gate : Tensor()});
  linear(ops, weights.down, out, hidden, {.residual = residual});
}

void encoder_attention(Ops& ops, const Heads& heads, const Tensor& ctx, const Tensor& qkv, const EncoderLane& lane,
                       const RelativeBias& bias) {
  const int width = heads.width();
  ops.attention({.out = ctx,
                 .q = qkv.columns(0, width),
                 .k = qkv.columns(width, 2 * width),
                 .v = qkv.columns(2 * width, 3 * width),
                 .offsets = lane.offsets,
                 .heads = heads.count,
                 .head_dim = heads.dim,
                 .max_length = lane.max_length,
                 .scale = heads.scale,
                 .bias = bias});
}

void decoder_attention(Ops& ops, const Heads& heads, const Tensor& ctx, const Tensor& qkv, const DecoderLane& lane,
                       const KvView& kv, size_t layer, const RelativeBias& bias) {
  const int width = heads.width();
  ops.store_kv({.keys = kv.keys[layer],
                .values = kv.values[layer],
                .k = qkv.columns(width, 2 * width),
                .v = qkv.columns(2 * width, 3 * width),
                .slots = lane.slots});
  ops.paged_attention({.out = ctx,
                       .q = qkv.columns(0, width),
                       .keys = kv.keys[layer],
                       .values = kv.values[layer],
                       .offsets = lane.offsets,
                       .context_lengths = lane.context_lengths,
                       .block_tables = lane.block_tables,
                       .heads = heads.count,
                       .head_dim = heads.dim,
                       .max_query = lane.max_query,
                       .max_context = lane.max_context,
                       .scale = heads.scale,
                       .causal = true,
                       .bias = bias});
}

void store_cross(Ops& ops, const Heads& heads, const Tensor& kv_rows, const Tensor& slots, const KvView& kv,
                 size_t layer) {
  const int width = heads.width();
  ops.store_kv({.keys = kv.keys[layer],
                .values = kv.values[layer],
                .k = kv_rows.columns(0, width),
                .v = kv_rows.columns(width, 2 * width),
                .slots = slots});
}

void cross_attention(Ops& ops, const Heads& heads, const Tensor& ctx, const Tensor& q, const DecoderLane& lane,
                     const KvView& kv, size_t layer) {
  ops.paged_attention({.out = ctx,
                       .q = q,
                       .keys = kv.keys[layer],
                       .values = kv.values[layer],
                       .offsets = lane.offsets,
                       .context_lengths = lane.cross_context_lengths,
                       .block_tables = lane.cross_block_tables,
                       .heads = heads.count,
                       .head_dim = heads.dim,
                       .max_query = lane.max_query,
                       .max_context = lane.max_cross_context,
                       .scale = heads.scale,
                       .causal = false});
}

Tensor gather(Ops& ops, Arena& arena, const Tensor& x, const Tensor& rows, DType dtype) {
  const Tensor out = arena.tensor(dtype, {rows.rows(), x.cols()});
  ops.gather_rows(out, x, rows);
  return out;
}

}  // namespace inazuma
