#pragma once
// The one list of operations that models and the engine are made of. Homes: reference/ (the oracle), cpu/, cuda/.
//
// Public methods check devices, dtypes and shapes once, with one message that names the operation and both shapes, and
// then call a private pure virtual: a new operation does not compile until every home has it. A violated check is a
// defect of the caller (Error internal). Everything is ragged: rows of all sequences lie one after another and integer
// arrays say where each begins; there is no padding. Views are row-major with a contiguous innermost axis; where a row
// stride may exceed the row it says so. "compute dtype" is the element type of activations (f32 on the CPU; f32, f16 or
// bf16 on a GPU); reductions and softmax are at least f32 everywhere. Integer arrays are i32 on the home's device.
//
// Work is ordered on the stream the home was made for and may return before it is done; only `download`, `wait` and
// `synchronize` wait. No method but the ones under "weights and memory" allocates, so that a step can be recorded and
// replayed. (A home grows its own scratch, and searches for its fastest product, the first time that it meets a larger
// step: run a step once before recording it.)
//
// Neighbours do not matter: within one home and instruction set, a row (of linear, norm, embed, ...) or a sequence (of
// attention) gets the same bits alone, in any batch, with any number of threads; and rows of paged_attention get the
// same bits whether a prompt is read whole or in chunks. Homes keep this by one fixed order of every reduction. One
// exception: linear on a GPU picks its way by the number of rows, unless CudaOptions::invariant forbids it.
//
// NaN and infinities pass through as IEEE arithmetic has them, and never from one row or sequence to another.
// select_tokens is the exception: there NaN counts as -inf (never chosen), +inf as the largest finite score, and a row
// in which nothing can be chosen gives token 0 with log-probability NaN.

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "kernels/activation.h"
#include "kernels/selection_row.h"
#include "tensor/tensor.h"

namespace inazuma {

/// By the names of `hidden_act` in config.json ("gelu_new", "swish", ...); invalid lists the known ones.
Result<Activation> parse_activation(std::string_view name);
std::string_view name(Activation activation);

/// How a stored weight lies: Linear is [out, in] (y = x Wᵀ), GPT-2's Conv1D is [in, out] (y = x W).
enum class WeightLayout { out_in, in_out };

/// Right side of a dense product, laid out and typed for one home. Immutable; shared by all instances on the device.
struct PackedMatrix {
  int64_t out = 0;
  int64_t in = 0;
  size_t bytes = 0;
  virtual ~PackedMatrix() = default;
};
using Matrix = std::shared_ptr<const PackedMatrix>;

/// A weight that is not a matrix product's: table, norm weight, bias. Immutable; shared.
struct Parameter {
  Tensor tensor;
  std::shared_ptr<const Buffer> memory;
  bool defined() const { return tensor.defined(); }
};

/// out = act(alpha · x Wᵀ + bias) · multiplier + residual, in that order.
struct LinearArgs {
  Tensor out;  ///< [rows, W.out], compute dtype or f32; row stride may exceed the row
  Tensor x;    ///< [rows, W.in], compute dtype; row stride may exceed the row
  const PackedMatrix* weight = nullptr;
  Tensor bias;  ///< [W.out] or undefined
  Activation activation = Activation::none;
  Tensor multiplier;  ///< like out, or undefined (gated feed-forward)
  Tensor residual;    ///< like out, or undefined; may be the same view as out
  float alpha = 1.0f;
};

enum class NormKind {
  layer,  ///< (x - mean) / sqrt(var + eps) · weight + bias, biased variance
  rms,    ///< x / sqrt(mean(x²) + eps) · weight (T5), no bias
};
/// sum = x + residual; out = norm(sum).
struct NormArgs {
  Tensor out;       ///< [rows, width], compute dtype or f32; may be the same view as x
  Tensor x;         ///< [rows, width]; row stride may exceed the row
  Tensor residual;  ///< like x, or undefined
  Tensor sum;  ///< like x, or undefined: where x + residual is kept (pre-norm blocks); may be the same view as residual
               ///< or x
  Tensor weight;  ///< [width]
  Tensor bias;    ///< [width], or undefined
  float epsilon = 1e-5f;
  NormKind kind = NormKind::layer;
};

/// One summand of an embedding: row ids[t] of `table`.
struct EmbeddingTerm {
  Tensor table;  ///< [entries, width]
  Tensor ids;    ///< [tokens] i32, each in [0, entries)
};

/// Additive attention bias that depends on head and distance only (T5): score += table[head, clamp(key - query) +
/// max_distance].
struct RelativeBias {
  Tensor table;  ///< [heads, 2 · max_distance + 1] f32, or undefined for no bias
  int max_distance = 0;
};

/// Attention among the rows of each sequence of this step (encoders; K and V are not kept).
struct AttentionArgs {
  Tensor out;      ///< [tokens, heads · head_dim]
  Tensor q, k, v;  ///< [tokens, heads · head_dim]; row stride may exceed the row (fused QKV)
  Tensor offsets;  ///< [sequences + 1] i32: rows of sequence s are [offsets[s], offsets[s + 1])
  int heads = 0;
  int head_dim = 0;
  int max_length = 0;  ///< host bound on the longest sequence
  float scale = 1.0f;
  bool causal = false;
  RelativeBias bias;
};

/// Attention of this step's rows over keys and values kept in pool blocks (decoders; cross-attention).
/// Query row i of n of a sequence with context c stands at position c - n + i; causal rows see keys up to their own
/// position, others see all c.
struct PagedAttentionArgs {
  Tensor out;              ///< [tokens, heads · head_dim]
  Tensor q;                ///< [tokens, heads · head_dim]; row stride may exceed the row
  Tensor keys, values;     ///< one layer of the pool: [blocks, heads, block_tokens, head_dim]
  Tensor offsets;          ///< [sequences + 1] i32: query rows of each sequence
  Tensor context_lengths;  ///< [sequences] i32: keys of each sequence, this step's included
  Tensor block_tables;     ///< [sequences, max_blocks] i32: row stride may exceed the row
  int heads = 0;
  int head_dim = 0;
  int max_query = 0;  ///< host bounds
  int max_context = 0;
  float scale = 1.0f;
  bool causal = true;
  RelativeBias bias;
};

/// Puts this step's keys and values where the block tables will find them.
struct StoreKvArgs {
  Tensor keys, values;  ///< one layer of the pool: [blocks, heads, block_tokens, head_dim]
  Tensor k, v;          ///< [tokens, heads · head_dim]; row stride may exceed the row
  Tensor slots;         ///< [tokens] i32: block · block_tokens + place in the block; negative = do not keep
};

/// Over the rows of a sequence; weighted_mean weighs row i (from 1) by i, mean_sqrt_len divides the sum by sqrt(rows).
/// An empty sequence pools to zeros.
enum class Pooling { mean, cls, max, mean_sqrt_len, weighted_mean, last };
Result<Pooling> parse_pooling(std::string_view name);
std::string_view name(Pooling pooling);

struct SelectionArgs {
  Tensor logits;    ///< [rows, vocab] f32; overwritten
  Tensor rows;      ///< [rows, sizeof(SelectionRow)] u8
  Tensor bans;      ///< [bans] i32 ids, or undefined
  Tensor history;   ///< [slots, capacity] i32: decoder-side ids of each running sequence, prompt included
  Tensor tokens;    ///< out [rows] i32
  Tensor logprobs;  ///< out [rows] f32: log-softmax of the scores after processors and warpers at the chosen token
                    ///< (the score itself with SelectionRow::log_softmax_first)
  Tensor top_ids;   ///< out [rows, n] i32 best first, ties by id, or undefined; removed ids have log-probability -inf
  Tensor top_logprobs;  ///< out [rows, n] f32, or undefined
};

/// Work of one home recorded for replaying (a device graph): the same operations on the same addresses.
class Recording {
 public:
  virtual ~Recording() = default;
};

class Ops {
 public:
  virtual ~Ops() = default;
  Ops() = default;
  Ops(const Ops&) = delete;
  Ops& operator=(const Ops&) = delete;

  virtual Stream stream() const = 0;
  virtual DType compute_dtype() const = 0;
  /// What works here, for people and logs: "cpu avx512 (2 threads)", "cuda:0 NVIDIA H200 bf16".
  virtual std::string description() const = 0;

  // Weights and memory. -----------------------------------------------------------------------------------------------
  /// Host tensors (f32, f16 or bf16) to this home's layout; several are stacked along `out` (fused QKV). A tensor
  /// without data (a dry run, or missing: WeightReader reports it) gives a null Matrix.
  Matrix pack(std::span<const Tensor> weights, WeightLayout layout);
  Matrix pack(const Tensor& weight, WeightLayout layout) { return pack(std::span(&weight, 1), layout); }
  /// A host tensor, converted to `dtype`, on the device; several are joined along axis 0. Without data: an undefined
  /// Parameter.
  Parameter parameter(std::span<const Tensor> parts, DType dtype);
  Parameter parameter(const Tensor& host, DType dtype) { return parameter(std::span(&host, 1), dtype); }
  /// Device memory. Throws Error(out_of_memory).
  virtual Buffer allocate(size_t bytes) = 0;
  /// Host to device, in stream order; `source` may be reused when the call returns.
  void upload(const Tensor& destination, const void* source);
  /// Device to host; waits for the work before it.
  void download(void* destination, const Tensor& source);
  virtual void synchronize() = 0;
  /// Ok, or why nothing that is asked of this home can succeed any more: a lost device, a fault in a kernel (CUDA then
  /// refuses all further work of the process on that device). unavailable.
  virtual Status health() const { return {}; }
  /// Host memory that `download_later` can fill.
  virtual Buffer allocate_host(size_t bytes) { return Buffer::host(bytes); }
  /// Device to host, in stream order, without waiting: `destination`, of allocate_host, is filled once a `mark` made
  /// after this call has been waited for. (Where the host does the work it is filled at once.)
  void download_later(void* destination, const Tensor& source);
  /// A place in the order of work; of the last few only.
  virtual uint64_t mark() { return 0; }
  /// Returns when all work before `mark` is done. Throws what went wrong with it.
  virtual void wait(uint64_t) {}
  /// Whether `wait` would return at once.
  virtual bool passed(uint64_t) { return true; }

  // Recorded steps. ---------------------------------------------------------------------------------------------------
  /// Whether `record` does anything here.
  virtual bool records() const { return false; }
  /// Calls `work`, whose step operations are recorded instead of done. It has been run once before with the same
  /// shapes, and neither allocates, uploads nor downloads. Recordings are dropped before their home. Null where
  /// records() is false (and `work` is not called).
  virtual std::unique_ptr<Recording> record(const std::function<void()>& work);
  /// Does what was recorded, in stream order, with what the arrays hold now. The recording must outlive the work.
  virtual void replay(const Recording& recording);

  // Steps. ------------------------------------------------------------------------------------------------------------
  /// out[t] = Σ terms, summed in the order given. out [tokens, width], compute dtype or f32.
  void embed(const Tensor& out, std::span<const EmbeddingTerm> terms);
  void linear(const LinearArgs& args);
  void norm(const NormArgs& args);
  void attention(const AttentionArgs& args);
  void paged_attention(const PagedAttentionArgs& args);
  void store_kv(const StoreKvArgs& args);
  /// out[i] = x[rows[i]]. out may be f32 while x is in the compute dtype.
  void gather_rows(const Tensor& out, const Tensor& x, const Tensor& rows);
  /// x[to[i]] = x[from[i]], in place: blocks of the pool that a second writer needs for itself. x [rows, width] of any
  /// type; from, to [n] i32. No row is written twice, and none that is written is also read.
  void copy_rows(const Tensor& x, const Tensor& from, const Tensor& to);
  /// out[i] = pooled rows of sequence which[i]. out [n, width], compute dtype (a pooler reads it) or f32, x [tokens,
  /// width], offsets [sequences + 1], which [n] i32.
  void pool(const Tensor& out, const Tensor& x, const Tensor& offsets, const Tensor& which, Pooling pooling);
  /// ids[t] = history[slots[t], positions[t]].
  void read_history(const Tensor& ids, const Tensor& history, const Tensor& slots, const Tensor& positions);
  void select_tokens(const SelectionArgs& args);
  /// out[i] = log-softmax(logits[i])[targets[i]]. logits [rows, vocab] f32, targets [rows] i32, out [rows] f32.
  void token_logprobs(const Tensor& out, const Tensor& logits, const Tensor& targets);

 private:
  virtual Matrix do_pack(std::span<const Tensor> weights, WeightLayout layout) = 0;
  virtual Parameter do_parameter(std::span<const Tensor> parts, DType dtype) = 0;
  virtual void do_upload(const Tensor& destination, const void* source) = 0;
  virtual void do_download(void* destination, const Tensor& source) = 0;
  virtual void do_download_later(void* destination, const Tensor& source) { do_download(destination, source); }
  virtual void do_embed(const Tensor& out, std::span<const EmbeddingTerm> terms) = 0;
  virtual void do_linear(const LinearArgs& args) = 0;
  virtual void do_norm(const NormArgs& args) = 0;
  virtual void do_attention(const AttentionArgs& args) = 0;
  virtual void do_paged_attention(const PagedAttentionArgs& args) = 0;
  virtual void do_store_kv(const StoreKvArgs& args) = 0;
  virtual void do_gather_rows(const Tensor& out, const Tensor& x, const Tensor& rows) = 0;
  virtual void do_copy_rows(const Tensor& x, const Tensor& from, const Tensor& to) = 0;
  virtual void do_pool(const Tensor& out, const Tensor& x, const Tensor& offsets, const Tensor& which,
                       Pooling pooling) = 0;
  virtual void do_read_history(const Tensor& ids, const Tensor& history, const Tensor& slots,
                               const Tensor& positions) = 0;
  virtual void do_select_tokens(const SelectionArgs& args) = 0;
  virtual void do_token_logprobs(const Tensor& out, const Tensor& logits, const Tensor& targets) = 0;
};

/// The oracle: plain loops, double accumulators, one thread.
std::unique_ptr<Ops> make_reference_ops();

struct CpuOptions {
  int threads = 0;  ///< intra-op threads; 0 = one per core that the process may use
  std::string isa;  ///< "" = best the machine has (or $INAZUMA_CPU_ISA), "baseline", "avx2", "avx512", "amx"; invalid if absent
};
Result<std::unique_ptr<Ops>> make_cpu_ops(const CpuOptions& options = {});
/// The instruction sets this machine can run, best first.
std::span<const std::string_view> available_cpu_isas();

struct CudaOptions {
  int index = 0;
  DType dtype = DType::f16;  ///< f32 (computed as such, never as TF32), f16 or bf16
  /// One way to multiply a weight whatever the number of rows: answers do not depend on the batch to the bit. Slower.
  bool invariant = false;
};
/// unsupported: "built without CUDA", no driver or one too old, a GPU before compute capability 8.0; unavailable: no
/// such GPU; invalid: dtype.
Result<std::unique_ptr<Ops>> make_cuda_ops(const CudaOptions& options);
/// Whether there is such a GPU and this program can use it; else why not, as make_cuda_ops would say.
Status find_cuda(int index);
/// Whether this program was built with the GPU home.
bool cuda_built_in();

}  // namespace inazuma
