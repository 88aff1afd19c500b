#pragma once
// Dense products on Hopper, 16-bit operands. A warp feeds a ring of stages in shared memory through the copy engine,
// warpgroups multiply. Three ways to cut the work:
// - Many tiles: one block a multiprocessor takes tiles of the answer in turn. Two warpgroups multiply in turn, one tile
//   each, so that one finishes its tile (bias, activation, gate, residual) while the other keeps the tensor cores busy.
//   Blocks of a cluster of two may work on tiles of the same weights, which are then fetched once for both.
// - Fewer tiles: smaller blocks with one multiplying warpgroup, so that the next kernel's find room beside them and
// have
//   their weights on the way when this one ends (chain.cuh).
// - Very few: the blocks of a cluster share a tile's inner axis, and each adds up its part of the columns from what all
//   of them send to its shared memory.
//
// Neighbours: an element's sum runs over the inner axis in one order, whatever the tile, unless the axis is shared.

#include "kernels/cuda/device/activate.cuh"
#include "kernels/cuda/device/chain.cuh"
#include "kernels/cuda/device/element.cuh"
#include "kernels/cuda/device/mma.cuh"
#include "kernels/cuda/device/tiled/wgmma.cuh"

namespace inazuma::cuda {

/// 64 Rows x Columns of the answer are a tile. Of two warpgroups (Groups) each takes every other tile (Turns), or half
/// the rows of every tile. Of a cluster's blocks, Rowwise work on tiles of the same columns, or Splits share the inner
/// axis of one tile.
template <int Rows, int Columns, int Groups, bool Turns, int Rowwise, int Splits>
struct Tile {
  static constexpr int kRows = 64 * Rows, kColumns = Columns, kGroups = Groups;
  static constexpr bool kTurns = Turns;
  static constexpr int kRowBlocks = Turns ? Rows : Rows / Groups;  ///< of 64 rows, a group's share of a tile
  static_assert(Turns == (Groups == 2 && kRowBlocks == Rows));
  static constexpr int kRowwise = Rowwise, kSplits = Splits, kCluster = Rowwise * Splits;
  static_assert(Rowwise == 1 || Splits == 1);
  static constexpr int kInner = 64;  ///< of a stage: 128 bytes, the width of the swizzle
  static constexpr int kThreads = 128 * (1 + Groups);
  static constexpr bool kSmall = Rows == 1;      ///< two blocks fit on a multiprocessor
  static constexpr bool kWide = Columns == 256;  ///< more products a byte from the cache; bias and activation alone
  static constexpr bool kManyRegisters = Turns || kWide;
  static constexpr uint32_t kXBytes = kRows * kInner * 2, kWeightBytes = kColumns * kInner * 2;
  static constexpr uint32_t kStageBytes = kXBytes + kWeightBytes;
  static constexpr int kShare = Columns / Splits;  ///< columns that a block adds up
  static_assert(kShare % 8 == 0);
  /// A multiprocessor has 228 KiB, of which each block takes one for the system and this up to one for bias and
  /// barriers.
  static constexpr uint32_t kRoom = (kSmall ? 112 : 226) * 1024, kRing = (kSmall ? 104 : 200) * 1024;
  static constexpr uint32_t kPartialBytes = Splits == 1 ? 0 : kRows * Columns * 4;  ///< of the share, from all blocks
  static constexpr int kStages = (kRing < kRoom - kPartialBytes ? kRing : kRoom - kPartialBytes) / kStageBytes;
  // Places in shared memory, behind the ring.
  static constexpr uint32_t kPartialAt = kStages * kStageBytes, kBiasAt = kPartialAt + kPartialBytes;
  static constexpr uint32_t kBarriersAt = kBiasAt + (Turns ? 2 : 1) * Columns * 4;
  static constexpr size_t kShared = kBarriersAt + 8 * (2 * kStages + 1);
  static_assert(kShared <= (kSmall ? 113 : 227) * 1024);
};

/// What follows a sum: known when the kernel is compiled.
enum class Ending { plain /* none and relu */, gelu, gelu_tanh };

constexpr int kGroupThreads = 128;

#ifdef INAZUMA_HOPPER

/// Tiles in the order in which they are worked on: columns first, so that rows of x are read from memory once and the
/// weights stay in the cache.
template <class Tile>
struct Tiles {
  int columns, count;
  __device__ __forceinline__ explicit Tiles(const SkinnyLinear& args) {
    columns = (args.out_columns + Tile::kColumns - 1) / Tile::kColumns;
    constexpr int kClusterRows = Tile::kRows * Tile::kRowwise;
    count = (args.rows + kClusterRows - 1) / kClusterRows * columns;
  }
  __device__ __forceinline__ int column(int tile) const { return tile % columns * Tile::kColumns; }
  __device__ __forceinline__ int row(int tile, uint32_t rank) const {
    return (tile / columns * Tile::kRowwise + (Tile::kRowwise > 1 ? static_cast<int>(rank) : 0)) * Tile::kRows;
  }
};

/// Word i of lane c becomes word c of lane i, among four neighbouring lanes.
__device__ __forceinline__ void transpose4(uint32_t (&w)[4]) {
  const bool odd = threadIdx.x % 2 == 1, upper = threadIdx.x / 2 % 2 == 1;
#pragma unroll
  for (int p = 0; p < 4; p += 2) {
    const uint32_t other = __shfl_xor_sync(kAllLanes, odd ? w[p] : w[p + 1], 1);
    if (odd)
      w[p] = other;
    else
      w[p + 1] = other;
  }
#pragma unroll
  for (int p = 0; p < 2; ++p) {
    const uint32_t other = __shfl_xor_sync(kAllLanes, upper ? w[p] : w[p + 2], 2);
    if (upper)
      w[p] = other;
    else
      w[p + 2] = other;
  }
}

template <class T>
__device__ __forceinline__ float2 unpack(uint32_t pair) {
  if constexpr (__is_same(T, __half))
    return __half22float2(*reinterpret_cast<const __half2*>(&pair));
  else
    return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&pair));
}

template <Ending E, bool Short>
__device__ __forceinline__ float ended(float y, Activation activation) {
  if constexpr (E == Ending::gelu) return activate<Short>(Activation::gelu, y);
  if constexpr (E == Ending::gelu_tanh) return activate<Short>(Activation::gelu_tanh, y);
  return activation == Activation::relu && y < 0.0f ? 0.0f : y;
}

/// The tile's part of the bias, zeros where there is none, into shared memory.
template <int N>
__device__ __forceinline__ void place_bias(const SkinnyLinear& args, float* bias, int first_column) {
#pragma unroll
  for (int begin = 0; begin < N; begin += kGroupThreads) {
    const int i = begin + static_cast<int>(threadIdx.x) % kGroupThreads, column = first_column + i;
    if (i < N)
      bias[i] =
          args.bias != nullptr && column < args.out_columns ? load_element(args.bias, column, args.bias_type) : 0.0f;
  }
}

/// 64 rows of a tile from the lanes' sums to memory. Out in 16 bits: four lanes exchange words, so that each moves 16
/// bytes of a row.
template <class T, Ending E, int N, bool More>
__device__ __forceinline__ void store_halves(const SkinnyLinear& args, const float (&sums)[N / 2], const float* bias,
                                             int first_row, int first_column) {
  const int lane = threadIdx.x % 32, c = lane % 4;
  const int row = first_row + static_cast<int>(threadIdx.x) % kGroupThreads / 32 * 16 + lane / 4;
  const int64_t column = first_column + 8 * c;  // of this lane's 16 bytes in the first group
  // All loads of gate or residual leave together (nothing has both). y = y · gate or y · 1 + residual.
  const bool gated = args.multiplier.data != nullptr;
  const Matrix2& first = gated ? args.multiplier : args.residual;
  uint4 early[N / 32][2];
  if constexpr (More) {
#pragma unroll
    for (int group = 0; group < N / 32; ++group)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        early[group][half] =
            load16(static_cast<const T*>(first.data) + (row + 8 * half) * first.stride + column + 32 * group,
                   row + 8 * half < args.rows && column + 32 * group < args.out_columns);
  }
#pragma unroll
  for (int group = 0; group < N / 32; ++group)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t r = row + 8 * half;
      const bool wanted = r < args.rows && column + 32 * group < args.out_columns;
      uint32_t more[4];
      if constexpr (More) {
        more[0] = early[group][half].x, more[1] = early[group][half].y;
        more[2] = early[group][half].z, more[3] = early[group][half].w;
        transpose4(more);
      }
      uint32_t words[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int at = 4 * (4 * group + j) + 2 * half;
        const float2 b = *reinterpret_cast<const float2*>(bias + 32 * group + 8 * j + 2 * c);
        float low = ended<E, true>(fmaf(args.alpha, sums[at], b.x), args.activation);
        float high = ended<E, true>(fmaf(args.alpha, sums[at + 1], b.y), args.activation);
        if constexpr (More) {
          const float2 m = unpack<T>(more[j]);
          low = gated ? low * m.x : low + m.x;
          high = gated ? high * m.y : high + m.y;
        }
        words[j] = Packed<T>::pack(low, high);
      }
      transpose4(words);
      // No clobber of memory: nothing that is stored here is read again, and bias loads may pass.
      if (wanted)
        asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(static_cast<T*>(args.out.data) +
                                                                      r * args.out.stride + column + 32 * group),
                     "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3]));
    }
}

/// Out (and residual) in f32: a lane's two elements are 8 bytes, four lanes' a sector.
template <int N>
__device__ __forceinline__ void store_floats(const SkinnyLinear& args, const float (&sums)[N / 2], const float* bias,
                                             int first_row, int first_column) {
  const int lane = threadIdx.x % 32;
  const int row = first_row + static_cast<int>(threadIdx.x) % kGroupThreads / 32 * 16 + lane / 4;
  const int place = 2 * (lane % 4), column = first_column + place;
  const float* residual = static_cast<const float*>(args.residual.data);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t r = row + 8 * half;
    float2 rest[N / 8];
#pragma unroll
    for (int i = 0; i < N / 8; ++i) {
      rest[i] = {0.0f, 0.0f};
      if (residual != nullptr && r < args.rows && column + 8 * i < args.out_columns)
        rest[i] = *reinterpret_cast<const float2*>(residual + r * args.residual.stride + column + 8 * i);
    }
#pragma unroll
    for (int i = 0; i < N / 8; ++i) {
      const int at = 4 * i + 2 * half;
      const float2 b = *reinterpret_cast<const float2*>(bias + place + 8 * i);
      float2 y;
      y.x = ended<Ending::plain, false>(fmaf(args.alpha, sums[at], b.x), args.activation) + rest[i].x;
      y.y = ended<Ending::plain, false>(fmaf(args.alpha, sums[at + 1], b.y), args.activation) + rest[i].y;
      if (r < args.rows && column + 8 * i < args.out_columns)
        *reinterpret_cast<float2*>(static_cast<float*>(args.out.data) + r * args.out.stride + column + 8 * i) = y;
    }
  }
}

/// 64 rows of a warpgroup's sums, from row `place` of the tile on, to the blocks that add up their columns. Of a tile
/// `rows` are somebody's; block `rank` sends.
template <class Tile>
__device__ __forceinline__ void send_partial(uint32_t partial, uint32_t arrived,
                                             const float (&sums)[Tile::kColumns / 2], int place, int rows,
                                             uint32_t rank) {
  const int lane = threadIdx.x % 32;
  const int row = place + static_cast<int>(threadIdx.x) % kGroupThreads / 32 * 16 + lane / 4;
  const uint32_t mine = partial + ((rank * Tile::kRows + row) * Tile::kShare + 2 * (lane % 4)) * 4;
#pragma unroll
  for (int owner = 0; owner < Tile::kSplits; ++owner) {
    const uint32_t there = address_there(mine, owner), barrier = address_there(arrived, owner);
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int i = 0; i < Tile::kShare / 8; ++i) {
        const int at = 4 * (owner * Tile::kShare / 8 + i) + 2 * half;
        if (row + 8 * half < rows) send(there + (8 * half * Tile::kShare + 8 * i) * 4, barrier, sums[at], sums[at + 1]);
      }
  }
}

/// A tile whose inner axis was shared: this block's columns of all blocks' partial sums, added in their order, eight
/// columns a thread. All threads but the first warpgroup's call.
template <class T, class Out, Ending E, class Tile>
__device__ __forceinline__ void add_up(const SkinnyLinear& args, const float* partial, uint32_t arrived,
                                       const float* bias, int first_row, int first_column, int rank) {
  constexpr int kVectors = Tile::kShare / 8, kCount = Tile::kRows * kVectors;
  constexpr int kThreads = Tile::kGroups * kGroupThreads;
#pragma unroll
  for (int begin = 0; begin < kCount; begin += kThreads) {
    const int i = begin + static_cast<int>(threadIdx.x) - kGroupThreads;
    const int row = i / kVectors, place = i % kVectors * 8, in_tile = rank * Tile::kShare + place;
    const int64_t r = first_row + row, column = first_column + in_tile;
    const bool wanted = i < kCount && r < args.rows && column < args.out_columns;
    float gate[8], rest[8], y[8];  // on their way while the sums come
    if (wanted && args.multiplier.data != nullptr)
      load8(static_cast<const Out*>(args.multiplier.data) + r * args.multiplier.stride + column, gate);
    if (wanted && args.residual.data != nullptr)
      load8(static_cast<const Out*>(args.residual.data) + r * args.residual.stride + column, rest);
    if (begin == 0) wait_for(arrived, 0);
    if (!wanted) continue;
    const float* part = partial + row * Tile::kShare + place;
    float sum[8];
    load8(part, sum);
#pragma unroll
    for (int block = 1; block < Tile::kSplits; ++block) {
      float more[8];
      load8(part + block * Tile::kRows * Tile::kShare, more);
#pragma unroll
      for (int k = 0; k < 8; ++k) sum[k] += more[k];
    }
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      y[k] = ended<E, sizeof(Out) == 2>(fmaf(args.alpha, sum[k], bias[in_tile + k]), args.activation);
      if (args.multiplier.data != nullptr) y[k] *= gate[k];
      if (args.residual.data != nullptr) y[k] += rest[k];
    }
    store8(static_cast<Out*>(args.out.data) + r * args.out.stride + column, y);
  }
}

#endif  // INAZUMA_HOPPER

/// `Out`: T or float. Roles: warpgroup 0 feeds (one thread of it), the others multiply.
template <class T, class Out, Ending E, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kSmall ? 2 : 1)
    tiled_linear_kernel(const SkinnyLinear args, const __grid_constant__ CUtensorMap x_map,
                        const __grid_constant__ CUtensorMap weight_map) {
#ifdef INAZUMA_HOPPER
  constexpr int kStages = Tile::kStages;
  extern __shared__ __align__(1024) uint8_t raw[];
  const uint32_t ring = shared_address(raw);
  const uint32_t full = ring + Tile::kBarriersAt, emptied = full + 8 * kStages, arrived = emptied + 8 * kStages;
  const uint32_t rank = Tile::kCluster == 1 ? 0 : rank_in_cluster();
  const Tiles<Tile> tiles(args);
  const int first = static_cast<int>(blockIdx.x) / Tile::kCluster, step = static_cast<int>(gridDim.x) / Tile::kCluster;
  const int rows_of_first = min(Tile::kRows, args.rows - tiles.row(first, 0));
  if (threadIdx.x == 0) {
    if (ring % 1024 != 0) __trap();  // the swizzle goes by addresses
    prefetch_map(&x_map);
    prefetch_map(&weight_map);
    for (int stage = 0; stage < kStages; ++stage) {
      barrier_init(full + 8 * stage, 1);
      // The warps that read it, in every block.
      barrier_init(emptied + 8 * stage, 4 * Tile::kRowwise * (Tile::kTurns ? 1 : Tile::kGroups));
    }
    if constexpr (Tile::kSplits > 1) barrier_init(arrived, 1);
    barriers_are_ready();
    if constexpr (Tile::kSplits > 1)
      arrive_expecting(arrived, static_cast<uint32_t>(rows_of_first) * Tile::kColumns * 4);
  }
  if constexpr (Tile::kRowwise == 1)
    __syncthreads();
  else
    cluster_barrier();
  if constexpr (Tile::kSplits > 1) cluster_arrive();  // waited for before anything is sent

  const int all_chunks = (args.in + Tile::kInner - 1) / Tile::kInner;
  const int split = Tile::kSplits == 1 ? 0 : static_cast<int>(rank);
  const int first_chunk = all_chunks * split / Tile::kSplits;
  const int chunks = all_chunks * (split + 1) / Tile::kSplits - first_chunk;
  if (threadIdx.x < kGroupThreads) {
    if constexpr (Tile::kManyRegisters) registers_down<40>();
    if (threadIdx.x == 0) {
      const auto fetch_weights = [&](int stage, int tile, int chunk) {
        constexpr int kShare = Tile::kColumns / Tile::kRowwise;
        const uint32_t share = Tile::kRowwise == 1 ? 0 : rank * kShare;
        const uint32_t to = ring + stage * Tile::kStageBytes + Tile::kXBytes + share * 128;
        const int row = tiles.column(tile) + static_cast<int>(share), column = (first_chunk + chunk) * Tile::kInner;
        if constexpr (Tile::kRowwise == 1)
          copy_box(to, &weight_map, full + 8 * stage, column, row);
        else
          copy_box_to(to, &weight_map, full + 8 * stage, column, row, (1 << Tile::kRowwise) - 1);
      };
      const auto fetch_x = [&](int stage, int tile, int chunk) {
        copy_box(ring + stage * Tile::kStageBytes, &x_map, full + 8 * stage, (first_chunk + chunk) * Tile::kInner,
                 tiles.row(tile, rank));
      };
      // No kernel writes weights: the first stages of the first tile need not wait for the kernel in front.
      const int early = first < tiles.count ? min(chunks, kStages) : 0;
      for (int chunk = 0; chunk < early; ++chunk) {
        arrive_expecting(full + 8 * chunk, Tile::kStageBytes);
        fetch_weights(chunk, first, chunk);
      }
      after_predecessors();
      for (int chunk = 0; chunk < early; ++chunk) fetch_x(chunk, first, chunk);
      int at = early;  // stages filled so far
      for (int tile = first, begin = early; tile < tiles.count; tile += step, begin = 0)
        for (int chunk = begin; chunk < chunks; ++chunk, ++at) {
          const int stage = at % kStages;
          if (at >= kStages) wait_for(emptied + 8 * stage, (at / kStages - 1) & 1);
          arrive_expecting(full + 8 * stage, Tile::kStageBytes);
          fetch_weights(stage, tile, chunk);
          fetch_x(stage, tile, chunk);
        }
    } else {
      after_predecessors();
    }
  } else {
    if constexpr (Tile::kManyRegisters) registers_up<232>();
    after_predecessors();
    const int group = static_cast<int>(threadIdx.x) / kGroupThreads - 1;
    // Named barriers 1 and 2: the turn of group 0 and 1 to multiply. It is also what lets a group wait for a stage: a
    // barrier's parity says nothing about phases further ahead than the next. Without turns all wait for all: everybody
    // has read the last tile's bias.
    constexpr int kMultiplying = Tile::kGroups * kGroupThreads;
    const auto await_turn = [&] {
      if constexpr (Tile::kTurns)
        asm volatile("bar.sync %0, 256;" ::"r"(1 + group) : "memory");
      else
        asm volatile("bar.sync 1, %0;" ::"n"(kMultiplying) : "memory");
    };
    const auto pass_turn = [&] {
      if constexpr (Tile::kTurns) asm volatile("bar.arrive %0, 256;" ::"r"(2 - group) : "memory");
    };
    if (group == 1) pass_turn();
    int number = 0;  // tiles of this block, all groups'
    for (int tile = first; tile < tiles.count; tile += step, ++number) {
      if (Tile::kTurns && number % 2 != group) continue;
      float sums[Tile::kRowBlocks][Tile::kColumns / 2];
      const int begin = number * chunks;
      const auto release = [&](int at) {
        __syncwarp();
        const uint32_t lane = threadIdx.x % 32;
        if (lane < Tile::kRowwise) arrive_at(emptied + 8 * (at % kStages), Tile::kRowwise > 1 ? lane : rank);
      };
      await_turn();
      float* bias = reinterpret_cast<float*>(raw + Tile::kBiasAt) + (Tile::kTurns ? group * Tile::kColumns : 0);
      if (Tile::kTurns || group == 0) place_bias<Tile::kColumns>(args, bias, tiles.column(tile));
      for (int at = begin; at < begin + chunks; ++at) {
        const int stage = at % kStages;
        wait_for(full + 8 * stage, at / kStages & 1);
        const uint32_t x = ring + stage * Tile::kStageBytes;
        const uint64_t a = operand(x + (Tile::kTurns ? 0 : group * 64 * 128)), b = operand(x + Tile::kXBytes);
        products_begin();
#pragma unroll
        for (int k = 0; k < Tile::kInner / 16; ++k)
#pragma unroll
          for (int block = 0; block < Tile::kRowBlocks; ++block)
            multiply_tile<T, Tile::kColumns>(sums[block], a + 2 * k + block * (64 * 128 >> 4), b + 2 * k,
                                             at > begin || k > 0);
        products_commit();
        if (at > begin) {
          products_wait<1>();
          release(at - 1);
        }
      }
      pass_turn();
      products_wait<0>();
      release(begin + chunks - 1);
      // The bias is there, and all have multiplied.
      if constexpr (Tile::kTurns)
        asm volatile("bar.sync %0, 128;" ::"r"(3 + group) : "memory");
      else
        asm volatile("bar.sync 2, %0;" ::"n"(kMultiplying) : "memory");
      if constexpr (Tile::kSplits > 1) cluster_wait();
#pragma unroll
      for (int block = 0; block < Tile::kRowBlocks; ++block) {
        const int place = 64 * (Tile::kTurns ? block : group), row = tiles.row(tile, rank) + place;
        if constexpr (Tile::kSplits > 1)
          send_partial<Tile>(ring + Tile::kPartialAt, arrived, sums[block], place, rows_of_first, rank);
        else if constexpr (sizeof(Out) == 4)
          store_floats<Tile::kColumns>(args, sums[block], bias, row, tiles.column(tile));
        else if (Tile::kWide || (args.multiplier.data == nullptr && args.residual.data == nullptr))
          store_halves<T, E, Tile::kColumns, false>(args, sums[block], bias, row, tiles.column(tile));
        else
          store_halves<T, E, Tile::kColumns, !Tile::kWide>(args, sums[block], bias, row, tiles.column(tile));
      }
    }
  }
  if constexpr (Tile::kSplits > 1) {  // such a cluster has one tile
    if (threadIdx.x >= kGroupThreads) {
      add_up<T, Out, E, Tile>(args, reinterpret_cast<const float*>(raw + Tile::kPartialAt), arrived,
                              reinterpret_cast<const float*>(raw + Tile::kBiasAt), tiles.row(first, 0),
                              tiles.column(first), static_cast<int>(rank));
    } else {
      __syncwarp();
      cluster_wait();
    }
  }
  // A block's shared memory stays until no neighbour writes to it or arrives there any more; one that adds up has seen
  // all that was sent to it.
  if constexpr (Tile::kRowwise > 1) {
    __syncwarp();
    cluster_barrier();
  }
#endif
}

}  // namespace inazuma::cuda
