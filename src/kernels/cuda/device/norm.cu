// Layer and root-mean-square norms: one warp a row, the row in registers where it fits, deviations from the mean summed
// in a second pass over them. The order of a row's sums depends on its width and layout alone.

#include "kernels/cuda/device/chain.cuh"
#include "kernels/cuda/device/element.cuh"

namespace inazuma::cuda {

namespace {

constexpr int kWarps = 4;
constexpr int kMostChunks = 8;  // chunks of 32 lanes x 8 elements kept in registers: rows of up to 2048

template <class X, class Out, class Weight, int Chunks>
__global__ void __launch_bounds__(kWarps * 32) norm_rows(const Norm args) {
  after_predecessors();
  const int row = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (row >= args.rows) return;
  const auto* x = static_cast<const X*>(args.x.data) + row * args.x.stride;
  const auto* residual =
      args.residual.data == nullptr ? nullptr : static_cast<const X*>(args.residual.data) + row * args.residual.stride;
  float values[Chunks][8];
  float total = 0.0f;
#pragma unroll
  for (int c = 0; c < Chunks; ++c) {
    const int column = (c * 32 + lane) * 8;
    if (column < args.width) load8(x + column, values[c]);
  }
  if (residual != nullptr) {
#pragma unroll
    for (int c = 0; c < Chunks; ++c) {
      const int column = (c * 32 + lane) * 8;
      if (column >= args.width) continue;
      float more[8];
      load8(residual + column, more);
#pragma unroll
      for (int i = 0; i < 8; ++i) values[c][i] += more[i];
    }
  }
#pragma unroll
  for (int c = 0; c < Chunks; ++c) {
    if ((c * 32 + lane) * 8 >= args.width) continue;
#pragma unroll
    for (int i = 0; i < 8; ++i) total += values[c][i];
  }
  const auto n = static_cast<float>(args.width);
  const float mean = args.centred ? warp_sum(total) / n : 0.0f;
  float squares = 0.0f;
#pragma unroll
  for (int c = 0; c < Chunks; ++c) {
    if ((c * 32 + lane) * 8 >= args.width) continue;
#pragma unroll
    for (int i = 0; i < 8; ++i) squares += (values[c][i] - mean) * (values[c][i] - mean);
  }
  const float scale = 1.0f / sqrtf(warp_sum(squares) / n + args.epsilon);
  auto* sum = args.sum.data == nullptr ? nullptr : static_cast<X*>(args.sum.data) + row * args.sum.stride;
  auto* out = static_cast<Out*>(args.out.data) + row * args.out.stride;
#pragma unroll
  for (int c = 0; c < Chunks; ++c) {
    const int column = (c * 32 + lane) * 8;
    if (column >= args.width) continue;
    if (sum != nullptr) store8(sum + column, values[c]);
    float weight[8], bias[8] = {};
    load8(static_cast<const Weight*>(args.weight) + column, weight);
    if (args.bias != nullptr) load8(static_cast<const Weight*>(args.bias) + column, bias);
#pragma unroll
    for (int i = 0; i < 8; ++i) weight[i] = (values[c][i] - mean) * scale * weight[i] + bias[i];
    store8(out + column, weight);
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
void launch_rows(const Norm& args, unsigned blocks, cudaStream_t stream) {
  const int chunks = (args.width + 255) / 256;
  if (chunks <= 2) {
    launch(norm_rows<X, Out, Weight, 2>, blocks, kWarps * 32, 0, stream, args);
  } else if (chunks == 3) {
    launch(norm_rows<X, Out, Weight, 3>, blocks, kWarps * 32, 0, stream, args);
  } else if (chunks == 4) {
    launch(norm_rows<X, Out, Weight, 4>, blocks, kWarps * 32, 0, stream, args);
  } else {
    launch(norm_rows<X, Out, Weight, kMostChunks>, blocks, kWarps * 32, 0, stream, args);
  }
}

}  // namespace

void norm(const Norm& args, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>((args.rows + kWarps - 1) / kWarps);
  const bool wide = args.width % 8 == 0 && args.width <= kMostChunks * 256 && vectors(args.x) && vectors(args.out) &&
                    vectors(args.residual) && vectors(args.sum) && vectors(args.weight, 0, args.weight_type) &&
                    vectors(args.bias, 0, args.bias_type) &&
                    (args.bias == nullptr || args.bias_type == args.weight_type);
  const Type x = args.x.type, out = args.out.type, weight = args.weight_type;
  if (wide && x == Type::f32 && out == Type::f32 && weight == Type::f32) {
    launch_rows<float, float, float>(args, blocks, stream);
  } else if (wide && x == Type::f32 && out == Type::f16 && weight == Type::f16) {
    launch_rows<float, __half, __half>(args, blocks, stream);
  } else if (wide && x == Type::f16 && out == Type::f16 && weight == Type::f16) {
    launch_rows<__half, __half, __half>(args, blocks, stream);
  } else if (wide && x == Type::f32 && out == Type::bf16 && weight == Type::bf16) {
    launch_rows<float, __nv_bfloat16, __nv_bfloat16>(args, blocks, stream);
  } else if (wide && x == Type::bf16 && out == Type::bf16 && weight == Type::bf16) {
    launch_rows<__nv_bfloat16, __nv_bfloat16, __nv_bfloat16>(args, blocks, stream);
  } else {
    launch(norm_any, blocks, kWarps * 32, 0, stream, args);
  }
}

}  // namespace inazuma::cuda
