#pragma once
// Kernels of one stream that start while their predecessor ends (programmatic dependent launch, compute capability 9.0
// on; CUDA C++ Programming Guide, "Programmatic Dependent Launch and Synchronization"; kept by recorded graphs).
//
// A kernel launched with `launch` may begin before the work before it is done. What it reads and writes before
// `after_predecessors` must be touched by no other kernel: weights, and the integers that say how a step's rows lie
// (offsets, lengths, slots, block tables: launch.h), which are copied to the device before a step's first kernel
// starts. Every thread of every block calls it, so that the end of a kernel means the end of all before it.

#include <cuda_runtime.h>

#include <utility>

#include "kernels/cuda/check.h"

namespace inazuma::cuda {

__device__ __forceinline__ void after_predecessors() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;\n griddepcontrol.wait;" ::: "memory");
#endif
}

/// Whether the current device knows how.
inline bool chains() {
  int device = 0, major = 0;
  check(cudaGetDevice(&device), "asking for the device");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "asking for the device");
  return major >= 9;
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
            Arguments&&... arguments) {
  cudaLaunchAttribute chained{};
  chained.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  chained.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = &chained;
  config.numAttrs = chains() ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...), "starting a kernel");
}

}  // namespace inazuma::cuda
