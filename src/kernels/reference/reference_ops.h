#pragma once
// The oracle: plain loops, double accumulators, one thread. Written for reading, not for speed.

#include "kernels/host_ops.h"

namespace inazuma {

/// A weight as f32 [out, in].
struct ReferenceMatrix : PackedMatrix {
  Buffer memory;
  const float* row(int64_t o) const { return static_cast<const float*>(memory.data()) + o * in; }
};

class ReferenceOps : public HostOps {
 public:
  std::string description() const override { return "reference (plain loops, 1 thread)"; }

 private:
  Matrix do_pack(std::span<const Tensor> weights, WeightLayout layout) override;
  void do_embed(const Tensor& out, std::span<const EmbeddingTerm> terms) override;
  void do_linear(const LinearArgs& args) override;
  void do_norm(const NormArgs& args) override;
  void do_attention(const AttentionArgs& args) override;
  void do_paged_attention(const PagedAttentionArgs& args) override;
  void do_pool(const Tensor& out, const Tensor& x, const Tensor& offsets, const Tensor& which,
               Pooling pooling) override;
  void do_select_tokens(const SelectionArgs& args) override;
  void do_token_logprobs(const Tensor& out, const Tensor& logits, const Tensor& targets) override;
};

/// The activation of one value.
double activate(Activation activation, double x);

}  // namespace inazuma
