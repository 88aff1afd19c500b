// Dense products with 1 to 64 rows: as fast as the weights stream in.
//
// A block makes 16 columns of the answer for all rows; its warps share the inner axis: each reads its slice of
// the block's weight rows 16 bytes a lane, straight into registers, all loads of a batch in flight before the first
// use. The weights are the tensor cores' A operand, the rows of x their B operand (8 rows a product). Slices are added
// in order in shared memory.
//
// Neighbours: how the inner axis is cut depends on the matrix alone, columns of a product do not see each other, and
// sums run in one order: a row has the same bits with 1 to 64 rows. It has other bits than cuBLASLt gives it.

#include "kernels/cuda/check.h"
#include "kernels/cuda/device/activate.cuh"
#include "kernels/cuda/device/chain.cuh"
#include "kernels/cuda/device/element.cuh"
#include "kernels/cuda/device/mma.cuh"

namespace inazuma::cuda {

namespace {

constexpr int kColumns = 16;       ///< of a block
constexpr int kChunk = 32;         ///< inner elements that one 16-byte load a lane covers
constexpr int kLongInner = 2048;   ///< from here on, and with no more columns than ...
constexpr int kFewColumns = 2112;  ///< ... give every multiprocessor a block, 16 warps share the inner axis; else 8
constexpr int kRoundRows = 32;     ///< rows whose partial sums are in shared memory at a time

/// An element as the word that it is: it is loaded first of all, and making a number of it at once would wait for it.
__device__ __forceinline__ uint32_t raw_element(const void* from, int64_t i, Type type) {
  if (type == Type::f32) return static_cast<const uint32_t*>(from)[i];
  return static_cast<const uint16_t*>(from)[i];
}
__device__ __forceinline__ float number(uint32_t raw, Type type) {
  if (type == Type::f32) return __uint_as_float(raw);
  if (type == Type::bf16) return __uint_as_float(raw << 16);
  return __half2float(__ushort_as_half(static_cast<unsigned short>(raw)));
}

/// What an element of the answer is finished with.
struct Extra {
  uint32_t bias = 0, multiplier = 0, residual = 0;
};
__device__ __forceinline__ Extra extra_of(const SkinnyLinear& args, int row, int column) {
  Extra extra;
  if (row >= args.rows || column >= args.out_columns) return extra;
  if (args.bias != nullptr) extra.bias = raw_element(args.bias, column, args.bias_type);
  const auto at = [&](const Matrix2& m) { return raw_element(m.data, row * m.stride + column, m.type); };
  if (args.multiplier.data != nullptr) extra.multiplier = at(args.multiplier);
  if (args.residual.data != nullptr) extra.residual = at(args.residual);
  return extra;
}
__device__ __forceinline__ void finish_element(const SkinnyLinear& args, int row, int column, float sum,
                                               const Extra& extra) {
  if (row >= args.rows || column >= args.out_columns) return;
  float y = args.alpha * sum;
  if (args.bias != nullptr) y += number(extra.bias, args.bias_type);
  y = args.out.type == Type::f32 ? activate<false>(args.activation, y) : activate<true>(args.activation, y);
  if (args.multiplier.data != nullptr) y *= number(extra.multiplier, args.multiplier.type);
  if (args.residual.data != nullptr) y += number(extra.residual, args.residual.type);
  store_element(args.out.data, row * args.out.stride + column, args.out.type, y);
}

/// NT: groups of 8 rows; W: warps.
template <class T, int NT, int W>
__global__ void __launch_bounds__(32 * W, 16 / W) skinny_tiles(const SkinnyLinear args) {
  constexpr int kRoundTiles = NT < kRoundRows / 8 ? NT : kRoundRows / 8;
  constexpr int kPitch = kColumns + 4;  // the pitch keeps the lanes' stores in different banks
  // Chunks whose weights are in flight together, and chunks whose x is: all of them, or the next beside the present
  // one.
  constexpr int kBatch = NT == 1 ? 8 : NT == 8 && W == 16 ? 2 : 4;
  constexpr int kReady = NT <= 2 ? kBatch : 2;
  constexpr int kRounds = NT / kRoundTiles, kElements = 8 * kRoundTiles * kColumns;
  constexpr int kEach = (kElements + 32 * W - 1) / (32 * W);  // elements of a thread in a round
  extern __shared__ float partial[];                          // [W][8 kRoundTiles][kPitch]
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  const int first_column = static_cast<int>(blockIdx.x) * kColumns;
  const T* weight = static_cast<const T*>(args.weight);
  const T* x = static_cast<const T*>(args.x.data);
  float sums[NT][4] = {};
  const int chunks = (args.in + kChunk - 1) / kChunk;
  const int begin = chunks * warp / W, end = chunks * (warp + 1) / W;
  const auto load_x = [&](uint4(&to)[NT], int chunk) {
    const int k = kChunk * chunk + 8 * c;
#pragma unroll
    for (int t = 0; t < NT; ++t)
      to[t] = load16(x + (8 * t + g) * args.x.stride + k, chunk < end && k < args.in && 8 * t + g < args.rows);
  };
  uint4 a[kBatch][2];
  const auto load_weights = [&](int batch) {
#pragma unroll
    for (int u = 0; u < kBatch; ++u)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int k = kChunk * (batch + u) + 8 * c, column = first_column + g + 8 * half;
        a[u][half] = stream16(weight + static_cast<int64_t>(column) * args.in + k,
                              batch + u < end && k < args.in && column < args.out_columns);
      }
  };
  load_weights(begin);  // the kernel before may still be at work: weights do not wait for it
  after_predecessors();
  // What a thread's elements are finished with is loaded early: while weights come, or with many rows, when registers
  // are short, while the warps' sums are put together.
  Extra extra[kRounds][kEach];
  const auto load_extra = [&] {
#pragma unroll
    for (int round = 0; round < kRounds; ++round)
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        const int at = static_cast<int>(threadIdx.x) + 32 * W * i;
        if (at < kElements)
          extra[round][i] = extra_of(args, kRoundRows * round + at / kColumns, first_column + at % kColumns);
      }
  };
  if (NT <= 2) load_extra();
#pragma unroll 1
  for (int batch = begin; batch < end; batch += kBatch) {
    uint4 b[kReady][NT];
#pragma unroll
    for (int u = 0; u < (kReady == kBatch ? kBatch : 1); ++u) load_x(b[u], batch + u);
    uint32_t mixed = 0;
#pragma unroll
    for (int u = 0; u < kBatch; ++u) mixed ^= a[u][0].x ^ a[u][1].x;
    if (kReady == kBatch) {
#pragma unroll
      for (int u = 0; u < kReady; ++u)
#pragma unroll
        for (int t = 0; t < NT; ++t) mixed ^= b[u][t].x;
    }
    const uint32_t zero = zero_after(mixed, args.rows);
#pragma unroll
    for (int t = 0; t < NT; ++t) sums[t][0] = __uint_as_float(__float_as_uint(sums[t][0]) | zero);
#pragma unroll
    for (int u = 0; u < kBatch; ++u) {
      if (batch + u >= end) break;  // the same for the whole warp
      if (kReady < kBatch && u + 1 < kBatch) load_x(b[(u + 1) % kReady], batch + u + 1);
      const uint4(&now)[NT] = b[u % kReady];
#pragma unroll
      for (int step = 0; step < 2; ++step)
#pragma unroll
        for (int t = 0; t < NT; ++t)
          Packed<T>::multiply(sums[t], word(a[u][0], 2 * step), word(a[u][1], 2 * step), word(a[u][0], 2 * step + 1),
                              word(a[u][1], 2 * step + 1), word(now[t], 2 * step), word(now[t], 2 * step + 1));
    }
    if (batch + kBatch < end) load_weights(batch + kBatch);
  }

  if (NT > 2) load_extra();
#pragma unroll
  for (int round = 0; round < kRounds; ++round) {
    if (round > 0) __syncthreads();
    float* mine = partial + warp * 8 * kRoundTiles * kPitch;
#pragma unroll
    for (int t = 0; t < kRoundTiles; ++t)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        mine[(8 * t + 2 * c + (e & 1)) * kPitch + g + 8 * (e >> 1)] = sums[kRoundTiles * round + t][e];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int at = static_cast<int>(threadIdx.x) + 32 * W * i, row = at / kColumns, column = at % kColumns;
      if (at >= kElements) break;
      float sum = 0.0f;
#pragma unroll
      for (int w = 0; w < W; ++w) sum += partial[(w * 8 * kRoundTiles + row) * kPitch + column];
      finish_element(args, kRoundRows * round + row, first_column + column, sum, extra[round][i]);
    }
  }
}

template <class T, int NT, int W>
void launch_tiles(const SkinnyLinear& args, cudaStream_t stream) {
  constexpr int kTiles = NT < kRoundRows / 8 ? NT : kRoundRows / 8;
  constexpr size_t kShared = sizeof(float) * W * 8 * kTiles * (kColumns + 4);
  static_assert(kShared <= 48 * 1024, "more shared memory than every device gives without asking");
  const unsigned blocks = static_cast<unsigned>((args.out_columns + kColumns - 1) / kColumns);
  launch(skinny_tiles<T, NT, W>, blocks, 32 * W, kShared, stream, args);
}

template <class T, int NT>
void launch_rows(const SkinnyLinear& args, cudaStream_t stream) {
  if (args.in >= kLongInner && args.out_columns <= kFewColumns)
    launch_tiles<T, NT, 16>(args, stream);
  else
    launch_tiles<T, NT, 8>(args, stream);
}

template <class T>
void launch_half(const SkinnyLinear& args, cudaStream_t stream) {
  if (args.rows <= 8) return launch_rows<T, 1>(args, stream);
  if (args.rows <= 16) return launch_rows<T, 2>(args, stream);
  if (args.rows <= 32) return launch_rows<T, 4>(args, stream);
  launch_rows<T, 8>(args, stream);
}

// A warp per column, eight rows at a time, a lane every 32nd group of four inner elements: f32, and 16-bit types whose
// addresses do not suit 16-byte loads. Correct rather than fast.
constexpr int kPlainWarps = 4, kPlainRows = 8;

template <class T>
__global__ void __launch_bounds__(32 * kPlainWarps) skinny_plain(const SkinnyLinear args) {
  after_predecessors();
  const int lane = threadIdx.x % 32, column = static_cast<int>(blockIdx.x) * kPlainWarps + threadIdx.x / 32;
  const int first_row = static_cast<int>(blockIdx.y) * kPlainRows;
  if (column >= args.out_columns) return;
  const T* weight = static_cast<const T*>(args.weight) + static_cast<int64_t>(column) * args.in;
  const T* x = static_cast<const T*>(args.x.data) + first_row * args.x.stride;
  const int rows = min(kPlainRows, args.rows - first_row);
  float sums[kPlainRows] = {};
  for (int group = 4 * lane; group < args.in; group += 128)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int k = group + i;
      if (k >= args.in) break;
      const float w = to_f32(weight[k]);
#pragma unroll
      for (int r = 0; r < kPlainRows; ++r)
        if (r < rows) sums[r] = __fmaf_rn(to_f32(x[r * args.x.stride + k]), w, sums[r]);
    }
#pragma unroll
  for (int r = 0; r < kPlainRows; ++r) {
    const float sum = warp_sum(sums[r]);
    if (lane == r && r < rows) finish_element(args, first_row + r, column, sum, extra_of(args, first_row + r, column));
  }
}

template <class T>
void launch_plain(const SkinnyLinear& args, cudaStream_t stream) {
  const dim3 blocks(static_cast<unsigned>((args.out_columns + kPlainWarps - 1) / kPlainWarps),
                    static_cast<unsigned>((args.rows + kPlainRows - 1) / kPlainRows));
  launch(skinny_plain<T>, blocks, 32 * kPlainWarps, 0, stream, args);
}

bool suits_tiles(const SkinnyLinear& args) {
  return args.type != Type::f32 && args.rows <= kSkinnyRows && args.in % 8 == 0 && vectors(args.x) &&
         reinterpret_cast<uintptr_t>(args.weight) % 16 == 0;
}

}  // namespace

bool skinny_linear_wins(int rows, int, int in, Type type) {
  return type != Type::f32 && rows <= kSkinnyRows && in % 8 == 0;
}

size_t skinny_linear_scratch(const SkinnyLinear&) {
  return 0;
}

void skinny_linear(const SkinnyLinear& args, cudaStream_t stream) {
  if (args.rows == 0 || args.out_columns == 0) return;
  const bool tiles = suits_tiles(args);
  if (args.type == Type::f16)
    tiles ? launch_half<__half>(args, stream) : launch_plain<__half>(args, stream);
  else if (args.type == Type::bf16)
    tiles ? launch_half<__nv_bfloat16>(args, stream) : launch_plain<__nv_bfloat16>(args, stream);
  else
    launch_plain<float>(args, stream);
}

}  // namespace inazuma::cuda
