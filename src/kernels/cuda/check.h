#pragma once
// CUDA's answers as errors. Cheap to include: device code does.

#include <cuda_runtime_api.h>

namespace inazuma::cuda {

/// Throws Error when `status` is a failure: out_of_memory for a device without memory left, else internal, saying what
/// was being done and what CUDA calls it.
void check(cudaError_t status, const char* what);
/// After a launch: the launch's own error, if any. Does not wait.
void check_launch(const char* kernel);

}  // namespace inazuma::cuda
