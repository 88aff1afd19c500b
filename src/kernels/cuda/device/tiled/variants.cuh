#pragma once
// One element type's kernels, by tile.

#include <atomic>

#include "kernels/cuda/device/tiled/tiled_linear.cuh"

namespace inazuma::cuda {

struct TiledLaunch {
  const SkinnyLinear& args;
  CUtensorMap x, weight;
  int variant;
  cudaStream_t stream;
};

template <class T, class Out, Ending E, class Tile>
void launch_tiled(const TiledLaunch& call) {
  const auto kernel = tiled_linear_kernel<T, Out, E, Tile>;
  int device = 0, processors = 0;
  check(cudaGetDevice(&device), "asking for the device");
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "asking for the device");
  static std::atomic<uint64_t> ready{0};  // devices on which the kernel may have so much shared memory
  const uint64_t mine = uint64_t{1} << (device % 64);
  if ((ready.load(std::memory_order_relaxed) & mine) == 0) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(Tile::kShared)),
          "preparing a product");
    ready.fetch_or(mine, std::memory_order_relaxed);
  }
  const int64_t rows = (call.args.rows + Tile::kRows * Tile::kRowwise - 1) / (Tile::kRows * Tile::kRowwise);
  const int64_t tiles = rows * ((call.args.out_columns + Tile::kColumns - 1) / Tile::kColumns);
  const int64_t together = (Tile::kSmall ? 2 : 1) * processors / Tile::kCluster;
  const int64_t clusters = Tile::kSplits > 1 ? tiles : std::min(tiles, together);
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim.x = Tile::kCluster;
  attributes[1].val.clusterDim.y = attributes[1].val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(clusters * Tile::kCluster));
  config.blockDim = dim3(Tile::kThreads);
  config.dynamicSmemBytes = Tile::kShared;
  config.stream = call.stream;
  config.attrs = attributes;
  config.numAttrs = Tile::kCluster == 1 ? 1 : 2;
  check(cudaLaunchKernelEx(&config, kernel, call.args, call.x, call.weight), "starting a product");
}

template <class T, class Tile>
void launch_ending(const TiledLaunch& call) {
  if constexpr (!Tile::kWide)
    if (call.args.out.type == Type::f32) return launch_tiled<T, float, Ending::plain, Tile>(call);
  if (call.args.activation == Activation::gelu) return launch_tiled<T, T, Ending::gelu, Tile>(call);
  if (call.args.activation == Activation::gelu_tanh) return launch_tiled<T, T, Ending::gelu_tanh, Tile>(call);
  launch_tiled<T, T, Ending::plain, Tile>(call);
}

/// In the order of tiled_linear's variants.
template <class T>
void launch_variant(const TiledLaunch& call) {
  switch (call.variant) {
    case 0: return launch_ending<T, Tile<2, 128, 2, true, 1, 1>>(call);
    case 1: return launch_ending<T, Tile<2, 256, 2, false, 2, 1>>(call);
    case 2: return launch_ending<T, Tile<2, 128, 2, false, 1, 2>>(call);
    case 3: return launch_ending<T, Tile<2, 128, 2, false, 1, 4>>(call);
    case 4: return launch_ending<T, Tile<1, 128, 1, false, 1, 1>>(call);
    case 5: return launch_ending<T, Tile<1, 128, 1, false, 1, 2>>(call);
    case 6: return launch_ending<T, Tile<1, 64, 1, false, 1, 1>>(call);
    case 7: return launch_ending<T, Tile<1, 64, 1, false, 1, 2>>(call);
    case 8: return launch_ending<T, Tile<1, 64, 1, false, 1, 4>>(call);
    case 9: return launch_ending<T, Tile<1, 64, 1, false, 1, 8>>(call);
    case 10: return launch_ending<T, Tile<2, 128, 2, false, 1, 1>>(call);
    default: return launch_ending<T, Tile<2, 256, 2, false, 1, 1>>(call);
  }
}

void tiled_linear_f16(const TiledLaunch& call);
void tiled_linear_bf16(const TiledLaunch& call);

}  // namespace inazuma::cuda
