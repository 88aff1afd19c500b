#include "kernels/cuda/home/cuda_ops.h"

#include <algorithm>

#include "kernels/cuda/check.h"

namespace inazuma {

using cuda::Matrix2;

namespace {

cuda::Type type_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return cuda::Type::f32;
    case DType::f16: return cuda::Type::f16;
    case DType::bf16: return cuda::Type::bf16;
    default: throw fail(StatusCode::internal, "no kernel computes in {}", name(dtype));
  }
}

Matrix2 matrix(const Tensor& t) {
  if (!t.defined()) return {};
  return {t.data(), t.stride(0), type_of(t.dtype())};
}

const int32_t* ints(const Tensor& t) {
  return static_cast<const int32_t*>(t.data());
}

cuda::Bias bias_of(const RelativeBias& bias) {
  return {static_cast<const float*>(bias.table.data()), bias.max_distance};
}

int count_of(int64_t n) {
  return static_cast<int>(n);
}

struct Graph final : Recording {
  cudaGraphExec_t executable = nullptr;
  ~Graph() override {
    if (executable != nullptr) (void)cudaGraphExecDestroy(executable);
  }
};

}  // namespace

CudaOps::OwnedStream::OwnedStream() {
  cuda::check(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking), "making a stream");
}

CudaOps::OwnedStream::~OwnedStream() {
  (void)cudaStreamSynchronize(handle);
  (void)cudaStreamDestroy(handle);
}

CudaOps::CudaOps(const CudaOptions& options)
    : options_((cuda::check(cudaSetDevice(options.index), "choosing a device"), options)),
      transfers_(stream_.handle),
      scratch_(options.index),
      products_(options.index, stream_.handle, options.invariant) {
  cudaDeviceProp properties{};
  cuda::check(cudaGetDeviceProperties(&properties, options.index), "asking the device's name");
  description_ = fmt::format("cuda:{} {} {}{}", options.index, properties.name, name(options.dtype),
                             options.invariant ? " invariant" : "");
}

CudaOps::~CudaOps() {
  (void)cudaSetDevice(options_.index);
  (void)cudaStreamSynchronize(stream_.handle);  // before what the work uses goes away
}

void CudaOps::enter() const {
  cuda::check(cudaSetDevice(options_.index), "choosing a device");
}

Buffer CudaOps::allocate(size_t bytes) {
  enter();
  return cuda::device_memory(bytes, options_.index);
}

void CudaOps::synchronize() {
  enter();
  cuda::check(cudaStreamSynchronize(stream_.handle), "waiting for the device");
  staging_ = Buffer();
  products_.settle();
}

Status CudaOps::health() const {
  (void)cudaSetDevice(options_.index);
  const cudaError_t status = cudaStreamQuery(stream_.handle);
  if (status == cudaErrorNotReady) (void)cudaGetLastError();
  if (status == cudaSuccess || status == cudaErrorNotReady) return {};
  return Status(StatusCode::unavailable,
                fmt::format("cuda:{} is lost: {} ({}); restart the server to use it again", options_.index,
                            cudaGetErrorString(status), cudaGetErrorName(status)));
}

Buffer CudaOps::allocate_host(size_t bytes) {
  enter();
  return cuda::pinned_memory(bytes);
}

uint64_t CudaOps::mark() {
  enter();
  return marks_.set(stream_.handle);
}

void CudaOps::wait(uint64_t mark) {
  enter();
  marks_.wait(mark);
}

bool CudaOps::passed(uint64_t mark) {
  enter();
  return marks_.passed(mark);
}

std::unique_ptr<Recording> CudaOps::record(const std::function<void()>& work) {
  enter();
  cuda::check(cudaStreamBeginCapture(stream_.handle, cudaStreamCaptureModeThreadLocal), "starting to record");
  cudaGraph_t graph = nullptr;
  try {
    work();
  } catch (...) {
    (void)cudaStreamEndCapture(stream_.handle, &graph);
    if (graph != nullptr) (void)cudaGraphDestroy(graph);
    (void)cudaGetLastError();
    throw;
  }
  cuda::check(cudaStreamEndCapture(stream_.handle, &graph), "recording a step");
  auto recording = std::make_unique<Graph>();
  const cudaError_t status = cudaGraphInstantiate(&recording->executable, graph, 0);
  (void)cudaGraphDestroy(graph);
  cuda::check(status, "making a recorded step ready");
  return recording;
}

void CudaOps::replay(const Recording& recording) {
  enter();
  cuda::check(cudaGraphLaunch(dynamic_cast<const Graph&>(recording).executable, stream_.handle),
              "replaying a recorded step");
}

// Weights and memory. -------------------------------------------------------------------------------------------------

void CudaOps::place(const Matrix2& out, const Tensor& source, bool transposed) {
  const auto rows = static_cast<size_t>(source.rows()), width = static_cast<size_t>(source.cols());
  const size_t element = size_of(source.dtype()), pitch = static_cast<size_t>(source.stride(0)) * element;
  const cuda::Type stored = type_of(source.dtype());
  const bool direct = !transposed && stored == out.type && out.stride == source.cols();
  if (!direct && staging_.bytes() < rows * width * element) {
    cuda::check(cudaStreamSynchronize(stream_.handle), "loading weights");
    staging_ = Buffer();
    staging_ = cuda::device_memory(rows * width * element, options_.index);
  }
  void* to = direct ? out.data : staging_.data();
  const char* from = static_cast<const char*>(source.data());
  if (pitch == width * element) {
    cuda::check(cudaMemcpyAsync(to, from, rows * pitch, cudaMemcpyHostToDevice, stream_.handle), "loading weights");
  } else {
    cuda::check(cudaMemcpy2DAsync(to, width * element, from, pitch, width * element, rows, cudaMemcpyHostToDevice,
                                  stream_.handle),
                "loading weights");
  }
  if (!direct)
    cuda::convert(out, {to, static_cast<int64_t>(width), stored}, count_of(source.rows()), count_of(source.cols()),
                  transposed, stream_.handle);
}

Matrix CudaOps::do_pack(std::span<const Tensor> weights, WeightLayout layout) {
  enter();
  const bool out_in = layout == WeightLayout::out_in;
  auto packed = std::make_shared<CudaMatrix>();
  packed->in = weights[0].shape()[out_in ? 1 : 0];
  for (const Tensor& weight : weights) packed->out += weight.shape()[out_in ? 0 : 1];
  packed->dtype = options_.dtype;
  packed->bytes = static_cast<size_t>(packed->out * packed->in) * size_of(options_.dtype);
  packed->memory = cuda::device_memory(packed->bytes, options_.index);
  char* out = static_cast<char*>(packed->memory.data());
  for (const Tensor& weight : weights) {
    place({out, packed->in, type_of(options_.dtype)}, weight, !out_in);
    out += static_cast<size_t>(weight.elements()) * size_of(options_.dtype);
  }
  cuda::check(cudaStreamSynchronize(stream_.handle), "loading weights");  // other streams may read it now
  return packed;
}

Parameter CudaOps::do_parameter(std::span<const Tensor> parts, DType dtype) {
  enter();
  std::array<int64_t, Shape::kMaxRank> extents{};
  const Shape& first = parts[0].shape();
  for (int axis = 0; axis < first.rank(); ++axis) extents[static_cast<size_t>(axis)] = first[axis];
  extents[0] = 0;
  size_t elements = 0;
  for (const Tensor& part : parts) {
    extents[0] += part.rows();
    elements += static_cast<size_t>(part.elements());
  }
  auto memory = std::make_shared<Buffer>(cuda::device_memory(elements * size_of(dtype), options_.index));
  char* out = static_cast<char*>(memory->data());
  for (const Tensor& part : parts) {
    const size_t bytes = static_cast<size_t>(part.elements()) * size_of(dtype);
    if (bytes == 0) continue;
    if (part.dtype() == dtype) {
      cuda::check(cudaMemcpyAsync(out, part.data(), bytes, cudaMemcpyHostToDevice, stream_.handle), "loading weights");
    } else {
      const int64_t columns = part.shape().rank() == 1 ? part.elements() : part.elements() / part.rows();
      place({out, columns, type_of(dtype)}, part.reshaped(Shape{part.elements() / columns, columns}), false);
    }
    out += bytes;
  }
  cuda::check(cudaStreamSynchronize(stream_.handle), "loading weights");
  const Shape shape(std::span<const int64_t>(extents.data(), static_cast<size_t>(first.rank())));
  return {memory->tensor(dtype, shape), memory};
}

void CudaOps::do_upload(const Tensor& destination, const void* source) {
  enter();
  transfers_.to_device(destination.data(), source, destination.bytes(), marks_.ahead());
}

void CudaOps::do_download(void* destination, const Tensor& source) {
  enter();
  transfers_.from_device(destination, source.data(), source.bytes());
}

void CudaOps::do_download_later(void* destination, const Tensor& source) {
  enter();
  if (cuda::can_move(destination, source.data(), source.bytes()))
    return cuda::move(destination, source.data(), source.bytes(), stream_.handle);
  cuda::check(cudaMemcpyAsync(destination, source.data(), source.bytes(), cudaMemcpyDeviceToHost, stream_.handle),
              "copying from the device");
}

// Steps. --------------------------------------------------------------------------------------------------------------

void CudaOps::do_embed(const Tensor& out, std::span<const EmbeddingTerm> terms) {
  enter();
  // The first terms in one sweep; lists longer than any model's go on from what was stored.
  for (size_t begin = 0; begin < terms.size(); begin += cuda::kEmbedTerms) {
    const auto part = terms.subspan(begin, std::min(terms.size() - begin, size_t{cuda::kEmbedTerms}));
    cuda::Embed args{.out = matrix(out), .rows = count_of(out.rows()), .width = count_of(out.cols())};
    args.accumulate = begin > 0;
    for (const EmbeddingTerm& term : part)
      args.terms[args.count++] = {term.table.data(), term.table.stride(0), type_of(term.table.dtype()), ints(term.ids)};
    cuda::embed(args, stream_.handle);
  }
}

void CudaOps::do_linear(const LinearArgs& args) {
  enter();
  const auto* weight = dynamic_cast<const CudaMatrix*>(args.weight);
  if (weight == nullptr || weight->dtype != options_.dtype || weight->memory.device() != stream().device)
    throw fail(StatusCode::internal, "linear: the weight was packed for another home than {}", description_);
  cuda::SkinnyLinear product{.out = matrix(args.out),
                             .x = matrix(args.x),
                             .weight = weight->memory.data(),
                             .type = type_of(options_.dtype),
                             .multiplier = matrix(args.multiplier),
                             .residual = matrix(args.residual),
                             .rows = count_of(args.x.rows()),
                             .out_columns = count_of(weight->out),
                             .in = count_of(weight->in),
                             .alpha = args.alpha,
                             .activation = args.activation};
  if (args.bias.defined()) {
    product.bias = args.bias.data();
    product.bias_type = type_of(args.bias.dtype());
  }
  products_.run(product, scratch_);
}

void CudaOps::do_norm(const NormArgs& args) {
  enter();
  cuda::Norm norm{.out = matrix(args.out),
                  .x = matrix(args.x),
                  .residual = matrix(args.residual),
                  .sum = matrix(args.sum),
                  .weight = args.weight.data(),
                  .weight_type = type_of(args.weight.dtype()),
                  .rows = count_of(args.x.rows()),
                  .width = count_of(args.x.cols()),
                  .epsilon = args.epsilon,
                  .centred = args.kind == NormKind::layer};
  if (args.bias.defined()) {
    norm.bias = args.bias.data();
    norm.bias_type = type_of(args.bias.dtype());
  }
  cuda::norm(norm, stream_.handle);
}

void CudaOps::do_attention(const AttentionArgs& args) {
  enter();
  cuda::attention({.out = args.out.data(),
                   .q = args.q.data(),
                   .k = args.k.data(),
                   .v = args.v.data(),
                   .out_stride = args.out.stride(0),
                   .q_stride = args.q.stride(0),
                   .k_stride = args.k.stride(0),
                   .v_stride = args.v.stride(0),
                   .type = type_of(options_.dtype),
                   .offsets = ints(args.offsets),
                   .tokens = count_of(args.q.rows()),
                   .sequences = count_of(args.offsets.rows() - 1),
                   .heads = args.heads,
                   .head_dim = args.head_dim,
                   .max_length = args.max_length,
                   .scale = args.scale,
                   .causal = args.causal,
                   .bias = bias_of(args.bias)},
                  stream_.handle);
}

void CudaOps::do_paged_attention(const PagedAttentionArgs& args) {
  enter();
  cuda::PagedAttention paged{.out = args.out.data(),
                             .q = args.q.data(),
                             .out_stride = args.out.stride(0),
                             .q_stride = args.q.stride(0),
                             .keys = args.keys.data(),
                             .values = args.values.data(),
                             .type = type_of(options_.dtype),
                             .offsets = ints(args.offsets),
                             .context_lengths = ints(args.context_lengths),
                             .block_tables = ints(args.block_tables),
                             .table_stride = args.block_tables.stride(0),
                             .block_tokens = count_of(args.keys.shape()[2]),
                             .tokens = count_of(args.q.rows()),
                             .sequences = count_of(args.offsets.rows() - 1),
                             .heads = args.heads,
                             .head_dim = args.head_dim,
                             .max_query = args.max_query,
                             .max_context = args.max_context,
                             .scale = args.scale,
                             .causal = args.causal,
                             .bias = bias_of(args.bias)};
  paged.scratch = scratch_.at_least(cuda::paged_attention_scratch(paged));
  cuda::paged_attention(paged, stream_.handle);
}

void CudaOps::do_store_kv(const StoreKvArgs& args) {
  enter();
  cuda::store_kv({.keys = args.keys.data(),
                  .values = args.values.data(),
                  .k = args.k.data(),
                  .v = args.v.data(),
                  .k_stride = args.k.stride(0),
                  .v_stride = args.v.stride(0),
                  .type = type_of(options_.dtype),
                  .slots = ints(args.slots),
                  .tokens = count_of(args.k.rows()),
                  .heads = count_of(args.keys.shape()[1]),
                  .head_dim = count_of(args.keys.shape()[3]),
                  .block_tokens = count_of(args.keys.shape()[2])},
                 stream_.handle);
}

void CudaOps::do_gather_rows(const Tensor& out, const Tensor& x, const Tensor& rows) {
  enter();
  cuda::gather_rows(matrix(out), matrix(x), ints(rows), count_of(rows.rows()), count_of(x.cols()), stream_.handle);
}

void CudaOps::do_copy_rows(const Tensor& x, const Tensor& from, const Tensor& to) {
  enter();
  const int64_t bytes = x.cols() * static_cast<int64_t>(size_of(x.dtype()));
  cuda::copy_rows(x.data(), bytes, ints(from), ints(to), count_of(from.rows()), stream_.handle);
}

void CudaOps::do_pool(const Tensor& out, const Tensor& x, const Tensor& offsets, const Tensor& which, Pooling pooling) {
  enter();
  cuda::pool(matrix(out), matrix(x), ints(offsets), ints(which), count_of(which.rows()), count_of(x.cols()),
             static_cast<int>(pooling), stream_.handle);
}

void CudaOps::do_read_history(const Tensor& ids, const Tensor& history, const Tensor& slots, const Tensor& positions) {
  enter();
  cuda::read_history(static_cast<int32_t*>(ids.data()), ints(history), history.stride(0), ints(slots), ints(positions),
                     count_of(ids.rows()), stream_.handle);
}

void CudaOps::do_select_tokens(const SelectionArgs& args) {
  enter();
  cuda::Selection selection{.logits = static_cast<float*>(args.logits.data()),
                            .logits_stride = args.logits.stride(0),
                            .rows = count_of(args.logits.rows()),
                            .vocab = count_of(args.logits.cols()),
                            .row = static_cast<const SelectionRow*>(args.rows.data()),
                            .bans = ints(args.bans),
                            .history = static_cast<int32_t*>(args.history.data()),
                            .history_stride = args.history.stride(0),
                            .capacity = count_of(args.history.cols()),
                            .tokens = static_cast<int32_t*>(args.tokens.data()),
                            .logprobs = static_cast<float*>(args.logprobs.data())};
  if (args.top_ids.defined()) {
    selection.top = count_of(args.top_ids.cols());
    selection.top_ids = static_cast<int32_t*>(args.top_ids.data());
    selection.top_logprobs = static_cast<float*>(args.top_logprobs.data());
  }
  selection.scratch = scratch_.at_least(cuda::select_tokens_scratch(selection));
  cuda::select_tokens(selection, stream_.handle);
}

void CudaOps::do_token_logprobs(const Tensor& out, const Tensor& logits, const Tensor& targets) {
  enter();
  cuda::token_logprobs(static_cast<float*>(out.data()), static_cast<const float*>(logits.data()), logits.stride(0),
                       ints(targets), count_of(logits.rows()), count_of(logits.cols()), stream_.handle);
}

}  // namespace inazuma
