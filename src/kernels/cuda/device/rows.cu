// Operations that move or combine rows, bound by memory: embedding, gathering, pooling, the pool of keys and values,
// ids.

#include <algorithm>
#include <cmath>

#include "kernels/cuda/device/chain.cuh"
#include "kernels/cuda/device/element.cuh"

namespace inazuma::cuda {

namespace {

constexpr int kThreads = 256;

unsigned blocks_for(int64_t count, int per_block) {
  return static_cast<unsigned>((count + per_block - 1) / per_block);
}

__global__ void embed_rows(const Embed args) {
  after_predecessors();
  const int64_t t = blockIdx.x;
  for (int c = static_cast<int>(threadIdx.x); c < args.width; c += static_cast<int>(blockDim.x)) {
    float sum = args.accumulate ? load_element(args.out.data, t * args.out.stride + c, args.out.type) : 0.0f;
    for (int i = 0; i < args.count; ++i) {
      const EmbedTerm& term = args.terms[i];
      const float value = load_element(term.table, term.ids[t] * term.stride + c, term.type);
      sum = i == 0 && !args.accumulate ? value : sum + value;
    }
    store_element(args.out.data, t * args.out.stride + c, args.out.type, sum);
  }
}

/// Tables of one type and rows that are walked in eights. All terms are on their way before the first is added.
template <class Out, class Table>
__global__ void embed8(const Embed args) {
  after_predecessors();
  const int64_t t = blockIdx.x;
  const Table* rows[kEmbedTerms];
#pragma unroll
  for (int i = 0; i < kEmbedTerms; ++i)
    if (i < args.count)
      rows[i] = static_cast<const Table*>(args.terms[i].table) + args.terms[i].ids[t] * args.terms[i].stride;
  for (int c = static_cast<int>(threadIdx.x) * 8; c < args.width; c += static_cast<int>(blockDim.x) * 8) {
    float terms[kEmbedTerms][8];
#pragma unroll
    for (int i = 0; i < kEmbedTerms; ++i)
      if (i < args.count) load8(rows[i] + c, terms[i]);
#pragma unroll
    for (int i = 1; i < kEmbedTerms; ++i)
      if (i < args.count) {
#pragma unroll
        for (int k = 0; k < 8; ++k) terms[0][k] += terms[i][k];
      }
    store8(static_cast<Out*>(args.out.data) + t * args.out.stride + c, terms[0]);
  }
}

/// What comes from the host is read anew, and is there for all once a block is done: the next kernel may begin then.
template <class Element>
__global__ void move_elements(Element* to, const Element* from, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) to[i] = __ldcv(from + i);
  __threadfence();
}

__global__ void gather(Matrix2 out, Matrix2 x, const int32_t* rows, int width) {
  const int64_t i = blockIdx.x, from = rows[i];
  after_predecessors();
  for (int c = static_cast<int>(threadIdx.x); c < width; c += static_cast<int>(blockDim.x))
    store_element(out.data, i * out.stride + c, out.type, load_element(x.data, from * x.stride + c, x.type));
}

/// Rows that are walked in eights.
template <class Out, class X>
__global__ void gather8(Matrix2 out, Matrix2 x, const int32_t* rows, int width) {
  const int64_t i = blockIdx.x, from = rows[i];
  after_predecessors();
  for (int c = static_cast<int>(threadIdx.x) * 8; c < width; c += static_cast<int>(blockDim.x) * 8) {
    float values[8];
    load8(static_cast<const X*>(x.data) + from * x.stride + c, values);
    store8(static_cast<Out*>(out.data) + i * out.stride + c, values);
  }
}

// As in ops.h's Pooling.
enum { kMean, kCls, kMax, kMeanSqrtLength, kWeightedMean, kLast };

__global__ void pool_rows(Matrix2 out, Matrix2 x, const int32_t* offsets, const int32_t* which, int width,
                          int pooling) {
  after_predecessors();
  const int64_t i = blockIdx.x;
  const int c = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
  if (c >= width) return;
  const int begin = offsets[which[i]], end = offsets[which[i] + 1];
  const auto at = [&](int64_t row) { return load_element(x.data, row * x.stride + c, x.type); };
  float y = 0.0f;
  if (begin < end) {
    const auto length = static_cast<float>(end - begin);
    y = at(pooling == kLast ? end - 1 : begin);
    if (pooling != kCls && pooling != kLast) {
      for (int t = begin + 1; t < end; ++t) {
        const float value = at(t);
        if (pooling == kMax) {
          if (value > y || value != value) y = value;
        } else {
          y += pooling == kWeightedMean ? static_cast<float>(t - begin + 1) * value : value;
        }
      }
    }
    if (pooling == kMean) y /= length;
    if (pooling == kMeanSqrtLength) y /= sqrtf(length);
    if (pooling == kWeightedMean) y /= 0.5f * length * (length + 1.0f);
  }
  store_element(out.data, i * out.stride + c, out.type, y);
}

/// Element: as many bytes as are moved at once; `per_head` of them make a head's row.
template <class Element>
__global__ void store(const StoreKv args, int per_head, int64_t k_stride, int64_t v_stride) {
  const int64_t t = blockIdx.x;
  const int slot = args.slots[t];
  after_predecessors();
  if (slot < 0) return;
  const int64_t block = slot / args.block_tokens, place = slot % args.block_tokens;
  const auto* k = static_cast<const Element*>(args.k) + t * k_stride;
  const auto* v = static_cast<const Element*>(args.v) + t * v_stride;
  for (int i = static_cast<int>(threadIdx.x); i < args.heads * per_head; i += static_cast<int>(blockDim.x)) {
    const int head = i / per_head;
    const int64_t at = ((block * args.heads + head) * args.block_tokens + place) * per_head + i % per_head;
    static_cast<Element*>(args.keys)[at] = k[i];
    static_cast<Element*>(args.values)[at] = v[i];
  }
}

/// `width` elements of each row, by blocks of threads along it.
template <class Element>
__global__ void copy(Element* x, const int32_t* from, const int32_t* to, int64_t width) {
  after_predecessors();
  const Element* source = x + from[blockIdx.y] * width;
  Element* target = x + to[blockIdx.y] * width;
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < width; i += step) target[i] = source[i];
}

__global__ void read_ids(int32_t* ids, const int32_t* history, int64_t stride, const int32_t* slots,
                         const int32_t* positions, int count) {
  const int t = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int64_t from = t < count ? slots[t] * stride + positions[t] : 0;
  after_predecessors();
  if (t < count) ids[t] = history[from];
}

__device__ float block_reduce(float value, bool largest, float* shared) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, value, step);
    value = largest ? fmaxf(value, other) : value + other;
  }
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  value = shared[0];
  for (int warp = 1; warp < kThreads / 32; ++warp) value = largest ? fmaxf(value, shared[warp]) : value + shared[warp];
  __syncthreads();
  return value;
}

__global__ void __launch_bounds__(kThreads)
    logprobs(float* out, const float* logits, int64_t stride, const int32_t* targets, int vocab) {
  after_predecessors();
  __shared__ float shared[kThreads / 32];
  const float* row = logits + blockIdx.x * stride;
  float most = -INFINITY;
  for (int c = static_cast<int>(threadIdx.x); c < vocab; c += kThreads) most = fmaxf(most, row[c]);
  most = block_reduce(most, true, shared);
  float total = 0.0f;  // a NaN among the logits shows here: the largest ignores it
  for (int c = static_cast<int>(threadIdx.x); c < vocab; c += kThreads) total += expf(row[c] - most);
  total = block_reduce(total, false, shared);
  if (threadIdx.x == 0)
    out[blockIdx.x] =
        static_cast<float>(static_cast<double>(row[targets[blockIdx.x]]) - most - log(static_cast<double>(total)));
}

constexpr int kTile = 32;

/// out[c · out_stride + r] = source[r · source_stride + c], through shared memory so that both sides are coalesced.
__global__ void __launch_bounds__(kTile * 8) transpose(Matrix2 out, Matrix2 source, int rows, int columns) {
  after_predecessors();
  __shared__ float tile[kTile][kTile + 1];
  const int64_t r0 = int64_t{blockIdx.y} * kTile, c0 = int64_t{blockIdx.x} * kTile;
  const int x = static_cast<int>(threadIdx.x) % kTile;
  for (int y = static_cast<int>(threadIdx.x) / kTile; y < kTile; y += 8)
    if (r0 + y < rows && c0 + x < columns)
      tile[y][x] = load_element(source.data, (r0 + y) * source.stride + c0 + x, source.type);
  __syncthreads();
  for (int y = static_cast<int>(threadIdx.x) / kTile; y < kTile; y += 8)
    if (c0 + y < columns && r0 + x < rows)
      store_element(out.data, (c0 + y) * out.stride + r0 + x, out.type, tile[x][y]);
}

__global__ void convert_elements(Matrix2 out, Matrix2 source, int64_t columns, int64_t count) {
  after_predecessors();
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step)
    store_element(out.data, i / columns * out.stride + i % columns, out.type,
                  load_element(source.data, i / columns * source.stride + i % columns, source.type));
}

}  // namespace

void embed(const Embed& args, cudaStream_t stream) {
  const Type out = args.out.type, table = args.terms[0].type;
  bool wide = args.width % 8 == 0 && !args.accumulate && vectors(args.out);
  for (int i = 0; i < args.count; ++i)
    wide = wide && args.terms[i].type == table && vectors(args.terms[i].table, args.terms[i].stride, table);
  const auto rows = static_cast<unsigned>(args.rows);
  constexpr unsigned kLanes = 96;
  if (wide && out == Type::f16 && table == Type::f16)
    return launch(embed8<__half, __half>, rows, kLanes, 0, stream, args);
  if (wide && out == Type::f32 && table == Type::f16)
    return launch(embed8<float, __half>, rows, kLanes, 0, stream, args);
  if (wide && out == Type::bf16 && table == Type::bf16)
    return launch(embed8<__nv_bfloat16, __nv_bfloat16>, rows, kLanes, 0, stream, args);
  if (wide && out == Type::f32 && table == Type::bf16)
    return launch(embed8<float, __nv_bfloat16>, rows, kLanes, 0, stream, args);
  launch(embed_rows, static_cast<unsigned>(args.rows), kThreads, 0, stream, args);
}

void move(void* to, const void* from, size_t bytes, cudaStream_t stream) {
  const auto work = [&]<class Element>(Element* elements) {
    const auto count = static_cast<int>(bytes / sizeof(Element));
    move_elements<<<blocks_for(count, kThreads), kThreads, 0, stream>>>(elements, static_cast<const Element*>(from),
                                                                        count);
    check(cudaGetLastError(), "starting a kernel");
  };
  if (bytes == 0) return;
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from) | bytes) % 16 == 0)
    work(static_cast<uint4*>(to));
  else
    work(static_cast<uint32_t*>(to));
}

void gather_rows(const Matrix2& out, const Matrix2& x, const int32_t* rows, int count, int width, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(count);
  constexpr unsigned kLanes = 128;
  const bool wide = width % 8 == 0 && vectors(out) && vectors(x);
  if (wide && x.type == Type::f16 && out.type == Type::f16)
    return launch(gather8<__half, __half>, blocks, kLanes, 0, stream, out, x, rows, width);
  if (wide && x.type == Type::f16 && out.type == Type::f32)
    return launch(gather8<float, __half>, blocks, kLanes, 0, stream, out, x, rows, width);
  if (wide && x.type == Type::bf16 && out.type == Type::bf16)
    return launch(gather8<__nv_bfloat16, __nv_bfloat16>, blocks, kLanes, 0, stream, out, x, rows, width);
  if (wide && x.type == Type::bf16 && out.type == Type::f32)
    return launch(gather8<float, __nv_bfloat16>, blocks, kLanes, 0, stream, out, x, rows, width);
  launch(gather, blocks, kThreads, 0, stream, out, x, rows, width);
}

void copy_rows(void* x, int64_t bytes, const int32_t* from, const int32_t* to, int count, cudaStream_t stream) {
  constexpr int64_t kMostBlocks = 64;
  const auto work = [&]<class Element>(Element* rows) {
    const int64_t width = bytes / static_cast<int64_t>(sizeof(Element));
    const auto along = static_cast<unsigned>(std::clamp<int64_t>((width + kThreads - 1) / kThreads, 1, kMostBlocks));
    launch(copy<Element>, dim3(along, static_cast<unsigned>(count)), kThreads, 0, stream, rows, from, to, width);
  };
  if (bytes % 16 == 0) {
    work(static_cast<uint4*>(x));  // allocations are aligned to more
  } else if (bytes % 4 == 0) {
    work(static_cast<uint32_t*>(x));
  } else {
    work(static_cast<uint16_t*>(x));
  }
}

void pool(const Matrix2& out, const Matrix2& x, const int32_t* offsets, const int32_t* which, int count, int width,
          int pooling, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(count), blocks_for(width, kThreads));
  launch(pool_rows, grid, kThreads, 0, stream, out, x, offsets, which, width, pooling);
}

void store_kv(const StoreKv& args, cudaStream_t stream) {
  const auto bytes = static_cast<int>(size_of(args.type));
  const auto blocks = static_cast<unsigned>(args.tokens);
  const bool wide = args.head_dim * bytes % 16 == 0 && vectors(args.k, args.k_stride, args.type) &&
                    vectors(args.v, args.v_stride, args.type) && vectors(args.keys, 0, args.type) &&
                    vectors(args.values, 0, args.type);
  if (wide) {
    const int n = 16 / bytes;
    launch(store<uint4>, blocks, 128, 0, stream, args, args.head_dim / n, args.k_stride / n, args.v_stride / n);
  } else if (bytes == 4) {
    launch(store<uint32_t>, blocks, 128, 0, stream, args, args.head_dim, args.k_stride, args.v_stride);
  } else {
    launch(store<uint16_t>, blocks, 128, 0, stream, args, args.head_dim, args.k_stride, args.v_stride);
  }
}

void read_history(int32_t* ids, const int32_t* history, int64_t stride, const int32_t* slots, const int32_t* positions,
                  int count, cudaStream_t stream) {
  launch(read_ids, blocks_for(count, kThreads), kThreads, 0, stream, ids, history, stride, slots, positions, count);
}

void token_logprobs(float* out, const float* logits, int64_t stride, const int32_t* targets, int rows, int vocab,
                    cudaStream_t stream) {
  launch(logprobs, static_cast<unsigned>(rows), kThreads, 0, stream, out, logits, stride, targets, vocab);
}

void convert(const Matrix2& out, const Matrix2& source, int rows, int columns, bool transposed, cudaStream_t stream) {
  if (transposed) {
    const dim3 grid(blocks_for(columns, kTile), blocks_for(rows, kTile));
    launch(transpose, grid, kTile * 8, 0, stream, out, source, rows, columns);
  } else {
    const int64_t count = int64_t{rows} * columns;
    const unsigned blocks = blocks_for(count, kThreads * 8);
    launch(convert_elements, blocks, kThreads, 0, stream, out, source, columns, count);
  }
}

}  // namespace inazuma::cuda
