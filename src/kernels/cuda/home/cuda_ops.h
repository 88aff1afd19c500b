#pragma once
// The GPU home: one stream of one device. Instances on the same device share weights, not streams.

#include "kernels/cuda/home/memory.h"
#include "kernels/cuda/home/products.h"
#include "kernels/ops.h"

namespace inazuma {

/// A weight as [out, in] in the compute dtype, whatever the file had.
struct CudaMatrix : PackedMatrix {
  Buffer memory;
  DType dtype = DType::f32;
};

class CudaOps final : public Ops {
 public:
  explicit CudaOps(const CudaOptions& options);
  ~CudaOps() override;

  Stream stream() const override { return {Device::cuda(options_.index), stream_.handle}; }
  DType compute_dtype() const override { return options_.dtype; }
  std::string description() const override { return description_; }
  Buffer allocate(size_t bytes) override;
  void synchronize() override;
  Status health() const override;
  Buffer allocate_host(size_t bytes) override;
  uint64_t mark() override;
  void wait(uint64_t mark) override;
  bool passed(uint64_t mark) override;
  bool records() const override { return true; }
  std::unique_ptr<Recording> record(const std::function<void()>& work) override;
  void replay(const Recording& recording) override;

 private:
  Matrix do_pack(std::span<const Tensor> weights, WeightLayout layout) override;
  Parameter do_parameter(std::span<const Tensor> parts, DType dtype) override;
  void do_upload(const Tensor& destination, const void* source) override;
  void do_download(void* destination, const Tensor& source) override;
  void do_download_later(void* destination, const Tensor& source) override;
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

  /// Calls arrive on any one thread at a time, and CUDA's current device belongs to the thread.
  void enter() const;
  /// A host tensor (rank 2) into device memory, as `out`'s type; transposed: out [columns, rows].
  void place(const cuda::Matrix2& out, const Tensor& source, bool transposed);

  struct OwnedStream {
    OwnedStream();
    ~OwnedStream();
    OwnedStream(const OwnedStream&) = delete;
    OwnedStream& operator=(const OwnedStream&) = delete;
    cudaStream_t handle = nullptr;
  };

  CudaOptions options_;
  std::string description_;
  OwnedStream stream_;
  cuda::Marks marks_;
  cuda::Transfers transfers_;
  cuda::Scratch scratch_;
  cuda::Products products_;
  Buffer staging_;  // a weight as the file has it, while weights are loaded
};

}  // namespace inazuma
