#pragma once
// Sums, maxima and scans over a block of 1024 threads, always in the same order: the same bits every time.

#include <cstdint>

namespace inazuma::cuda {

constexpr int kBlockThreads = 1024;
constexpr int kBlockWarps = kBlockThreads / 32;

struct BlockScratch {
  uint64_t words[kBlockWarps];
};

/// Every thread gets `combine` over all threads' values. All threads must call.
template <class V, class Combine>
__device__ __forceinline__ V block_reduce(BlockScratch& scratch, V value, Combine combine) {
  static_assert(sizeof(V) <= sizeof(uint64_t));
  V* words = reinterpret_cast<V*>(scratch.words);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(0xFFFFFFFFu, value, step));
  __syncthreads();  // the scratch of the call before has been read
  if (threadIdx.x % 32 == 0) words[threadIdx.x / 32] = value;
  __syncthreads();
  value = words[threadIdx.x % 32];
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(0xFFFFFFFFu, value, step));
  return value;
}
template <class V>
__device__ __forceinline__ V block_sum(BlockScratch& scratch, V value) {
  return block_reduce(scratch, value, [](V a, V b) { return a + b; });
}
template <class V>
__device__ __forceinline__ V block_max(BlockScratch& scratch, V value) {
  return block_reduce(scratch, value, [](V a, V b) { return a > b ? a : b; });
}
template <class V>
__device__ __forceinline__ V block_min(BlockScratch& scratch, V value) {
  return block_reduce(scratch, value, [](V a, V b) { return a < b ? a : b; });
}

/// The sum of the values of this thread and of those before it.
template <class V>
__device__ __forceinline__ V block_scan(BlockScratch& scratch, V value) {
  V* words = reinterpret_cast<V*>(scratch.words);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const V before = __shfl_up_sync(0xFFFFFFFFu, value, step);
    if (lane >= step) value += before;
  }
  __syncthreads();
  if (lane == 31) words[warp] = value;
  __syncthreads();
  V sums = words[lane];
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const V before = __shfl_up_sync(0xFFFFFFFFu, sums, step);
    if (lane >= step) sums += before;
  }
  const V before = __shfl_sync(0xFFFFFFFFu, sums, warp == 0 ? 0 : warp - 1);
  return warp == 0 ? value : before + value;
}

}  // namespace inazuma::cuda
