#pragma once
// What device code offers to CudaOps: one plain struct and one launch function per operation. Nothing of tensor/ or
// base/ is included, so that a .cu file costs only its own kernels.
//
// Meaning, order of arithmetic, NaN rules and batch invariance are those of kernels/ops.h; here is only what ops.h's
// types cannot say in device terms. Rules of this header:
// - Strides count elements; the innermost axis is contiguous. Pointers and strides are aligned to the element alone
//   (views may begin anywhere): a kernel that wants 16-byte accesses checks and has a way without.
// - Every launch goes to `stream`, neither allocates nor waits, and may be recorded in a graph. Grid sizes come from
//   the host bounds in the struct (rows, sequences, max_...); what lies in device arrays may be smaller on replay:
//   sequences without rows (offsets[s] == offsets[s + 1]) and contexts of any length up to the bound are legal.
// - offsets, lengths, slots, positions, block tables, lists of rows: copied from the host in stream order, never
// written
//   by a kernel (chain.cuh: they are read early). Ids may be a kernel's.
// - `scratch` is device memory of at least ..._scratch(args) bytes, 256-byte aligned, used in stream order only: its
//   content is garbage before and after. Kernels that want it zeroed do so themselves.
// - A launch that fails throws Error (check.h).

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/selection_row.h"

namespace inazuma::cuda {

enum class Type : uint8_t { f32, f16, bf16 };
constexpr size_t size_of(Type type) {
  return type == Type::f32 ? 4 : 2;
}

/// A [rows, columns] operand. data is null where ops.h says "or undefined".
struct Matrix2 {
  void* data = nullptr;
  int64_t stride = 0;
  Type type = Type::f32;
};

/// ops.h: RelativeBias. table null = none.
struct Bias {
  const float* table = nullptr;  ///< [heads, 2 · max_distance + 1]
  int max_distance = 0;
};

// attention.cu ------------------------------------------------------------------------------------------------------

struct Attention {
  void* out = nullptr;  ///< [tokens, heads · head_dim]
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  int64_t out_stride = 0, q_stride = 0, k_stride = 0, v_stride = 0;
  Type type = Type::f32;             ///< of out, q, k, v
  const int32_t* offsets = nullptr;  ///< [sequences + 1]
  int tokens = 0;                    ///< host bound on offsets[sequences]
  int sequences = 0;
  int heads = 0;
  int head_dim = 0;
  int max_length = 0;  ///< host bound on the longest sequence
  float scale = 1.0f;
  bool causal = false;
  Bias bias;
};
void attention(const Attention& args, cudaStream_t stream);

// paged_attention.cu ------------------------------------------------------------------------------------------------

struct PagedAttention {
  void* out = nullptr;
  const void* q = nullptr;
  int64_t out_stride = 0, q_stride = 0;
  const void* keys = nullptr;    ///< [blocks, heads, block_tokens, head_dim]
  const void* values = nullptr;  ///< the same
  Type type = Type::f32;
  const int32_t* offsets = nullptr;          ///< [sequences + 1]
  const int32_t* context_lengths = nullptr;  ///< [sequences]; 0 with no rows is legal
  const int32_t* block_tables = nullptr;     ///< [sequences, ...]
  int64_t table_stride = 0;
  int block_tokens = 0;
  int tokens = 0;  ///< host bound on offsets[sequences]
  int sequences = 0;
  int heads = 0;
  int head_dim = 0;
  int max_query = 0;    ///< host bounds
  int max_context = 0;  ///< a graph is recorded with its bucket's bound: it may only set the grid, never the order
  float scale = 1.0f;
  bool causal = true;
  Bias bias;
  void* scratch = nullptr;
};
size_t paged_attention_scratch(const PagedAttention& args);
void paged_attention(const PagedAttention& args, cudaStream_t stream);

// select_tokens.cu --------------------------------------------------------------------------------------------------

struct Selection {
  float* logits = nullptr;  ///< [rows, vocab], overwritten
  int64_t logits_stride = 0;
  int rows = 0;
  int vocab = 0;
  const SelectionRow* row = nullptr;  ///< [rows] on the device
  const int32_t* bans = nullptr;
  int32_t* history = nullptr;  ///< [slots, capacity]
  int64_t history_stride = 0;
  int capacity = 0;
  int32_t* tokens = nullptr;  ///< [rows]
  float* logprobs = nullptr;  ///< [rows]
  int top = 0;
  int32_t* top_ids = nullptr;     ///< [rows, top]
  float* top_logprobs = nullptr;  ///< [rows, top]
  void* scratch = nullptr;
};
size_t select_tokens_scratch(const Selection& args);
void select_tokens(const Selection& args, cudaStream_t stream);

// skinny_linear.cu --------------------------------------------------------------------------------------------------

/// out = act(alpha · x Wᵀ + bias) · multiplier + residual for few rows.
struct SkinnyLinear {
  Matrix2 out;                   ///< [rows, out_columns]: type or f32
  Matrix2 x;                     ///< [rows, in]: type
  const void* weight = nullptr;  ///< [out_columns, in] contiguous, type, 256-byte aligned
  Type type = Type::f32;
  const void* bias = nullptr;  ///< [out_columns]
  Type bias_type = Type::f32;
  Matrix2 multiplier;  ///< like out
  Matrix2 residual;    ///< like out; may be the same view
  int rows = 0;
  int out_columns = 0;
  int in = 0;
  float alpha = 1.0f;
  Activation activation = Activation::none;
  void* scratch = nullptr;
};
inline constexpr int kSkinnyRows = 64;
/// Whether this path is meant to beat cuBLASLt; a pure function of its arguments.
bool skinny_linear_wins(int rows, int out_columns, int in, Type type);
size_t skinny_linear_scratch(const SkinnyLinear& args);
void skinny_linear(const SkinnyLinear& args, cudaStream_t stream);

// tiled/ ------------------------------------------------------------------------------------------------------------

/// The same products on Hopper by one of these kernels; `args.scratch` is not used.
inline constexpr int kTiledVariants = 12;
/// Whether it can: device, types, alignment, epilogue.
bool tiled_linear_suits(const SkinnyLinear& args, int variant);
/// Whether it is worth a try: no more blocks than fit at once share sums, and no tile is mostly nobody's.
bool tiled_linear_hopeful(const SkinnyLinear& args, int variant);
void tiled_linear(const SkinnyLinear& args, int variant, cudaStream_t stream);

// rows.cu, norm.cu, finish.cu
// -----------------------------------------------------------------------------------------------------------

struct EmbedTerm {
  const void* table = nullptr;  ///< [entries, width]
  int64_t stride = 0;
  Type type = Type::f32;
  const int32_t* ids = nullptr;  ///< [rows]
};
inline constexpr int kEmbedTerms = 4;
struct Embed {
  Matrix2 out;
  EmbedTerm terms[kEmbedTerms];
  int count = 0;
  int rows = 0;
  int width = 0;
  bool accumulate = false;  ///< out += terms, for longer lists
};
void embed(const Embed& args, cudaStream_t stream);

struct Norm {
  Matrix2 out, x, residual, sum;
  const void* weight = nullptr;
  Type weight_type = Type::f32;
  const void* bias = nullptr;
  Type bias_type = Type::f32;
  int rows = 0;
  int width = 0;
  float epsilon = 0.0f;
  bool centred = true;
};
void norm(const Norm& args, cudaStream_t stream);

/// out = act(alpha · product + bias) · multiplier + residual: what cuBLASLt leaves undone. `product` may be out.
struct Finish {
  Matrix2 out, product, multiplier, residual;
  const void* bias = nullptr;
  Type bias_type = Type::f32;
  int rows = 0;
  int columns = 0;
  float alpha = 1.0f;
  Activation activation = Activation::none;
};
void finish(const Finish& args, cudaStream_t stream);

/// out [rows, columns] = source as out's type; transposed: out [columns, rows].
void convert(const Matrix2& out, const Matrix2& source, int rows, int columns, bool transposed, cudaStream_t stream);

/// Copies between the device and pinned host memory by threads: for little the copy engine takes longer, for which a
/// stream's kernels stop and start again. In whole words; `source` may have been written by the host just before.
inline constexpr size_t kMostMoved = size_t{256} << 10;
inline bool can_move(const void* to, const void* from, size_t bytes) {
  return bytes <= kMostMoved && (reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from) | bytes) % 4 == 0;
}
void move(void* to, const void* from, size_t bytes, cudaStream_t stream);

void gather_rows(const Matrix2& out, const Matrix2& x, const int32_t* rows, int count, int width, cudaStream_t stream);

/// x[to[i]] = x[from[i]], rows of `bytes` bytes (even) one after another.
void copy_rows(void* x, int64_t bytes, const int32_t* from, const int32_t* to, int count, cudaStream_t stream);

/// `pooling` is ops.h's Pooling as a number.
void pool(const Matrix2& out, const Matrix2& x, const int32_t* offsets, const int32_t* which, int count, int width,
          int pooling, cudaStream_t stream);

struct StoreKv {
  void* keys = nullptr;
  void* values = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  int64_t k_stride = 0, v_stride = 0;
  Type type = Type::f32;
  const int32_t* slots = nullptr;
  int tokens = 0;
  int heads = 0;
  int head_dim = 0;
  int block_tokens = 0;
};
void store_kv(const StoreKv& args, cudaStream_t stream);

void read_history(int32_t* ids, const int32_t* history, int64_t stride, const int32_t* slots, const int32_t* positions,
                  int count, cudaStream_t stream);

void token_logprobs(float* out, const float* logits, int64_t stride, const int32_t* targets, int rows, int vocab,
                    cudaStream_t stream);

}  // namespace inazuma::cuda
