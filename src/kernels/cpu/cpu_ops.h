#pragma once
// The CPU home: splits each operation over threads and calls the kernels of the chosen instruction set.

#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/kernels.h"
#include "kernels/host_ops.h"

namespace inazuma {

/// A weight as f32 panels for one instruction set (kernels.h: LinearJob).
struct CpuMatrix : PackedMatrix {
  Buffer memory;
  const Kernels* kernels = nullptr;
  bool moderate = true;  ///< all weights are below kModerate
};

/// Memory of one thread that only grows: a step like one seen before allocates nothing.
class ThreadScratch {
 public:
  /// At least `floats`, 64-byte aligned; the previous content is lost when it grows.
  float* floats(size_t floats);

 private:
  Buffer memory_;
};

class CpuOps : public HostOps {
 public:
  CpuOps(const Kernels& kernels, int threads);
  std::string description() const override;

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

  /// Calls work(begin, end, thread) for ranges that cover [0, count); on the caller alone when there is too little work
  /// (`work_per_item`: about one multiply-add each) to share.
  template <class Work>
  void split(int64_t count, int64_t work_per_item, Work&& work);

  /// Runs job_of(sequence, head, first row of the sequence) for every head and block of rows.
  template <class Job>
  void attend(const Tensor& offsets, int heads, int head_dim, int64_t keys, Job job_of);

  const Kernels& kernels_;
  ThreadPool pool_;
  std::vector<ThreadScratch> scratch_;         ///< by thread
  std::vector<LinearScratch> linear_scratch_;  ///< by thread, pointing into scratch_
  std::vector<int64_t> first_tasks_;           ///< by sequence, of the attention being worked on
};

}  // namespace inazuma
