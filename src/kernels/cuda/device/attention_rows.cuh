#pragma once
// Attention without tensor cores: f32, and 16-bit types whose head_dim or addresses do not suit 16-byte loads.
//
// A warp takes R query rows of one head and walks over atoms of 32 keys (multiples of 32 of the sequence): lane j
// scores key j, then every lane gathers its columns. R changes no bit: rows share loads, never arithmetic.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace inazuma::cuda {

constexpr int kRowWarps = 4;
constexpr int kRowsHeadDim = 256;  ///< largest head_dim

__device__ __forceinline__ float load_float(const float* from) {
  return *from;
}
__device__ __forceinline__ float load_float(const __half* from) {
  return __half2float(*from);
}
__device__ __forceinline__ float load_float(const __nv_bfloat16* from) {
  return __bfloat162float(*from);
}
__device__ __forceinline__ void store_float(float* to, float value) {
  *to = value;
}
__device__ __forceinline__ void store_float(__half* to, float value) {
  *to = __float2half_rn(value);
}
__device__ __forceinline__ void store_float(__nv_bfloat16* to, float value) {
  *to = __float2bfloat16_rn(value);
}

/// Where key j and value j of one sequence and head lie.
template <class T>
struct RowKeys {
  const T* keys;
  const T* values;
  int64_t key_stride, value_stride;  ///< from key to key
  const int32_t* table;              ///< null: keys lie one after another
  int64_t block_stride;
  int block_tokens;

  __device__ __forceinline__ int64_t place(int j, int64_t stride) const {
    if (table == nullptr) return j * stride;
    const int block = j / block_tokens;
    return __ldg(table + block) * block_stride + (j - block * block_tokens) * stride;
  }
  __device__ __forceinline__ const T* key(int j) const { return keys + place(j, key_stride); }
  __device__ __forceinline__ const T* value(int j) const { return values + place(j, value_stride); }
};

/// What one warp works on: `rows` <= R query rows, the first of which stands at `position`.
template <class T>
struct RowTask {
  const T* q;
  T* out;
  int64_t q_stride, out_stride;
  int rows, position, keys;  ///< keys of the sequence
  int head_dim;
  float scale;
  const float* bias;  ///< this head's row of the relative bias table, or null
  int reach;
  bool causal;
};

/// `query`: this warp's R · head_dim floats of shared memory.
template <class T, int R>
__device__ __forceinline__ void attend_rows(const RowTask<T>& task, const RowKeys<T>& keys, float* query) {
  constexpr int kColumns = kRowsHeadDim / 32;
  constexpr unsigned kAll = 0xFFFFFFFFu;
  const int lane = threadIdx.x % 32;
  for (int i = lane; i < R * task.head_dim; i += 32) {
    const int row = i / task.head_dim, column = i - row * task.head_dim;
    query[i] = row < task.rows ? load_float(task.q + row * task.q_stride + column) : 0.0f;
  }
  __syncwarp();

  float all[R][kColumns], largest[R], sum[R];
#pragma unroll
  for (int r = 0; r < R; ++r) {
    largest[r] = -INFINITY;
    sum[r] = 0.0f;
#pragma unroll
    for (int i = 0; i < kColumns; ++i) all[r][i] = 0.0f;
  }
  const int keys_end = task.causal ? min(task.keys, task.position + task.rows) : task.keys;
  for (int first = 0; first < keys_end; first += 32) {
    const int j = first + lane;
    float lanes[R][4] = {};
    if (j < keys_end) {
      const T* key = keys.key(j);
      int d = 0;
      for (; d + 4 <= task.head_dim; d += 4)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float k = load_float(key + d + i);
#pragma unroll
          for (int r = 0; r < R; ++r) lanes[r][i] = __fmaf_rn(query[r * task.head_dim + d + i], k, lanes[r][i]);
        }
      for (; d < task.head_dim; ++d) {
        const float k = load_float(key + d);
#pragma unroll
        for (int r = 0; r < R; ++r) lanes[r][0] = __fmaf_rn(query[r * task.head_dim + d], k, lanes[r][0]);
      }
    }
    float weight[R], next[R][kColumns];
    int seen[R];  // keys of this atom that the row sees
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const int position = task.position + r;
      seen[r] = min(32, (task.causal ? min(task.keys, position + 1) : task.keys) - first);
      float score = __fmul_rn((lanes[r][0] + lanes[r][1]) + (lanes[r][2] + lanes[r][3]), task.scale);
      if (task.bias != nullptr)
        score += __ldg(task.bias + min(max(j - position, -task.reach), task.reach) + task.reach);
      if (lane >= seen[r]) score = -INFINITY;
      float most = score;
#pragma unroll
      for (int step = 16; step > 0; step /= 2) most = fmaxf(most, __shfl_xor_sync(kAll, most, step));
      weight[r] = expf(score - (most == -INFINITY ? 0.0f : most));
      float part = weight[r];
#pragma unroll
      for (int step = 16; step > 0; step /= 2) part += __shfl_xor_sync(kAll, part, step);
      const float top = fmaxf(largest[r], most), shift = top == -INFINITY ? 0.0f : top;
      const float before = expf(largest[r] - shift), now = expf(most - shift);
      largest[r] = top;
      sum[r] = __fmaf_rn(sum[r], before, __fmul_rn(part, now));
      weight[r] = __fmul_rn(weight[r], now);
#pragma unroll
      for (int i = 0; i < kColumns; ++i) {
        all[r][i] = __fmul_rn(all[r][i], before);
        next[r][i] = 0.0f;
      }
    }
    const int count = min(32, keys_end - first);
    for (int k = 0; k < count; ++k) {
      const T* value = keys.value(first + k);
      float share[R];
#pragma unroll
      for (int r = 0; r < R; ++r) share[r] = __shfl_sync(kAll, weight[r], k);
#pragma unroll
      for (int i = 0; i < kColumns; ++i) {
        const int column = 32 * i + lane;
        if (32 * i >= task.head_dim) break;
        const float v = column < task.head_dim ? load_float(value + column) : 0.0f;
#pragma unroll
        for (int r = 0; r < R; ++r)
          if (k < seen[r]) next[r][i] = __fmaf_rn(share[r], v, next[r][i]);
      }
    }
#pragma unroll
    for (int r = 0; r < R; ++r)
#pragma unroll
      for (int i = 0; i < kColumns; ++i) all[r][i] += next[r][i];
  }
#pragma unroll
  for (int r = 0; r < R; ++r) {
    if (r >= task.rows) continue;
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      const int column = 32 * i + lane;
      if (column < task.head_dim)
        store_float(task.out + r * task.out_stride + column, task.keys == 0 ? 0.0f : __fdiv_rn(all[r][i], sum[r]));
    }
  }
}

}  // namespace inazuma::cuda
