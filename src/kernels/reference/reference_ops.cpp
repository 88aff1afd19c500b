#include "kernels/reference/reference_ops.h"

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/host_checks.h"

namespace inazuma {

namespace {

const float* row_of(const Tensor& t, int64_t row) {
  return t.as<const float>() + row * t.stride(0);
}
float* mutable_row(const Tensor& t, int64_t row) {
  return t.as<float>() + row * t.stride(0);
}

double pooled(const Tensor& x, int64_t begin, int64_t end, int64_t column, Pooling pooling) {
  const auto length = static_cast<double>(end - begin);
  if (begin == end) return 0.0;
  if (pooling == Pooling::cls) return row_of(x, begin)[column];
  if (pooling == Pooling::last) return row_of(x, end - 1)[column];
  double sum = 0.0, weights = 0.0, largest = -std::numeric_limits<double>::infinity();
  for (int64_t t = begin; t < end; ++t) {
    const double value = row_of(x, t)[column];
    const double weight = pooling == Pooling::weighted_mean ? static_cast<double>(t - begin + 1) : 1.0;
    sum += weight * value;
    weights += weight;
    if (value > largest || std::isnan(value)) largest = value;
  }
  if (pooling == Pooling::max) return largest;
  if (pooling == Pooling::mean_sqrt_len) return sum / std::sqrt(length);
  return sum / weights;
}

}  // namespace

Matrix ReferenceOps::do_pack(std::span<const Tensor> weights, WeightLayout layout) {
  auto packed = std::make_shared<ReferenceMatrix>();
  const bool out_in = layout == WeightLayout::out_in;
  packed->in = weights[0].shape()[out_in ? 1 : 0];
  for (const Tensor& weight : weights) packed->out += weight.shape()[out_in ? 0 : 1];
  packed->bytes = static_cast<size_t>(packed->out * packed->in) * sizeof(float);
  packed->memory = Buffer::host(packed->bytes);
  float* out = static_cast<float*>(packed->memory.data());
  std::vector<float> line;
  for (const Tensor& weight : weights) {
    line.resize(static_cast<size_t>(weight.cols()));
    for (int64_t r = 0; r < weight.rows(); ++r) {
      const auto pitch = weight.stride(0) * static_cast<int64_t>(size_of(weight.dtype()));
      to_f32(line.data(), static_cast<const char*>(weight.data()) + r * pitch, weight.dtype(), weight.cols());
      for (int64_t c = 0; c < weight.cols(); ++c)
        out[out_in ? r * packed->in + c : c * packed->in + r] = line[static_cast<size_t>(c)];
    }
    out += weight.elements();
  }
  return packed;
}

void ReferenceOps::do_embed(const Tensor& out, std::span<const EmbeddingTerm> terms) {
  for (const EmbeddingTerm& term : terms) check_ids("embed: ids", term.ids, term.table.rows());
  for (int64_t t = 0; t < out.rows(); ++t)
    for (int64_t c = 0; c < out.cols(); ++c) {
      double sum = 0.0;
      for (const EmbeddingTerm& term : terms) sum += row_of(term.table, term.ids.as<int32_t>()[t])[c];
      mutable_row(out, t)[c] = static_cast<float>(sum);
    }
}

double activate(Activation activation, double x) {
  // x/2 (1 + tanh(inner)) without the cancellation of the left tail.
  const auto tanh_form = [x](double inner) { return x / (1.0 + std::exp(-2.0 * inner)); };
  const auto erf_form = [x] { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); };  // erfc keeps the left tail's digits
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return x < 0.0 ? 0.0 : x;
    case Activation::relu2: return x < 0.0 ? 0.0 : x * x;
    case Activation::gelu: return erf_form();
    case Activation::gelu_tanh: return tanh_form(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x));
    case Activation::gelu_fast: return tanh_form(0.7978845608 * x * (1.0 + 0.044715 * x * x));
    case Activation::gelu_10: {
      const double y = erf_form();
      return y > 10.0 ? 10.0 : y < -10.0 ? -10.0 : y;
    }
    case Activation::quick_gelu: return x / (1.0 + std::exp(-1.702 * x));
    case Activation::silu: return x / (1.0 + std::exp(-x));
    case Activation::mish: return x * std::tanh(std::log1p(std::exp(x)));
    case Activation::tanh: return std::tanh(x);
    case Activation::sigmoid: return 1.0 / (1.0 + std::exp(-x));
  }
  throw fail(StatusCode::internal, "activation {} is not known", static_cast<int>(activation));
}

void ReferenceOps::do_linear(const LinearArgs& args) {
  const auto& weight = dynamic_cast<const ReferenceMatrix&>(*args.weight);
  for (int64_t t = 0; t < args.x.rows(); ++t)
    for (int64_t o = 0; o < weight.out; ++o) {
      double sum = 0.0;
      for (int64_t i = 0; i < weight.in; ++i) sum += static_cast<double>(row_of(args.x, t)[i]) * weight.row(o)[i];
      sum *= args.alpha;
      if (args.bias.defined()) sum += args.bias.as<float>()[o];
      double y = activate(args.activation, sum);
      if (args.multiplier.defined()) y *= row_of(args.multiplier, t)[o];
      if (args.residual.defined()) y += row_of(args.residual, t)[o];
      mutable_row(args.out, t)[o] = static_cast<float>(y);
    }
}

void ReferenceOps::do_norm(const NormArgs& args) {
  const int64_t width = args.x.cols();
  std::vector<double> row(static_cast<size_t>(width));
  for (int64_t t = 0; t < args.x.rows(); ++t) {
    double total = 0.0;
    for (int64_t c = 0; c < width; ++c) {
      double& value = row[static_cast<size_t>(c)];
      value = row_of(args.x, t)[c];
      if (args.residual.defined()) value += row_of(args.residual, t)[c];
      total += value;
    }
    const double mean = args.kind == NormKind::layer ? total / static_cast<double>(width) : 0.0;
    double squares = 0.0;
    for (double value : row) squares += (value - mean) * (value - mean);
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(width) + args.epsilon);
    for (int64_t c = 0; c < width; ++c) {
      const double value = row[static_cast<size_t>(c)];
      double y = (value - mean) * scale * args.weight.as<float>()[c];
      if (args.bias.defined()) y += args.bias.as<float>()[c];
      if (args.sum.defined()) mutable_row(args.sum, t)[c] = static_cast<float>(value);
      mutable_row(args.out, t)[c] = static_cast<float>(y);
    }
  }
}

void ReferenceOps::do_pool(const Tensor& out, const Tensor& x, const Tensor& offsets, const Tensor& which,
                           Pooling pooling) {
  check_offsets("pool", offsets, x.rows(), -1);
  check_ids("pool: which", which, offsets.rows() - 1);
  for (int64_t i = 0; i < which.rows(); ++i) {
    const int32_t sequence = which.as<int32_t>()[i];
    const int32_t* span = offsets.as<int32_t>() + sequence;
    for (int64_t c = 0; c < x.cols(); ++c)
      mutable_row(out, i)[c] = static_cast<float>(pooled(x, span[0], span[1], c, pooling));
  }
}

std::unique_ptr<Ops> make_reference_ops() {
  return std::make_unique<ReferenceOps>();
}

}  // namespace inazuma
