#include "kernels/cuda/check.h"

#include "base/status.h"

namespace inazuma::cuda {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  const StatusCode code = status == cudaErrorMemoryAllocation ? StatusCode::out_of_memory : StatusCode::internal;
  throw fail(code, "{}: {} ({})", what, cudaGetErrorString(status), cudaGetErrorName(status));
}

void check_launch(const char* kernel) {
  check(cudaGetLastError(), kernel);
}

}  // namespace inazuma::cuda
