#pragma once
// Elements whose type is known at run time, and vectors of eight of one type.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/cuda/launch.h"

namespace inazuma::cuda {

__device__ __forceinline__ float to_f32(float value) {
  return value;
}
__device__ __forceinline__ float to_f32(__half value) {
  return __half2float(value);
}
__device__ __forceinline__ float to_f32(__nv_bfloat16 value) {
  return __bfloat162float(value);
}
template <class T>
__device__ __forceinline__ T from_f32(float value) {
  if constexpr (sizeof(T) == 4) {
    return value;
  } else if constexpr (__is_same(T, __half)) {
    return __float2half_rn(value);
  } else {
    return __float2bfloat16_rn(value);
  }
}

__device__ __forceinline__ float load_element(const void* from, int64_t i, Type type) {
  if (type == Type::f32) return static_cast<const float*>(from)[i];
  if (type == Type::f16) return to_f32(static_cast<const __half*>(from)[i]);
  return to_f32(static_cast<const __nv_bfloat16*>(from)[i]);
}
__device__ __forceinline__ void store_element(void* to, int64_t i, Type type, float value) {
  if (type == Type::f32) {
    static_cast<float*>(to)[i] = value;
  } else if (type == Type::f16) {
    static_cast<__half*>(to)[i] = __float2half_rn(value);
  } else {
    static_cast<__nv_bfloat16*>(to)[i] = __float2bfloat16_rn(value);
  }
}

/// Eight elements at `from`, which is aligned to 16 bytes.
template <class T>
__device__ __forceinline__ void load8(const T* from, float (&out)[8]) {
  if constexpr (sizeof(T) == 4) {
    const float4 low = *reinterpret_cast<const float4*>(from), high = *reinterpret_cast<const float4*>(from + 4);
    out[0] = low.x, out[1] = low.y, out[2] = low.z, out[3] = low.w;
    out[4] = high.x, out[5] = high.y, out[6] = high.z, out[7] = high.w;
  } else {
    const uint4 raw = *reinterpret_cast<const uint4*>(from);
    const T* elements = reinterpret_cast<const T*>(&raw);
#pragma unroll
    for (int i = 0; i < 8; ++i) out[i] = to_f32(elements[i]);
  }
}
template <class T>
__device__ __forceinline__ void store8(T* to, const float (&values)[8]) {
  if constexpr (sizeof(T) == 4) {
    *reinterpret_cast<float4*>(to) = make_float4(values[0], values[1], values[2], values[3]);
    *reinterpret_cast<float4*>(to + 4) = make_float4(values[4], values[5], values[6], values[7]);
  } else {
    uint4 raw;
    T* elements = reinterpret_cast<T*>(&raw);
#pragma unroll
    for (int i = 0; i < 8; ++i) elements[i] = from_f32<T>(values[i]);
    *reinterpret_cast<uint4*>(to) = raw;
  }
}

/// Whether rows of `columns` elements can be walked in vectors of eight. Null pointers are none of them.
inline bool vectors(const void* data, int64_t stride, Type type) {
  return data == nullptr ||
         (reinterpret_cast<uintptr_t>(data) % 16 == 0 && static_cast<size_t>(stride) * size_of(type) % 16 == 0);
}
inline bool vectors(const Matrix2& m) {
  return vectors(m.data, m.stride, m.type);
}

constexpr unsigned kAllLanes = 0xFFFFFFFFu;
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

}  // namespace inazuma::cuda
