#include "kernels/cuda/home/products.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <string_view>

#include "kernels/cuda/check.h"

namespace inazuma::cuda {

namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20;
constexpr int kCandidates = 12;
constexpr int kTimings = 6;
/// A way so much slower than the best so far is not timed again.
constexpr double kHopeless = 1.25;
/// Written between timings, so that weights come from memory as they do in a model, not from the cache.
constexpr size_t kFlushBytes = size_t{96} << 20;
/// Of a product that an epilogue of ours follows: well inside the second-level cache.
constexpr int64_t kPieceBytes = int64_t{24} << 20;
/// Timed in a row, each with weights of its own that come from memory: our kernels load theirs while the one before
/// ends.
constexpr int kChain = 4;
/// Of rows; products of more are timed singly: what they gain by their neighbours is little.
constexpr int kMostChained = 4096;
/// With fewer rows most of a tile is nobody's.
constexpr int kLeastTiled = 8;
/// Multiply-adds below which any way is as good.
constexpr double kWorthASearch = 1 << 22;

void check_library(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw fail(StatusCode::internal, "{}: cuBLASLt says {}", what, cublasLtGetStatusName(status));
}

cudaDataType_t data_type(Type type) {
  return type == Type::f32 ? CUDA_R_32F : type == Type::f16 ? CUDA_R_16F : CUDA_R_16BF;
}

/// 1, 2, 4, 8, 16, 24, ..., 64, 80, ..., 128, 160, ...: the shape is searched once for all rows up to it. Eight to a
/// power of two: what is fastest changes with the number of rounds that tiles take.
int64_t bucket_of(int64_t rows) {
  int64_t power = 1;
  while (power < rows) power *= 2;
  const int64_t step = std::max<int64_t>(power / 8, 8);
  return rows <= 8 ? power : (rows + step - 1) / step * step;
}

/// Largest power of two up to 16 that divides address and stride in bytes.
uint32_t alignment_of(const void* data, int64_t stride, Type type) {
  const auto bits = reinterpret_cast<uintptr_t>(data) | static_cast<uintptr_t>(stride) * size_of(type) | 16u;
  return static_cast<uint32_t>(bits & ~(bits - 1));
}

/// Rows [begin, begin + count) of the same product.
SkinnyLinear rows_of(SkinnyLinear args, int64_t begin, int64_t count) {
  for (Matrix2* m : {&args.out, &args.x, &args.multiplier, &args.residual})
    if (m->data != nullptr)
      m->data = static_cast<char*>(m->data) + begin * m->stride * static_cast<int64_t>(size_of(m->type));
  args.rows = static_cast<int>(count);
  return args;
}

std::optional<Choice> forced_choice() {
  const char* given = std::getenv("INAZUMA_CUDA_PRODUCTS");
  if (given == nullptr || *given == '\0') return std::nullopt;
  const std::string_view way = given;
  if (way == "library") return Choice{.way = Choice::Way::library, .algorithm = {}, .variant = 0};
  if (way == "own") return Choice{};
  for (int variant = 0; variant < kTiledVariants; ++variant)
    if (way == fmt::format("tiled{}", variant))
      return Choice{.way = Choice::Way::tiled, .algorithm = {}, .variant = variant};
  throw fail(StatusCode::invalid, "INAZUMA_CUDA_PRODUCTS is {}, must be library, own or tiled0 to tiled{}", quoted(way),
             kTiledVariants - 1);
}

/// Descriptors live on the stack; nothing to destroy.
struct Layout {
  cublasLtMatrixLayoutOpaque_t opaque;
  Layout(Type type, int64_t rows, int64_t columns, int64_t stride) {
    check_library(cublasLtMatrixLayoutInit(&opaque, data_type(type), static_cast<uint64_t>(rows),
                                           static_cast<uint64_t>(columns), stride),
                  "describing a matrix");
  }
  cublasLtMatrixLayout_t get() { return &opaque; }
};

}  // namespace

/// A product as cuBLASLt sees it: column-major, D [out, rows] = W [in, out]ᵀ · x [in, rows].
struct Products::Plan {
  bool finish = false;         ///< a kernel of ours follows
  bool product_apart = false;  ///< into scratch: out is also the residual that follows
  Type product_type = Type::f32;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  bool adds = false;  ///< beta = 1, C = residual
  uint32_t align_x = 16, align_out = 16, align_residual = 16;
  ChoiceFile::Key key;

  Plan(const SkinnyLinear& a, bool invariant) {
    const bool bias = a.bias != nullptr, residual = a.residual.data != nullptr;
    // The library's relu turns NaN into 0, and its gelu is the tanh form in few digits: activations are ours.
    finish = a.multiplier.data != nullptr || a.activation != Activation::none ||
             (bias && (a.bias_type != a.out.type || reinterpret_cast<uintptr_t>(a.bias) % 16 != 0));
    product_type = a.out.type;
    product_apart = finish && residual && a.residual.data == a.out.data;
    adds = residual && !finish;
    if (!finish && bias) epilogue = CUBLASLT_EPILOGUE_BIAS;
    align_x = alignment_of(a.x.data, a.x.stride, a.x.type);
    align_out = product_apart ? 16 : alignment_of(a.out.data, a.out.stride, a.out.type);
    align_residual = adds ? alignment_of(a.residual.data, a.residual.stride, a.residual.type) : align_out;
    const int64_t types = static_cast<int64_t>(a.type) + 4 * static_cast<int64_t>(a.out.type);
    const int64_t epilogues = static_cast<int64_t>(epilogue) * 8 + adds * 4 + finish * 2 + product_apart;
    const int64_t alignments =
        (static_cast<int64_t>(align_x) * 64 + align_out) * 64 + align_residual + (int64_t{1} << 20) * invariant;
    key = {invariant ? 0 : bucket_of(a.rows), a.out_columns, a.in, types, epilogues, alignments};
  }
};

Products::Products(int device, cudaStream_t stream, bool invariant)
    : device_(device), stream_(stream), invariant_(invariant), file_([device] {
        cudaDeviceProp properties{};
        check(cudaGetDeviceProperties(&properties, device), "asking the device's name");
        return std::string(properties.name);
      }()) {
  forced_ = forced_choice();
  check_library(cublasLtCreate(&handle_), "starting cuBLASLt");
  workspace_ = device_memory(kWorkspaceBytes, device);
  check(cudaEventCreate(&begin_), "creating an event");
  check(cudaEventCreate(&end_), "creating an event");
}

Products::~Products() {
  file_.save();
  if (begin_ != nullptr) (void)cudaEventDestroy(begin_);
  if (end_ != nullptr) (void)cudaEventDestroy(end_);
  if (handle_ != nullptr) (void)cublasLtDestroy(handle_);
}

void Products::settle() {
  file_.save();
  searched_ = Buffer();
}

void Products::run(const SkinnyLinear& args, Scratch& scratch) {
  const Plan plan(args, invariant_);
  if (forced_ && forced_->way == Choice::Way::own) return own_product(args, scratch);
  if (forced_ && forced_->way == Choice::Way::tiled && tiled_linear_suits(args, forced_->variant))
    return tiled_linear(args, forced_->variant, stream_);
  const Choice* known = forced_ ? nullptr : file_.find(plan.key);
  if (known == nullptr) {
    const auto small = untimed_.find(plan.key);
    if (small != untimed_.end()) known = &small->second;
  }
  execute(args, plan, known != nullptr ? *known : choose(args, plan, scratch), scratch);
}

cublasStatus_t Products::library_product(const SkinnyLinear& args, const Plan& plan,
                                         const cublasLtMatmulAlgo_t* algorithm, void* product) {
  cublasLtMatmulDescOpaque_t description;
  check_library(cublasLtMatmulDescInit(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
  const cublasOperation_t transposed = CUBLAS_OP_T;
  const auto set = [&](cublasLtMatmulDescAttributes_t name, const auto& value) {
    check_library(cublasLtMatmulDescSetAttribute(&description, name, &value, sizeof value), "describing a product");
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, plan.epilogue);
  if (plan.epilogue == CUBLASLT_EPILOGUE_BIAS) {
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, args.bias);
    set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, data_type(args.bias_type));
  }
  const int64_t product_stride = plan.product_apart ? args.out_columns : args.out.stride;
  Layout weight(args.type, args.in, args.out_columns, args.in), x(args.type, args.in, args.rows, args.x.stride),
      out(plan.product_type, args.out_columns, args.rows, product_stride),
      residual(plan.product_type, args.out_columns, args.rows, plan.adds ? args.residual.stride : product_stride);
  const void* added = plan.adds ? args.residual.data : product;
  const float alpha = args.alpha, beta = plan.adds ? 1.0f : 0.0f;
  if (algorithm != nullptr)
    return cublasLtMatmul(handle_, &description, &alpha, args.weight, weight.get(), args.x.data, x.get(), &beta, added,
                          residual.get(), product, out.get(), algorithm, workspace_.data(), kWorkspaceBytes, stream_);
  return CUBLAS_STATUS_INVALID_VALUE;
}

void Products::own_product(const SkinnyLinear& args, Scratch& scratch) {
  for (int row = 0; row < args.rows; row += kSkinnyRows) {
    SkinnyLinear part = rows_of(args, row, std::min(kSkinnyRows, args.rows - row));
    part.scratch = scratch.at_least(skinny_linear_scratch(part));
    skinny_linear(part, stream_);
  }
}

void Products::execute(const SkinnyLinear& args, const Plan& plan, const Choice& choice, Scratch& scratch) {
  if (choice.way == Choice::Way::own) return own_product(args, scratch);
  if (choice.way == Choice::Way::tiled) {
    // A key does not say all that decides this: the bucket's other members may lie elsewhere.
    if (!tiled_linear_suits(args, choice.variant)) return own_product(args, scratch);
    return tiled_linear(args, choice.variant, stream_);
  }
  // An epilogue of ours finds the product in the cache when it follows in pieces.
  const int64_t row_bytes = args.out_columns * static_cast<int64_t>(size_of(args.out.type));
  const int64_t piece = std::max<int64_t>(kPieceBytes / row_bytes / 256 * 256, 256);
  if (args.rows <= 2 * piece || !plan.finish) return execute_library(args, plan, choice, scratch);
  for (int64_t row = 0; row < args.rows; row += piece)
    execute_library(rows_of(args, row, std::min<int64_t>(piece, args.rows - row)), plan, choice, scratch);
}

void Products::execute_library(const SkinnyLinear& args, const Plan& plan, const Choice& choice, Scratch& scratch) {
  void* product = args.out.data;
  if (plan.product_apart)
    product = scratch.at_least(static_cast<size_t>(args.rows) * static_cast<size_t>(args.out_columns) *
                               size_of(plan.product_type));
  const cublasStatus_t status = library_product(args, plan, &choice.algorithm, product);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) {
    // An algorithm of the bucket's other end, or of another release: ours takes every shape.
    return own_product(args, scratch);
  }
  check_library(status, "multiplying");
  if (!plan.finish) return;
  finish({.out = args.out,
          .product = {product, plan.product_apart ? args.out_columns : args.out.stride, plan.product_type},
          .multiplier = args.multiplier,
          .residual = args.residual,
          .bias = args.bias,
          .bias_type = args.bias_type,
          .rows = args.rows,
          .columns = args.out_columns,
          .alpha = 1.0f,
          .activation = args.activation},
         stream_);
}

double Products::time(const SkinnyLinear& args, const Plan& plan, const Choice& choice, Scratch& scratch,
                      double least) {
  // Weights that nobody has used lie at the beginning of what is flushed: its end is what then is in the cache.
  const size_t weight = (static_cast<size_t>(args.out_columns) * args.in * size_of(args.type) + 255) / 256 * 256;
  const bool chained = args.rows <= kMostChained && kChain * weight <= kFlushBytes / 3;
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= kTimings && (i < 2 || best < kHopeless * least); ++i) {
    check(cudaMemsetAsync(searched_.data(), i, kFlushBytes, stream_), "flushing the cache");
    check(cudaEventRecord(begin_, stream_), "recording an event");
    SkinnyLinear trial = args;
    for (int link = 0; link < (chained ? kChain : 1); ++link) {
      if (chained) trial.weight = static_cast<const char*>(searched_.data()) + static_cast<size_t>(link) * weight;
      execute(trial, plan, choice, scratch);
    }
    check(cudaEventRecord(end_, stream_), "recording an event");
    check(cudaEventSynchronize(end_), "timing a product");
    float milliseconds = 0.0f;
    check(cudaEventElapsedTime(&milliseconds, begin_, end_), "timing a product");
    if (i > 0) best = std::min(best, static_cast<double>(milliseconds));  // the first loads code
  }
  return best;
}

Choice Products::choose(const SkinnyLinear& args, const Plan& plan, Scratch& scratch) {
  cublasLtMatmulDescOpaque_t description;
  check_library(cublasLtMatmulDescInit(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
  const cublasOperation_t transposed = CUBLAS_OP_T;
  const auto describe = [&](cublasLtMatmulDescAttributes_t name, const auto& value) {
    check_library(cublasLtMatmulDescSetAttribute(&description, name, &value, sizeof value), "describing a product");
  };
  describe(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
  describe(CUBLASLT_MATMUL_DESC_EPILOGUE, plan.epilogue);
  if (plan.epilogue == CUBLASLT_EPILOGUE_BIAS) {
    describe(CUBLASLT_MATMUL_DESC_BIAS_POINTER, args.bias);
    describe(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, data_type(args.bias_type));
  }
  cublasLtMatmulPreferenceOpaque_t preference;
  check_library(cublasLtMatmulPreferenceInit(&preference), "describing a search");
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t name, const auto& value) {
    check_library(cublasLtMatmulPreferenceSetAttribute(&preference, name, &value, sizeof value), "describing a search");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kWorkspaceBytes});
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(args.weight, args.in, args.type));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, plan.align_x);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, plan.align_residual);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, plan.align_out);
  // Parts of a sum are added in f32, never in the output's type.
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         uint32_t{invariant_ ? CUBLASLT_REDUCTION_SCHEME_NONE : CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});

  constexpr int64_t kInvariantRows = 128;
  const int64_t rows = invariant_ ? kInvariantRows : args.rows;
  const int64_t product_stride = plan.product_apart ? args.out_columns : args.out.stride;
  Layout weight(args.type, args.in, args.out_columns, args.in), x(args.type, args.in, rows, args.x.stride),
      out(plan.product_type, args.out_columns, rows, product_stride),
      residual(plan.product_type, args.out_columns, rows, plan.adds ? args.residual.stride : product_stride);
  cublasLtMatmulHeuristicResult_t results[kCandidates];
  int found = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle_, &description, weight.get(), x.get(), residual.get(), out.get(),
                                     &preference, invariant_ ? 1 : kCandidates, results, &found);
  if (status != CUBLAS_STATUS_SUCCESS) found = 0;  // odd strides or alignments: ours takes every shape
  Choice best;
  if (found > 0) best = {.way = Choice::Way::library, .algorithm = results[0].algo, .variant = 0};

  cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream_, &capturing), "asking for a recording");
  if (capturing != cudaStreamCaptureStatusNone) return best;
  const double work = static_cast<double>(args.rows) * static_cast<double>(args.out_columns) * args.in;
  if (invariant_ || found == 0 || work < kWorthASearch) {
    if (!invariant_ && args.rows <= kSkinnyRows && skinny_linear_wins(args.rows, args.out_columns, args.in, args.type))
      best = {};
    untimed_[plan.key] = best;
    return best;
  }

  SkinnyLinear trial = args;  // into other memory: out may be an input too
  const size_t out_bytes = static_cast<size_t>(args.rows * args.out.stride) * size_of(args.out.type) + 256;
  if (searched_.bytes() < kFlushBytes + out_bytes) {
    searched_ = Buffer();
    searched_ = device_memory(kFlushBytes + out_bytes, device_);
  }
  trial.out.data = static_cast<char*>(searched_.data()) + kFlushBytes +
                   (plan.product_apart ? 0 : reinterpret_cast<uintptr_t>(args.out.data) % 16);
  double least = std::numeric_limits<double>::infinity();
  const auto consider = [&](const Choice& choice) {
    const double taken = time(trial, plan, choice, scratch, least);
    if (taken < least) least = taken, best = choice;
  };
  for (int i = 0; i < found; ++i) consider({.way = Choice::Way::library, .algorithm = results[i].algo, .variant = 0});
  if (forced_) {
    untimed_[plan.key] = best;
    return best;
  }
  if (args.rows <= kSkinnyRows) consider({});
  for (int variant = 0; variant < kTiledVariants && args.rows > kLeastTiled; ++variant)
    if (tiled_linear_suits(args, variant) && tiled_linear_hopeful(args, variant))
      consider({.way = Choice::Way::tiled, .algorithm = {}, .variant = variant});
  file_.add(plan.key, best);
  return best;
}

}  // namespace inazuma::cuda
