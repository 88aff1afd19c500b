// Stands in for the GPU home in programs that are built without it.

#include "kernels/ops.h"

namespace inazuma {

Result<std::unique_ptr<Ops>> make_cuda_ops(const CudaOptions& options) {
  return find_cuda(options.index);
}

Status find_cuda(int) {
  return Status(StatusCode::unsupported,
                "this program was built without CUDA; run on the CPU, or build with the preset 'cuda'");
}

bool cuda_built_in() {
  return false;
}

}  // namespace inazuma
