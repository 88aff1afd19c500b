#pragma once
// What the homes in host memory have in common: memory, copies and conversions. Activations are f32.

#include "kernels/ops.h"

namespace inazuma {

/// `count` elements of `source` (f32, f16, bf16 or f64; any alignment) as f32.
void to_f32(float* out, const void* source, DType dtype, int64_t count);

class HostOps : public Ops {
 public:
  Stream stream() const override { return {}; }
  DType compute_dtype() const override { return DType::f32; }
  Buffer allocate(size_t bytes) override { return Buffer::host(bytes); }
  void synchronize() override {}

 protected:
  Parameter do_parameter(std::span<const Tensor> parts, DType dtype) final;
  void do_upload(const Tensor& destination, const void* source) final;
  void do_download(void* destination, const Tensor& source) final;
  void do_store_kv(const StoreKvArgs& args) final;
  void do_gather_rows(const Tensor& out, const Tensor& x, const Tensor& rows) final;
  void do_copy_rows(const Tensor& x, const Tensor& from, const Tensor& to) final;
  void do_read_history(const Tensor& ids, const Tensor& history, const Tensor& slots, const Tensor& positions) final;
};

}  // namespace inazuma
