// What follows a dense product where the product's own epilogue cannot do it: activation, gate, bias of another type.

#include "kernels/cuda/device/activate.cuh"
#include "kernels/cuda/device/chain.cuh"
#include "kernels/cuda/device/element.cuh"

namespace inazuma::cuda {

namespace {

constexpr int kThreads = 256;

template <class Out, class Product, class BiasType>
__global__ void __launch_bounds__(kThreads) finish8(const Finish args) {
  after_predecessors();
  constexpr bool kShort = sizeof(Out) == 2;
  const int vectors_of_row = args.columns / 8;
  const int64_t count = int64_t{args.rows} * vectors_of_row, step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    const int64_t row = i / vectors_of_row;
    const int column = static_cast<int>(i % vectors_of_row) * 8;
    float y[8], more[8];
    load8(static_cast<const Product*>(args.product.data) + row * args.product.stride + column, y);
#pragma unroll
    for (int k = 0; k < 8; ++k) y[k] *= args.alpha;
    if (args.bias != nullptr) {
      load8(static_cast<const BiasType*>(args.bias) + column, more);
#pragma unroll
      for (int k = 0; k < 8; ++k) y[k] += more[k];
    }
#pragma unroll
    for (int k = 0; k < 8; ++k) y[k] = activate<kShort>(args.activation, y[k]);
    if (args.multiplier.data != nullptr) {
      load8(static_cast<const Out*>(args.multiplier.data) + row * args.multiplier.stride + column, more);
#pragma unroll
      for (int k = 0; k < 8; ++k) y[k] *= more[k];
    }
    if (args.residual.data != nullptr) {
      load8(static_cast<const Out*>(args.residual.data) + row * args.residual.stride + column, more);
#pragma unroll
      for (int k = 0; k < 8; ++k) y[k] += more[k];
    }
    store8(static_cast<Out*>(args.out.data) + row * args.out.stride + column, y);
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
  const int64_t count = int64_t{args.rows} * (args.columns / 8);
  const auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
  launch(finish8<Out, Product, BiasType>, blocks, kThreads, 0, stream, args);
}

}  // namespace

void finish(const Finish& args, cudaStream_t stream) {
  const bool wide = args.columns % 8 == 0 && vectors(args.out) && vectors(args.product) && vectors(args.multiplier) &&
                    vectors(args.residual) && vectors(args.bias, 0, args.bias_type);
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
