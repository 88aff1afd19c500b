// Layer and root-mean-square norms: the row in registers where it fits, deviations from the mean summed in a second
// pass over them. The order of a row's sums depends on its width and layout alone.

#include "kernels/cuda/device/chain.cuh"
#include "kernels/cuda/device/element.cuh"

namespace inazuma::cuda {

namespace {

constexpr int kWarps = 4;
constexpr int kManyRows = 2048;
constexpr int kMostWidth = 4096;  // of rows kept in registers

/// Sum over the block's `warps` warps, the same in all threads. `shared` holds one float a warp.
__device__ __forceinline__ float block_sum(float value, int warps, float* shared) {
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  float total = shared[0];
  for (int warp = 1; warp < warps; ++warp) total += shared[warp];
  return total;
}

/// A block a row, eight elements a thread.
template <class X, class Out, class Weight>
__global__ void __launch_bounds__(kMostWidth / 8) norm_rows(const Norm args) {
  __shared__ float totals[kMostWidth / 8 / 32], squared[kMostWidth / 8 / 32];
  const int64_t row = blockIdx.x;
  const int column = static_cast<int>(threadIdx.x) * 8, warps = static_cast<int>(blockDim.x) / 32;
  const bool inside = column < args.width;
  float weight[8] = {}, bias[8] = {}, values[8] = {};
  if (inside) {
    load8(static_cast<const Weight*>(args.weight) + column, weight);
    if (args.bias != nullptr) load8(static_cast<const Weight*>(args.bias) + column, bias);
  }
  after_predecessors();
  if (inside) {
    load8(static_cast<const X*>(args.x.data) + row * args.x.stride + column, values);
    if (args.residual.data != nullptr) {
      float more[8];
      load8(static_cast<const X*>(args.residual.data) + row * args.residual.stride + column, more);
#pragma unroll
      for (int i = 0; i < 8; ++i) values[i] += more[i];
    }
    if (args.sum.data != nullptr) store8(static_cast<X*>(args.sum.data) + row * args.sum.stride + column, values);
  }
  const auto n = static_cast<float>(args.width);
  float mean = 0.0f;
  if (args.centred) {
    float total = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; ++i) total += values[i];
    mean = block_sum(total, warps, totals) / n;
  }
  float squares = 0.0f;
  if (inside) {
#pragma unroll
    for (int i = 0; i < 8; ++i) squares += (values[i] - mean) * (values[i] - mean);
  }
  const float scale = 1.0f / sqrtf(block_sum(squares, warps, squared) / n + args.epsilon);
  if (!inside) return;
#pragma unroll
  for (int i = 0; i < 8; ++i) weight[i] = (values[i] - mean) * scale * weight[i] + bias[i];
  store8(static_cast<Out*>(args.out.data) + row * args.out.stride + column, weight);
}

/// A warp a row, for so many rows that the device is full: the same sums in the same order as a block makes them.
template <class X, class Out, class Weight, int Chunks>
__global__ void __launch_bounds__(kWarps * 32) norm_many(const Norm args) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  constexpr bool kEarly = sizeof(Weight) == 2;  // in few registers while the kernel in front ends
  uint4 weights[Chunks] = {}, biases[Chunks] = {};
  if constexpr (kEarly) {
#pragma unroll
    for (int c = 0; c < Chunks; ++c) {
      const int column = (c * 32 + lane) * 8;
      if (column >= args.width) continue;
      weights[c] = *reinterpret_cast<const uint4*>(static_cast<const Weight*>(args.weight) + column);
      if (args.bias != nullptr)
        biases[c] = *reinterpret_cast<const uint4*>(static_cast<const Weight*>(args.bias) + column);
    }
  }
  after_predecessors();
  if (row >= args.rows) return;
  float values[Chunks][8] = {};
#pragma unroll
  for (int c = 0; c < Chunks; ++c) {
    const int column = (c * 32 + lane) * 8;
    if (column < args.width) load8(static_cast<const X*>(args.x.data) + row * args.x.stride + column, values[c]);
  }
#pragma unroll
  for (int c = 0; c < Chunks; ++c) {
    const int column = (c * 32 + lane) * 8;
    if (column >= args.width) continue;
    if (args.residual.data != nullptr) {
      float more[8];
      load8(static_cast<const X*>(args.residual.data) + row * args.residual.stride + column, more);
#pragma unroll
      for (int i = 0; i < 8; ++i) values[c][i] += more[i];
    }
    if (args.sum.data != nullptr) store8(static_cast<X*>(args.sum.data) + row * args.sum.stride + column, values[c]);
  }
  const auto n = static_cast<float>(args.width);
  float mean = 0.0f;
  if (args.centred) {
    float total = 0.0f;
#pragma unroll
    for (int c = 0; c < Chunks; ++c) {
      float part = 0.0f;
#pragma unroll
      for (int i = 0; i < 8; ++i) part += values[c][i];
      part = warp_sum(part);
      total = c == 0 ? part : total + part;
    }
    mean = total / n;
  }
  float total = 0.0f;
#pragma unroll
  for (int c = 0; c < Chunks; ++c) {
    float part = 0.0f;
    if ((c * 32 + lane) * 8 < args.width) {
#pragma unroll
      for (int i = 0; i < 8; ++i) part += (values[c][i] - mean) * (values[c][i] - mean);
    }
    part = warp_sum(part);
    total = c == 0 ? part : total + part;
  }
  const float scale = 1.0f / sqrtf(total / n + args.epsilon);
#pragma unroll
  for (int c = 0; c < Chunks; ++c) {
    const int column = (c * 32 + lane) * 8;
    if (column >= args.width) continue;
    float weight[8], bias[8] = {};
    if constexpr (kEarly) {
      load8(reinterpret_cast<const Weight*>(&weights[c]), weight);
      load8(reinterpret_cast<const Weight*>(&biases[c]), bias);
    } else {
      load8(static_cast<const Weight*>(args.weight) + column, weight);
      if (args.bias != nullptr) load8(static_cast<const Weight*>(args.bias) + column, bias);
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) weight[i] = (values[c][i] - mean) * scale * weight[i] + bias[i];
    store8(static_cast<Out*>(args.out.data) + row * args.out.stride + column, weight);
  }
}

/// Any width, types and alignment. Reads the row three times; an element is read before the same lane overwrites it.
__global__ void __launch_bounds__(kWarps * 32) norm_any(const Norm args) {
  after_predecessors();
  const int row = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (row >= args.rows) return;
  const auto value = [&](int column) {
    float v = load_element(args.x.data, row * args.x.stride + column, args.x.type);
    if (args.residual.data != nullptr)
      v += load_element(args.residual.data, row * args.residual.stride + column, args.residual.type);
    return v;
  };
  const auto n = static_cast<float>(args.width);
  float mean = 0.0f;
  if (args.centred) {
    float total = 0.0f;
    for (int column = lane; column < args.width; column += 32) total += value(column);
    mean = warp_sum(total) / n;
  }
  float squares = 0.0f;
  for (int column = lane; column < args.width; column += 32) {
    const float distance = value(column) - mean;
    squares += distance * distance;
  }
  const float scale = 1.0f / sqrtf(warp_sum(squares) / n + args.epsilon);
  for (int column = lane; column < args.width; column += 32) {
    const float v = value(column);
    float y = (v - mean) * scale * load_element(args.weight, column, args.weight_type);
    if (args.bias != nullptr) y += load_element(args.bias, column, args.bias_type);
    if (args.sum.data != nullptr) store_element(args.sum.data, row * args.sum.stride + column, args.sum.type, v);
    store_element(args.out.data, row * args.out.stride + column, args.out.type, y);
  }
}

template <class X, class Out, class Weight>
void launch_rows(const Norm& args, cudaStream_t stream) {
  const auto threads = static_cast<unsigned>((args.width / 8 + 31) / 32 * 32);
  const auto many = static_cast<unsigned>((args.rows + kWarps - 1) / kWarps);
  if (args.rows >= kManyRows && threads == 96)
    return launch(norm_many<X, Out, Weight, 3>, many, kWarps * 32, 0, stream, args);
  if (args.rows >= kManyRows && threads == 128)
    return launch(norm_many<X, Out, Weight, 4>, many, kWarps * 32, 0, stream, args);
  launch(norm_rows<X, Out, Weight>, static_cast<unsigned>(args.rows), threads, 0, stream, args);
}

}  // namespace

void norm(const Norm& args, cudaStream_t stream) {
  const bool wide = args.width % 8 == 0 && args.width <= kMostWidth && vectors(args.x) && vectors(args.out) &&
                    vectors(args.residual) && vectors(args.sum) && vectors(args.weight, 0, args.weight_type) &&
                    vectors(args.bias, 0, args.bias_type) &&
                    (args.bias == nullptr || args.bias_type == args.weight_type);
  const Type x = args.x.type, out = args.out.type, weight = args.weight_type;
  if (wide && x == Type::f32 && out == Type::f32 && weight == Type::f32) {
    launch_rows<float, float, float>(args, stream);
  } else if (wide && x == Type::f32 && out == Type::f16 && weight == Type::f16) {
    launch_rows<float, __half, __half>(args, stream);
  } else if (wide && x == Type::f16 && out == Type::f16 && weight == Type::f16) {
    launch_rows<__half, __half, __half>(args, stream);
  } else if (wide && x == Type::f32 && out == Type::bf16 && weight == Type::bf16) {
    launch_rows<float, __nv_bfloat16, __nv_bfloat16>(args, stream);
  } else if (wide && x == Type::bf16 && out == Type::bf16 && weight == Type::bf16) {
    launch_rows<__nv_bfloat16, __nv_bfloat16, __nv_bfloat16>(args, stream);
  } else {
    const auto blocks = static_cast<unsigned>((args.rows + kWarps - 1) / kWarps);
    launch(norm_any, blocks, kWarps * 32, 0, stream, args);
  }
}

}  // namespace inazuma::cuda
