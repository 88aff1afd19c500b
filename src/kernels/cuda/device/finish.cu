// What follows a dense product where the product's own epilogue cannot do it: activation, gate, bias of another type.

#include "kernels/cuda/device/activate.cuh"
#include "kernels/cuda/device/chain.cuh"
#include "kernels/cuda/device/element.cuh"

namespace inazuma::cuda {

namespace {

constexpr int kThreads = 128;

constexpr int kRows = 4;  // of one thread, whose loads are under way together

/// A thread has eight columns of kRows rows. `Which` is the activation where it is known at compile time.
template <class Out, class Product, class BiasType, Activation Which, bool Known>
__global__ void __launch_bounds__(kThreads) finish8(const Finish args) {
  constexpr bool kShort = sizeof(Out) == 2;
  const int column = static_cast<int>(blockIdx.x * kThreads + threadIdx.x) * 8;
  const int64_t first = int64_t{blockIdx.y} * kRows;
  const bool inside = column < args.columns;
  float bias[8] = {};
  if (inside && args.bias != nullptr) load8(static_cast<const BiasType*>(args.bias) + column, bias);
  after_predecessors();
  if (!inside) return;
  float y[kRows][8];
#pragma unroll
  for (int r = 0; r < kRows; ++r)
    if (first + r < args.rows)
      load8(static_cast<const Product*>(args.product.data) + (first + r) * args.product.stride + column, y[r]);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int64_t row = first + r;
    if (row >= args.rows) break;
#pragma unroll
    for (int k = 0; k < 8; ++k)
      y[r][k] = activate<kShort>(Known ? Which : args.activation, args.alpha * y[r][k] + bias[k]);
    float more[8];
    if (args.multiplier.data != nullptr) {
      load8(static_cast<const Out*>(args.multiplier.data) + row * args.multiplier.stride + column, more);
#pragma unroll
      for (int k = 0; k < 8; ++k) y[r][k] *= more[k];
    }
    if (args.residual.data != nullptr) {
      load8(static_cast<const Out*>(args.residual.data) + row * args.residual.stride + column, more);
#pragma unroll
      for (int k = 0; k < 8; ++k) y[r][k] += more[k];
    }
    store8(static_cast<Out*>(args.out.data) + row * args.out.stride + column, y[r]);
  }
}

__global__ void __launch_bounds__(kThreads) finish_any(const Finish args) {
  after_predecessors();
  const int64_t count = int64_t{args.rows} * args.columns, step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    const int64_t row = i / args.columns, column = i % args.columns;
    const auto at = [&](const Matrix2& m) { return load_element(m.data, row * m.stride + column, m.type); };
    float y = args.alpha * at(args.product);
    if (args.bias != nullptr) y += load_element(args.bias, column, args.bias_type);
    y = activate<false>(args.activation, y);
    if (args.multiplier.data != nullptr) y *= at(args.multiplier);
    if (args.residual.data != nullptr) y += at(args.residual);
    store_element(args.out.data, row * args.out.stride + column, args.out.type, y);
  }
}

template <class Out, class Product, class BiasType>
void launch8(const Finish& args, cudaStream_t stream) {
  const auto columns = static_cast<unsigned>((args.columns / 8 + kThreads - 1) / kThreads);
  const dim3 grid(columns, static_cast<unsigned>((args.rows + kRows - 1) / kRows));
  if (args.activation == Activation::none) {
    launch(finish8<Out, Product, BiasType, Activation::none, true>, grid, kThreads, 0, stream, args);
  } else if (args.activation == Activation::gelu) {
    launch(finish8<Out, Product, BiasType, Activation::gelu, true>, grid, kThreads, 0, stream, args);
  } else if (args.activation == Activation::gelu_tanh) {
    launch(finish8<Out, Product, BiasType, Activation::gelu_tanh, true>, grid, kThreads, 0, stream, args);
  } else {
    launch(finish8<Out, Product, BiasType, Activation::none, false>, grid, kThreads, 0, stream, args);
  }
}

}  // namespace

void finish(const Finish& args, cudaStream_t stream) {
  const bool wide = args.columns % 8 == 0 && vectors(args.out) && vectors(args.product) && vectors(args.multiplier) &&
                    vectors(args.residual) && vectors(args.bias, 0, args.bias_type) && args.rows <= kRows * 65535;
  const Type out = args.out.type, product = args.product.type, bias = args.bias == nullptr ? product : args.bias_type;
  if (wide && out == Type::f32 && product == Type::f32 && bias == Type::f32) {
    launch8<float, float, float>(args, stream);
  } else if (wide && out == Type::f16 && product == Type::f16 && bias == Type::f16) {
    launch8<__half, __half, __half>(args, stream);
  } else if (wide && out == Type::bf16 && product == Type::bf16 && bias == Type::bf16) {
    launch8<__nv_bfloat16, __nv_bfloat16, __nv_bfloat16>(args, stream);
  } else if (wide && out == Type::f32 && product == Type::f32 && bias == Type::f16) {
    launch8<float, float, __half>(args, stream);
  } else if (wide && out == Type::f32 && product == Type::f32 && bias == Type::bf16) {
    launch8<float, float, __nv_bfloat16>(args, stream);
  } else {
    const int64_t count = int64_t{args.rows} * args.columns;
    const auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
    launch(finish_any, blocks, kThreads, 0, stream, args);
  }
}

}  // namespace inazuma::cuda
