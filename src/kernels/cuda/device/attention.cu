// Attention among the rows of each sequence of a step (encoders). A warp takes 16 query rows of one head and reads keys
// and values straight from the fused projection; the warps of a block share them through L1. A sequence of up to 64
// tokens is a single atom: no running maximum, no shared memory, no barrier.

#include "kernels/cuda/check.h"
#include "kernels/cuda/device/attention_rows.cuh"
#include "kernels/cuda/device/attention_tile.cuh"
#include "kernels/cuda/device/chain.cuh"
#include "kernels/cuda/launch.h"

namespace inazuma::cuda {

namespace {

constexpr int kMostWarps = 4;

/// Blocks are numbered heads first: neighbours read neighbouring columns of the same rows.
struct Place {
  int head, sequence, group;
};
__device__ __forceinline__ Place place_of(unsigned block, int heads, int sequences) {
  const unsigned rest = block / heads;
  return {static_cast<int>(block % heads), static_cast<int>(rest % sequences), static_cast<int>(rest / sequences)};
}

template <class T, class Plan, bool kShort, int Warps, int Blocks>
__global__ void __launch_bounds__(32 * Warps, Blocks) attention_tiles(const Attention args) {
  constexpr int DP = Plan::kWidth;
  const Place at = place_of(blockIdx.x, args.heads, args.sequences);
  const int begin = __ldg(args.offsets + at.sequence), length = __ldg(args.offsets + at.sequence + 1) - begin;
  after_predecessors();
  const int warps = blockDim.x / 32;
  const int position = (at.group * warps + threadIdx.x / 32) * kTileRows;
  if (position >= length) return;
  const int rows = min(kTileRows, length - position), column = at.head * args.head_dim;
  const int64_t row = begin + position;

  QueryTile<DP> query;
  load_query<T, DP>(query, static_cast<const T*>(args.q) + row * args.q_stride + column, args.q_stride, rows,
                    args.head_dim);
  ContiguousKeys<T> keys{static_cast<const T*>(args.k) + begin * args.k_stride + column,
                         static_cast<const T*>(args.v) + begin * args.v_stride + column,
                         static_cast<uint32_t>(args.k_stride), static_cast<uint32_t>(args.v_stride), 0};
  const ScoreRule rule{args.scale * kLog2e,
                       args.bias.table == nullptr
                           ? nullptr
                           : args.bias.table + static_cast<int64_t>(at.head) * (2 * args.bias.max_distance + 1),
                       args.bias.max_distance};
  const int keys_end = Plan::kCausal ? position + rows : length;
  Weighted<DP> all;
  attend_tile<T, Plan, kShort>(all, query, keys, keys_end, position, rows, args.head_dim, rule);
  store_rows<T, DP>(all, static_cast<T*>(args.out) + row * args.out_stride + column, args.out_stride, rows,
                    args.head_dim, keys_end);
}

template <class T, int R>
__global__ void __launch_bounds__(32 * kRowWarps) attention_rows(const Attention args) {
  extern __shared__ float shared[];
  const Place at = place_of(blockIdx.x, args.heads, args.sequences);
  const int begin = __ldg(args.offsets + at.sequence), length = __ldg(args.offsets + at.sequence + 1) - begin;
  after_predecessors();
  const int warp = threadIdx.x / 32, column = at.head * args.head_dim;
  const int position = (at.group * kRowWarps + warp) * R;
  if (position >= length) return;
  const int64_t row = begin + position;
  const RowKeys<T> keys{static_cast<const T*>(args.k) + begin * args.k_stride + column,
                        static_cast<const T*>(args.v) + begin * args.v_stride + column,
                        args.k_stride,
                        args.v_stride,
                        nullptr,
                        0,
                        1};
  const RowTask<T> task{static_cast<const T*>(args.q) + row * args.q_stride + column,
                        static_cast<T*>(args.out) + row * args.out_stride + column,
                        args.q_stride,
                        args.out_stride,
                        min(R, length - position),
                        position,
                        length,
                        args.head_dim,
                        args.scale,
                        args.bias.table == nullptr
                            ? nullptr
                            : args.bias.table + static_cast<int64_t>(at.head) * (2 * args.bias.max_distance + 1),
                        args.bias.max_distance,
                        args.causal};
  attend_rows<T, R>(task, keys, shared + warp * R * args.head_dim);
}

bool aligned16(const void* pointer, int64_t stride) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0 && stride % 8 == 0;
}

unsigned blocks_of(const Attention& args, int rows_per_block) {
  const int64_t groups = (args.max_length + rows_per_block - 1) / rows_per_block;
  const int64_t blocks = groups * args.sequences * args.heads;
  if (blocks > INT32_MAX) check(cudaErrorInvalidConfiguration, "attention: too many sequences in one step");
  return static_cast<unsigned>(blocks);
}

template <class T, class Plan, bool kShort>
void launch_tiles(const Attention& args, cudaStream_t stream) {
  const int tiles = (args.max_length + kTileRows - 1) / kTileRows;
  const int warps = tiles < kMostWarps ? tiles : kMostWarps;
  constexpr int kBlocks = Plan::kWidth <= 64 && !Plan::kCausal ? 3 : 2;
  launch(attention_tiles<T, Plan, kShort, kMostWarps, kBlocks>, blocks_of(args, warps * kTileRows), 32 * warps, 0,
         stream, args);
}

/// Texts of up to 16 Tiles tokens, a block each of as many warps. Where all find room at once only with fewer registers
/// each, they get fewer, and values are loaded after the scores; in many rounds a warp's own pace is what counts.
template <class T, int Tiles>
void launch_short(const Attention& args, cudaStream_t stream) {
  constexpr unsigned kRoomyWarps = 1584, kDenseWarps = 2376;  // of 168 and 96 registers a thread that an H200 holds
  const unsigned blocks = blocks_of(args, Tiles * kTileRows), warps = blocks * Tiles;
  if (warps <= kRoomyWarps || warps > 2 * kDenseWarps)
    launch(attention_tiles<T, Plan<64, true, false, false, true, Tiles>, true, kMostWarps, 3>, blocks, 32 * Tiles, 0,
           stream, args);
  else
    launch(attention_tiles<T, Plan<64, true, false, false, false, Tiles>, true, Tiles, 18 / Tiles>, blocks, 32 * Tiles,
           0, stream, args);
}

template <class T>
void launch_half(const Attention& args, cudaStream_t stream) {
  if (args.head_dim > 64)
    return args.causal ? launch_tiles<T, Plan<128, false, true, true, false, 4>, false>(args, stream)
                       : launch_tiles<T, Plan<128, false, false, true, false, 4>, false>(args, stream);
  if (args.causal) return launch_tiles<T, Plan<64, false, true, true, false, 4>, false>(args, stream);
  if (args.head_dim < 64) return launch_tiles<T, Plan<64, false, false, true, false, 4>, false>(args, stream);
  if (args.bias.table != nullptr)
    return args.max_length <= kAtomKeys ? launch_tiles<T, Plan<64, true, false, true, true, 4>, true>(args, stream)
                                        : launch_tiles<T, Plan<64, true, false, true, false, 4>, false>(args, stream);
  if (args.max_length <= 32) return launch_short<T, 2>(args, stream);
  if (args.max_length <= 48) return launch_short<T, 3>(args, stream);
  if (args.max_length <= 64) return launch_short<T, 4>(args, stream);
  launch_tiles<T, Plan<64, true, false, false, false, 4>, false>(args, stream);
}

template <class T>
void launch_rows(const Attention& args, cudaStream_t stream) {
  constexpr int kRows = 4;
  if (args.head_dim > kRowsHeadDim) check(cudaErrorInvalidValue, "attention: head_dim above 256");
  const size_t shared = sizeof(float) * kRowWarps * kRows * static_cast<size_t>(args.head_dim);
  launch(attention_rows<T, kRows>, blocks_of(args, kRowWarps * kRows), 32 * kRowWarps, shared, stream, args);
}

}  // namespace

void attention(const Attention& args, cudaStream_t stream) {
  if (args.sequences == 0 || args.max_length == 0) return;
  const bool tiles = args.type != Type::f32 && args.head_dim % 8 == 0 && args.head_dim <= 128 &&
                     aligned16(args.q, args.q_stride) && aligned16(args.k, args.k_stride) &&
                     aligned16(args.v, args.v_stride) && aligned16(args.out, args.out_stride) &&
                     args.max_length * args.k_stride <= UINT32_MAX && args.max_length * args.v_stride <= UINT32_MAX;
  if (args.type == Type::f16) return tiles ? launch_half<__half>(args, stream) : launch_rows<__half>(args, stream);
  if (args.type == Type::bf16)
    return tiles ? launch_half<__nv_bfloat16>(args, stream) : launch_rows<__nv_bfloat16>(args, stream);
  launch_rows<float>(args, stream);
}

}  // namespace inazuma::cuda
