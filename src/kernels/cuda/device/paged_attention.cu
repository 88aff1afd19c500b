// Attention over keys and values in pool blocks (decoders; cross-attention).
//
// Three ways to the same bits (attention_tile.cuh): a warp per 16 query rows walks over all atoms of 64 keys; for
// single query rows a warp per atom, merged in order in shared memory; and when few sequences have long contexts, atoms
// spread over blocks and merged in order by a second kernel. Which way is taken follows from host bounds alone.

#include "kernels/cuda/check.h"
#include "kernels/cuda/device/attention_rows.cuh"
#include "kernels/cuda/device/attention_tile.cuh"
#include "kernels/cuda/device/chain.cuh"
#include "kernels/cuda/launch.h"

namespace inazuma::cuda {

namespace {

constexpr int kMostWarps = 4;
constexpr int kSplitAtoms = 16;       ///< more atoms than this are spread over blocks ...
constexpr int kSplitSequences = 256;  ///< ... when there are fewer (sequence, head) pairs than this
constexpr int kRoomyWarps = 1024;     ///< of some 200 registers a thread that an H200 holds at once

struct Place {
  int head, sequence;
};
__device__ __forceinline__ Place place_of(unsigned pair, int heads) {
  return {static_cast<int>(pair % heads), static_cast<int>(pair / heads)};
}

__device__ __forceinline__ const float* bias_row(const PagedAttention& args, int head) {
  if (args.bias.table == nullptr) return nullptr;
  return args.bias.table + static_cast<int64_t>(head) * (2 * args.bias.max_distance + 1);
}
__device__ __forceinline__ ScoreRule rule_of(const PagedAttention& args, int head) {
  return {args.scale * kLog2e, bias_row(args, head), args.bias.max_distance};
}

template <class T>
__device__ __forceinline__ PagedKeys<T> keys_of(const PagedAttention& args, const Place& at, int block_shift) {
  const int64_t head_elements = static_cast<int64_t>(args.block_tokens) * args.head_dim;
  return {static_cast<const T*>(args.keys) + at.head * head_elements,
          static_cast<const T*>(args.values) + at.head * head_elements,
          args.block_tables + at.sequence * args.table_stride,
          args.heads * head_elements,
          args.block_tokens,
          block_shift,
          args.head_dim,
          -1,
          {0, 0}};
}

/// A warp per 16 query rows of one head. `skip_single`: sequences with one query row are another kernel's.
template <class T, class Plan>
__global__ void __launch_bounds__(32 * kMostWarps, 2)
    paged_tiles(const PagedAttention args, int block_shift, bool skip_single) {
  constexpr int DP = Plan::kWidth;
  const Place at = place_of(blockIdx.x, args.heads);
  const int begin = __ldg(args.offsets + at.sequence), queries = __ldg(args.offsets + at.sequence + 1) - begin;
  const int context = __ldg(args.context_lengths + at.sequence);
  after_predecessors();
  const int warps = blockDim.x / 32;
  const int tile = (static_cast<int>(blockIdx.y) * warps + static_cast<int>(threadIdx.x / 32)) * kTileRows;
  if (tile >= queries || (skip_single && queries == 1)) return;
  const int rows = min(kTileRows, queries - tile), column = at.head * args.head_dim;
  const int position = context - queries + tile;
  const int64_t row = begin + tile;

  QueryTile<DP> query;
  load_query<T, DP>(query, static_cast<const T*>(args.q) + row * args.q_stride + column, args.q_stride, rows,
                    args.head_dim);
  PagedKeys<T> keys = keys_of<T>(args, at, block_shift);
  const int keys_end = Plan::kCausal ? position + rows : context;
  Weighted<DP> all;
  attend_tile<T, Plan, false>(all, query, keys, keys_end, position, rows, args.head_dim, rule_of(args, at.head));
  store_rows<T, DP>(all, static_cast<T*>(args.out) + row * args.out_stride + column, args.out_stride, rows,
                    args.head_dim, keys_end);
}

/// What an atom gave for one query row: DP weighted values, then the largest score and the sum of weights.
template <int DP>
struct Partial {
  float value[DP];
  float largest, sum;
  float unused[2];  ///< the size stays a multiple of 16 bytes
};

template <int DP>
__device__ __forceinline__ void keep_row0(Partial<DP>& to, const Weighted<DP>& from) {
  const int lane = threadIdx.x % 32;
  if (lane >= 4) return;
#pragma unroll
  for (int part = 0; part < DP / 64; ++part)
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int j = 0; j < 8; ++j) to.value[64 * part + 16 * lane + 8 * half + j] = from.value[8 * part + j][half];
  if (lane == 0) {
    to.largest = from.largest[0];
    to.sum = from.sum[0];
  }
}

/// Running result of one column of one row.
struct Column {
  float largest, sum, value;
};
template <int DP>
__device__ __forceinline__ void merge_column(Column& into, const Partial<DP>& next, int column) {
  const Factors f = merge_factors(into.largest, next.largest);
  into.largest = f.largest;
  into.sum = merge_value(f, into.sum, next.sum);
  into.value = merge_value(f, into.value, next.value[column]);
}
template <class T>
__device__ __forceinline__ void store_column(T* to, const Column& from, int keys) {
  store_float(to, keys == 0 ? 0.0f : __fmul_rn(from.value, __frcp_rn(from.sum)));
}

/// Sequences with one query row: a block per head and, when `spread` is not null, per group of atoms. A single row sees
/// all keys, causal or not. `Blocks` of kMostWarps are to find room on a multiprocessor.
template <class T, class Plan, int Blocks>
__global__ void __launch_bounds__(32 * kMostWarps, Blocks)
    paged_single(const PagedAttention args, int block_shift, Partial<Plan::kWidth>* spread, int most_atoms) {
  constexpr int DP = Plan::kWidth;
  __shared__ Partial<DP> partial[kMostWarps];
  const Place at = place_of(blockIdx.x, args.heads);
  const int begin = __ldg(args.offsets + at.sequence), queries = __ldg(args.offsets + at.sequence + 1) - begin;
  const int warps = blockDim.x / 32, warp = threadIdx.x / 32, column = at.head * args.head_dim;
  const int context = __ldg(args.context_lengths + at.sequence), position = context - 1;
  const int atoms = (context + kAtomKeys - 1) / kAtomKeys;
  PagedKeys<T> keys = keys_of<T>(args, at, block_shift);
  const int first_atom = spread == nullptr ? warp : static_cast<int>(blockIdx.y) * warps + warp;
  if (queries == 1 && first_atom < atoms)
    keys.begin(first_atom * kAtomKeys, min(kAtomKeys, context - first_atom * kAtomKeys));
  after_predecessors();
  if (queries != 1) return;

  QueryTile<DP> query;
  load_query<T, DP>(query, static_cast<const T*>(args.q) + begin * args.q_stride + column, args.q_stride, 1,
                    args.head_dim);
  const ScoreRule rule = rule_of(args, at.head);
  const auto attend = [&](int atom, Partial<DP>& to) {
    Weighted<DP> next;
    attend_atom<T, Plan>(next, query, keys, atom * kAtomKeys, min(kAtomKeys, context - atom * kAtomKeys), position, 1,
                         args.head_dim, rule);
    keep_row0<DP>(to, next);
  };
  if (spread != nullptr) {
    if (first_atom < atoms) attend(first_atom, spread[static_cast<int64_t>(blockIdx.x) * most_atoms + first_atom]);
    return;
  }

  constexpr int kColumns = DP / 32;  // a block of one warp has this many columns per thread
  Column mine[kColumns];
#pragma unroll
  for (int i = 0; i < kColumns; ++i) mine[i] = {-INFINITY, 0.0f, 0.0f};
#pragma unroll 1
  for (int first = 0; first < atoms; first += warps) {
    if (first + warp < atoms) attend(first + warp, partial[warp]);
    __syncthreads();
    const int count = min(warps, atoms - first);
    for (int p = 0; p < count; ++p)
#pragma unroll
      for (int i = 0; i < kColumns; ++i) {
        const int d = threadIdx.x + i * blockDim.x;
        if (d < args.head_dim) merge_column<DP>(mine[i], partial[p], d);
      }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kColumns; ++i) {
    const int d = threadIdx.x + i * blockDim.x;
    if (d < args.head_dim)
      store_column(static_cast<T*>(args.out) + begin * args.out_stride + column + d, mine[i], context);
  }
}

/// Merges what paged_single spread, in order: a block per sequence and head, a thread per column.
template <class T, int DP>
__global__ void __launch_bounds__(DP)
    paged_merge(const PagedAttention args, const Partial<DP>* spread, int most_atoms) {
  const Place at = place_of(blockIdx.x, args.heads);
  const int begin = __ldg(args.offsets + at.sequence), queries = __ldg(args.offsets + at.sequence + 1) - begin;
  const int context = __ldg(args.context_lengths + at.sequence), d = threadIdx.x;
  after_predecessors();
  if (queries != 1) return;
  const int atoms = (context + kAtomKeys - 1) / kAtomKeys;
  if (d >= args.head_dim) return;
  const Partial<DP>* mine = spread + static_cast<int64_t>(blockIdx.x) * most_atoms;
  Column all = {-INFINITY, 0.0f, 0.0f};
#pragma unroll 4
  for (int atom = 0; atom < atoms; ++atom) merge_column<DP>(all, mine[atom], d);
  store_column(static_cast<T*>(args.out) + begin * args.out_stride + at.head * args.head_dim + d, all, context);
}

template <class T, int R>
__global__ void __launch_bounds__(32 * kRowWarps) paged_rows(const PagedAttention args) {
  extern __shared__ float shared[];
  after_predecessors();
  const Place at = place_of(blockIdx.x, args.heads);
  const int begin = __ldg(args.offsets + at.sequence), queries = __ldg(args.offsets + at.sequence + 1) - begin;
  const int warps = blockDim.x / 32, warp = threadIdx.x / 32, column = at.head * args.head_dim;
  const int first = (static_cast<int>(blockIdx.y) * warps + warp) * R;
  if (first >= queries) return;
  const int context = __ldg(args.context_lengths + at.sequence);
  const int64_t row = begin + first, head_elements = static_cast<int64_t>(args.block_tokens) * args.head_dim;
  const RowKeys<T> keys{static_cast<const T*>(args.keys) + at.head * head_elements,
                        static_cast<const T*>(args.values) + at.head * head_elements,
                        args.head_dim,
                        args.head_dim,
                        args.block_tables + at.sequence * args.table_stride,
                        args.heads * head_elements,
                        args.block_tokens};
  const RowTask<T> task{static_cast<const T*>(args.q) + row * args.q_stride + column,
                        static_cast<T*>(args.out) + row * args.out_stride + column,
                        args.q_stride,
                        args.out_stride,
                        min(R, queries - first),
                        context - queries + first,
                        context,
                        args.head_dim,
                        args.scale,
                        bias_row(args, at.head),
                        args.bias.max_distance,
                        args.causal};
  attend_rows<T, R>(task, keys, shared + warp * R * args.head_dim);
}

bool aligned16(const void* pointer, int64_t stride) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0 && stride % 8 == 0;
}

int shift_of(int block_tokens) {
  for (int shift = 0; shift < 31; ++shift)
    if (block_tokens == 1 << shift) return shift;
  return -1;
}

int atoms_of(const PagedAttention& args) {
  return (args.max_context + kAtomKeys - 1) / kAtomKeys;
}

bool spreads(const PagedAttention& args) {
  return args.type != Type::f32 && atoms_of(args) > kSplitAtoms &&
         static_cast<int64_t>(args.sequences) * args.heads < kSplitSequences;
}

unsigned groups_of(int count, int per_group) {
  const int groups = (count + per_group - 1) / per_group;
  if (groups > 65535) check(cudaErrorInvalidConfiguration, "paged_attention: too many query rows in one step");
  return static_cast<unsigned>(groups);
}

template <class T, int DP, bool kFull>
void launch_tiles(const PagedAttention& args, cudaStream_t stream) {
  const unsigned pairs = static_cast<unsigned>(args.sequences) * static_cast<unsigned>(args.heads);
  const int shift = shift_of(args.block_tokens), atoms = atoms_of(args);
  const bool single = args.max_query == 1 || args.sequences > 1;  // another sequence may have one row
  if (single) {
    const int warps = atoms < 1 ? 1 : atoms < kMostWarps ? atoms : kMostWarps;
    auto* spread = spreads(args) ? static_cast<Partial<DP>*>(args.scratch) : nullptr;
    const dim3 grid(pairs, spread == nullptr ? 1 : groups_of(atoms, warps));
    // More warps than find room at once come in rounds: better a little slower each and all at once.
    const bool many = DP <= 64 && static_cast<int64_t>(pairs) * grid.y * warps > kRoomyWarps;
    const auto kernel = args.bias.table == nullptr ? many ? paged_single < T, Plan<DP, kFull, false, false, false, 4>,
               DP <= 64 ? 4 : 1 >
        : paged_single<T, Plan<DP, kFull, false, false, DP <= 64, 4>, 1> : many ? paged_single < T,
               Plan<DP, kFull, false, true, false, 4>,
               DP <= 64 ? 4 : 1 > : paged_single<T, Plan<DP, kFull, false, true, DP <= 64, 4>, 1>;
    launch(kernel, grid, 32 * warps, 0, stream, args, shift, spread, atoms);
    if (spread != nullptr) {
      launch(paged_merge<T, DP>, pairs, DP, 0, stream, args, spread, atoms);
    }
  }
  if (args.max_query > 1) {
    const int tiles = (args.max_query + kTileRows - 1) / kTileRows, warps = tiles < kMostWarps ? tiles : kMostWarps;
    const dim3 grid(pairs, groups_of(tiles, warps));
    if (args.causal)
      launch(paged_tiles<T, Plan<DP, false, true, true, false, 4>>, grid, 32 * warps, 0, stream, args, shift, single);
    else
      launch(paged_tiles<T, Plan<DP, false, false, true, false, 4>>, grid, 32 * warps, 0, stream, args, shift, single);
  }
}

template <class T>
void launch_rows(const PagedAttention& args, cudaStream_t stream) {
  if (args.head_dim > kRowsHeadDim) check(cudaErrorInvalidValue, "paged_attention: head_dim above 256");
  const unsigned pairs = static_cast<unsigned>(args.sequences) * static_cast<unsigned>(args.heads);
  const size_t row_bytes = sizeof(float) * static_cast<size_t>(args.head_dim);
  if (args.max_query == 1) {
    launch(paged_rows<T, 1>, pairs, 32, row_bytes, stream, args);
  } else {
    constexpr int kRows = 4;
    const dim3 grid(pairs, groups_of(args.max_query, kRows * kRowWarps));
    launch(paged_rows<T, kRows>, grid, 32 * kRowWarps, row_bytes * kRows * kRowWarps, stream, args);
  }
}

template <class T>
void launch_half(const PagedAttention& args, cudaStream_t stream) {
  const bool tiles = args.head_dim % 8 == 0 && args.head_dim <= 128 && aligned16(args.q, args.q_stride) &&
                     aligned16(args.out, args.out_stride) && aligned16(args.keys, 0) && aligned16(args.values, 0);
  if (!tiles) return launch_rows<T>(args, stream);
  if (args.head_dim < 64) return launch_tiles<T, 64, false>(args, stream);
  if (args.head_dim == 64) return launch_tiles<T, 64, true>(args, stream);
  if (args.head_dim < 128) return launch_tiles<T, 128, false>(args, stream);
  launch_tiles<T, 128, true>(args, stream);
}

}  // namespace

size_t paged_attention_scratch(const PagedAttention& args) {
  if (!spreads(args)) return 0;
  const size_t atoms = static_cast<size_t>(args.sequences) * args.heads * atoms_of(args);
  return atoms * (args.head_dim <= 64 ? sizeof(Partial<64>) : sizeof(Partial<128>));
}

void paged_attention(const PagedAttention& args, cudaStream_t stream) {
  if (args.sequences == 0 || args.max_query == 0) return;
  if (args.type == Type::f16) return launch_half<__half>(args, stream);
  if (args.type == Type::bf16) return launch_half<__nv_bfloat16>(args, stream);
  launch_rows<float>(args, stream);
}

}  // namespace inazuma::cuda
