// What every home may rely on: devices, dtypes and shapes are checked here, once, before the home is called.

#include "kernels/ops.h"

#include <algorithm>

namespace inazuma {

namespace {

// Checks of one call: names the operation in every message.
class Check {
 public:
  Check(std::string_view op, const Ops& ops) : op_(op), device_(ops.stream().device), compute_(ops.compute_dtype()) {}

  template <class... Args>
  void that(bool condition, fmt::format_string<Args...> format, Args&&... args) const {
    if (!condition) throw fail(StatusCode::internal, "{}: {}", op_, fmt::format(format, std::forward<Args>(args)...));
  }

  void shape(std::string_view what, const Tensor& t, const Shape& expected) const {
    that(t.shape() == expected, "{} is {}, expected {}", what, to_string(t.shape()), to_string(expected));
    that(t.defined() || t.elements() == 0, "{} {} has no memory", what, to_string(expected));
    that(t.device() == device_, "{} is on {}, expected {}", what, to_string(t.device()), to_string(device_));
  }
  // The compute dtype or f32.
  void real(std::string_view what, const Tensor& t, const Shape& expected) const {
    shape(what, t, expected);
    that(t.dtype() == compute_ || t.dtype() == DType::f32, "{} is {}, expected {} or float32", what, name(t.dtype()),
         name(compute_));
  }
  void typed(std::string_view what, const Tensor& t, const Shape& expected, DType dtype) const {
    shape(what, t, expected);
    that(t.dtype() == dtype, "{} is {}, expected {}", what, name(t.dtype()), name(dtype));
  }
  void contiguous(std::string_view what, const Tensor& t, const Shape& expected, DType dtype) const {
    typed(what, t, expected, dtype);
    that(t.elements() == 0 || t.contiguous(), "{} {} must be contiguous", what, to_string(expected));
  }
  void integers(std::string_view what, const Tensor& t, int64_t count) const {
    contiguous(what, t, Shape{count}, DType::i32);
  }
  void same_dtype(std::string_view what, const Tensor& t, std::string_view other, const Tensor& u) const {
    that(t.dtype() == u.dtype(), "{} is {} but {} is {}", what, name(t.dtype()), other, name(u.dtype()));
  }
  void rank(std::string_view what, const Tensor& t, int expected) const {
    that(t.shape().rank() == expected, "{} is {}, expected rank {}", what, to_string(t.shape()), expected);
  }
  // Values that live in the compute dtype only.
  void computed(std::string_view what, const Tensor& t, const Shape& expected) const {
    typed(what, t, expected, compute_);
  }

 private:
  std::string_view op_;
  Device device_;
  DType compute_;
};

int64_t sequences_of(const Check& check, const Tensor& offsets) {
  check.rank("offsets", offsets, 1);
  check.that(offsets.rows() >= 1, "offsets is empty, expected sequences + 1 entries");
  check.integers("offsets", offsets, offsets.rows());
  return offsets.rows() - 1;
}

void check_relative_bias(const Check& check, const RelativeBias& bias, int64_t heads) {
  if (!bias.table.defined()) return;
  check.that(bias.max_distance >= 0, "bias distance is {}, must be >= 0", bias.max_distance);
  check.contiguous("bias table", bias.table, Shape{heads, 2 * int64_t{bias.max_distance} + 1}, DType::f32);
}

bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

}  // namespace

std::unique_ptr<Recording> Ops::record(const std::function<void()>&) {
  return nullptr;
}

void Ops::replay(const Recording&) {
  throw fail(StatusCode::internal, "replay: {} records nothing", description());
}

Matrix Ops::pack(std::span<const Tensor> weights, WeightLayout layout) {
  const Check check("pack", *this);
  check.that(!weights.empty(), "no weight given");
  for (const Tensor& weight : weights)
    if (!weight.defined()) return nullptr;
  const int in_axis = layout == WeightLayout::out_in ? 1 : 0;
  for (const Tensor& weight : weights) {
    check.rank("weight", weight, 2);
    check.that(weight.device().is_cpu(), "weight is on {}, expected host memory", to_string(weight.device()));
    check.that(is_float(weight.dtype()), "weight is {}, expected float32, float16 or bfloat16", name(weight.dtype()));
    check.that(weight.shape()[in_axis] == weights[0].shape()[in_axis], "weights {} and {} differ in their input extent",
               to_string(weights[0].shape()), to_string(weight.shape()));
    check.that(weight.elements() > 0, "weight {} is empty", to_string(weight.shape()));
  }
  return do_pack(weights, layout);
}

Parameter Ops::parameter(std::span<const Tensor> parts, DType dtype) {
  const Check check("parameter", *this);
  check.that(!parts.empty(), "no tensor given");
  for (const Tensor& part : parts)
    if (!part.defined()) return {};
  for (const Tensor& part : parts) {
    check.that(part.device().is_cpu(), "tensor is on {}, expected host memory", to_string(part.device()));
    check.that(part.shape().rank() >= 1, "a scalar cannot be joined; give it as [1]");
    check.that(part.contiguous(), "tensor {} must be contiguous", to_string(part.shape()));
    check.that(part.dtype() == dtype || (is_float(part.dtype()) && is_float(dtype)), "cannot convert {} to {}",
               name(part.dtype()), name(dtype));
    check.that(std::ranges::equal(part.shape().extents().subspan(1), parts[0].shape().extents().subspan(1)),
               "tensors {} and {} cannot be joined along axis 0", to_string(parts[0].shape()), to_string(part.shape()));
  }
  return do_parameter(parts, dtype);
}

void Ops::upload(const Tensor& destination, const void* source) {
  const Check check("upload", *this);
  check.contiguous("destination", destination, destination.shape(), destination.dtype());
  if (destination.elements() == 0) return;
  check.that(source != nullptr, "no source for {}", to_string(destination.shape()));
  do_upload(destination, source);
}

void Ops::download(void* destination, const Tensor& source) {
  const Check check("download", *this);
  check.contiguous("source", source, source.shape(), source.dtype());
  if (source.elements() == 0) return;
  check.that(destination != nullptr, "no destination for {}", to_string(source.shape()));
  do_download(destination, source);
}

void Ops::download_later(void* destination, const Tensor& source) {
  const Check check("download_later", *this);
  check.contiguous("source", source, source.shape(), source.dtype());
  if (source.elements() == 0) return;
  check.that(destination != nullptr, "no destination for {}", to_string(source.shape()));
  do_download_later(destination, source);
}

void Ops::embed(const Tensor& out, std::span<const EmbeddingTerm> terms) {
  const Check check("embed", *this);
  check.rank("out", out, 2);
  check.real("out", out, out.shape());
  check.that(!terms.empty(), "no table given");
  for (const EmbeddingTerm& term : terms) {
    check.rank("table", term.table, 2);
    check.real("table", term.table, Shape{term.table.rows(), out.cols()});
    check.integers("ids", term.ids, out.rows());
  }
  if (out.rows() > 0) do_embed(out, terms);
}

void Ops::linear(const LinearArgs& args) {
  const Check check("linear", *this);
  check.that(args.weight != nullptr, "no weight (a dry run cannot compute)");
  check.rank("x", args.x, 2);
  const Shape out_shape{args.x.rows(), args.weight->out};
  check.computed("x", args.x, Shape{args.x.rows(), args.weight->in});
  check.real("out", args.out, out_shape);
  if (args.bias.defined()) {
    check.real("bias", args.bias, Shape{args.weight->out});
  }
  if (args.multiplier.defined()) {
    check.shape("multiplier", args.multiplier, out_shape);
    check.same_dtype("multiplier", args.multiplier, "out", args.out);
  }
  if (args.residual.defined()) {
    check.shape("residual", args.residual, out_shape);
    check.same_dtype("residual", args.residual, "out", args.out);
  }
  if (args.x.rows() > 0) do_linear(args);
}

void Ops::norm(const NormArgs& args) {
  const Check check("norm", *this);
  check.rank("x", args.x, 2);
  const Shape shape = args.x.shape();
  check.that(args.x.cols() > 0, "x {} has no columns", to_string(shape));
  check.real("x", args.x, shape);
  check.real("out", args.out, shape);
  check.real("weight", args.weight, Shape{args.x.cols()});
  if (args.bias.defined()) check.real("bias", args.bias, Shape{args.x.cols()});
  check.that(args.kind == NormKind::layer || !args.bias.defined(), "rms norm takes no bias");
  if (args.residual.defined()) {
    check.shape("residual", args.residual, shape);
    check.same_dtype("residual", args.residual, "x", args.x);
  }
  if (args.sum.defined()) {
    check.shape("sum", args.sum, shape);
    check.same_dtype("sum", args.sum, "x", args.x);
  }
  if (args.x.rows() > 0) do_norm(args);
}

void Ops::attention(const AttentionArgs& args) {
  const Check check("attention", *this);
  check.that(args.heads > 0 && args.head_dim > 0, "heads {} and head_dim {} must be positive", args.heads,
             args.head_dim);
  check.rank("q", args.q, 2);
  const Shape shape{args.q.rows(), int64_t{args.heads} * args.head_dim};
  check.computed("out", args.out, shape);
  check.computed("q", args.q, shape);
  check.computed("k", args.k, shape);
  check.computed("v", args.v, shape);
  const int64_t sequences = sequences_of(check, args.offsets);
  check_relative_bias(check, args.bias, args.heads);
  if (args.q.rows() > 0 && sequences > 0) do_attention(args);
}

void Ops::paged_attention(const PagedAttentionArgs& args) {
  const Check check("paged_attention", *this);
  check.that(args.heads > 0 && args.head_dim > 0, "heads {} and head_dim {} must be positive", args.heads,
             args.head_dim);
  check.rank("q", args.q, 2);
  const Shape shape{args.q.rows(), int64_t{args.heads} * args.head_dim};
  check.computed("out", args.out, shape);
  check.computed("q", args.q, shape);
  check.rank("keys", args.keys, 4);
  const Shape pool{args.keys.rows(), args.heads, args.keys.shape()[2], args.head_dim};
  check.that(pool[2] > 0, "keys {} has blocks of no tokens", to_string(args.keys.shape()));
  check.contiguous("keys", args.keys, pool, compute_dtype());
  check.contiguous("values", args.values, pool, compute_dtype());
  const int64_t sequences = sequences_of(check, args.offsets);
  check.integers("context_lengths", args.context_lengths, sequences);
  check.rank("block_tables", args.block_tables, 2);
  check.typed("block_tables", args.block_tables, Shape{sequences, args.block_tables.cols()}, DType::i32);
  check_relative_bias(check, args.bias, args.heads);
  if (args.q.rows() > 0 && sequences > 0) do_paged_attention(args);
}

void Ops::store_kv(const StoreKvArgs& args) {
  const Check check("store_kv", *this);
  check.rank("keys", args.keys, 4);
  check.rank("k", args.k, 2);
  check.contiguous("keys", args.keys, args.keys.shape(), compute_dtype());
  check.contiguous("values", args.values, args.keys.shape(), compute_dtype());
  const Shape shape{args.k.rows(), args.keys.shape()[1] * args.keys.shape()[3]};
  check.computed("k", args.k, shape);
  check.computed("v", args.v, shape);
  check.integers("slots", args.slots, args.k.rows());
  if (args.k.rows() > 0) do_store_kv(args);
}

void Ops::gather_rows(const Tensor& out, const Tensor& x, const Tensor& rows) {
  const Check check("gather_rows", *this);
  check.rank("x", x, 2);
  check.rank("rows", rows, 1);
  check.real("x", x, x.shape());
  check.real("out", out, Shape{rows.rows(), x.cols()});
  check.integers("rows", rows, rows.rows());
  check.that(out.dtype() == x.dtype() || out.dtype() == DType::f32, "out is {} but x is {}", name(out.dtype()),
             name(x.dtype()));
  if (rows.rows() > 0) do_gather_rows(out, x, rows);
}

void Ops::copy_rows(const Tensor& x, const Tensor& from, const Tensor& to) {
  const Check check("copy_rows", *this);
  check.rank("x", x, 2);
  check.rank("from", from, 1);
  check.contiguous("x", x, x.shape(), x.dtype());
  check.integers("from", from, from.rows());
  check.integers("to", to, from.rows());
  if (from.rows() > 0) do_copy_rows(x, from, to);
}

void Ops::pool(const Tensor& out, const Tensor& x, const Tensor& offsets, const Tensor& which, Pooling pooling) {
  const Check check("pool", *this);
  check.rank("x", x, 2);
  check.rank("which", which, 1);
  check.real("x", x, x.shape());
  check.real("out", out, Shape{which.rows(), x.cols()});
  check.integers("which", which, which.rows());
  sequences_of(check, offsets);
  if (which.rows() > 0) do_pool(out, x, offsets, which, pooling);
}

void Ops::read_history(const Tensor& ids, const Tensor& history, const Tensor& slots, const Tensor& positions) {
  const Check check("read_history", *this);
  check.rank("ids", ids, 1);
  check.rank("history", history, 2);
  check.integers("ids", ids, ids.rows());
  check.typed("history", history, history.shape(), DType::i32);
  check.integers("slots", slots, ids.rows());
  check.integers("positions", positions, ids.rows());
  if (ids.rows() > 0) do_read_history(ids, history, slots, positions);
}

void Ops::select_tokens(const SelectionArgs& args) {
  const Check check("select_tokens", *this);
  check.rank("logits", args.logits, 2);
  const int64_t rows = args.logits.rows();
  check.typed("logits", args.logits, args.logits.shape(), DType::f32);
  check.that(args.logits.cols() > 0, "logits {} has no columns", to_string(args.logits.shape()));
  check.contiguous("rows", args.rows, Shape{rows, sizeof(SelectionRow)}, DType::u8);
  if (args.bans.defined()) check.integers("bans", args.bans, args.bans.elements());
  check.rank("history", args.history, 2);
  check.typed("history", args.history, args.history.shape(), DType::i32);
  check.integers("tokens", args.tokens, rows);
  check.contiguous("logprobs", args.logprobs, Shape{rows}, DType::f32);
  check.that(args.top_ids.defined() == args.top_logprobs.defined(), "top_ids and top_logprobs go together");
  if (args.top_ids.defined()) {
    check.rank("top_ids", args.top_ids, 2);
    const Shape top{rows, args.top_ids.cols()};
    check.that(top[1] <= args.logits.cols(), "{} best tokens asked of a vocabulary of {}", top[1], args.logits.cols());
    check.contiguous("top_ids", args.top_ids, top, DType::i32);
    check.contiguous("top_logprobs", args.top_logprobs, top, DType::f32);
  }
  if (rows > 0) do_select_tokens(args);
}

void Ops::token_logprobs(const Tensor& out, const Tensor& logits, const Tensor& targets) {
  const Check check("token_logprobs", *this);
  check.rank("logits", logits, 2);
  check.typed("logits", logits, logits.shape(), DType::f32);
  check.integers("targets", targets, logits.rows());
  check.contiguous("out", out, Shape{logits.rows()}, DType::f32);
  if (logits.rows() > 0) do_token_logprobs(out, logits, targets);
}

}  // namespace inazuma
