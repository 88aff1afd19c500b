#include "models/loader.h"

#include <vector>

namespace inazuma {
namespace {

/// One element of a stored floating-point tensor.
float element(const Tensor& tensor, int64_t index) {
  if (tensor.dtype() == DType::f16) return to_float(tensor.as<Half>()[index]);
  if (tensor.dtype() == DType::bf16) return to_float(tensor.as<BFloat16>()[index]);
  return tensor.as<float>()[index];
}

}  // namespace

Tensor Loader::view(std::string_view path, const Shape& expected, Aliases aliases) {
  parameters_ += expected.elements();
  return source_.weights.require(path, expected, aliases);
}

Matrix Loader::keep(Matrix matrix) {
  if (matrix) resident_bytes_ += matrix->bytes;
  return matrix;
}

Parameter Loader::keep(Parameter parameter) {
  if (parameter.memory) resident_bytes_ += parameter.memory->bytes();
  return parameter;
}

Parameter Loader::parameter(std::string_view path, const Shape& expected, Aliases aliases) {
  return table(view(path, expected, aliases));
}

Parameter Loader::table(const Tensor& stored) {
  return keep(source_.ops.parameter(stored, source_.ops.compute_dtype()));
}

Matrix Loader::pack(const Tensor& stored) {
  return keep(source_.ops.pack(stored, WeightLayout::out_in));
}

Linear Loader::linear(const std::string& path, int out, int in, WeightLayout layout) {
  const Shape shape = layout == WeightLayout::out_in ? Shape{out, in} : Shape{in, out};
  return {.weight = keep(source_.ops.pack(view(path + ".weight", shape), layout)),
          .bias = parameter(path + ".bias", {out})};
}

Linear Loader::linear_into_residual(const std::string& path, int out, int in, WeightLayout layout) {
  const Shape shape = layout == WeightLayout::out_in ? Shape{out, in} : Shape{in, out};
  return {.weight = keep(source_.ops.pack(view(path + ".weight", shape), layout)),
          .bias = keep(source_.ops.parameter(view(path + ".bias", {out}), kResidualType))};
}

Linear Loader::linear_without_bias(const std::string& path, int out, int in) {
  return {.weight = pack(view(path + ".weight", {out, in}))};
}

Linear Loader::fused_without_bias(std::initializer_list<std::string> paths, int out, int in) {
  std::vector<Tensor> weights;
  for (const std::string& path : paths) weights.push_back(view(path + ".weight", {out, in}));
  return {.weight = keep(source_.ops.pack(weights, WeightLayout::out_in))};
}

Linear Loader::fused(std::initializer_list<std::string> paths, int out, int in) {
  Linear linear = fused_without_bias(paths, out, in);
  std::vector<Tensor> biases;
  for (const std::string& path : paths) biases.push_back(view(path + ".bias", {out}));
  linear.bias = keep(source_.ops.parameter(biases, source_.ops.compute_dtype()));
  return linear;
}

Norm Loader::layer_norm(const std::string& path, int width, double epsilon) {
  return {.weight = parameter(path + ".weight", {width}, {path + ".gamma"}),
          .bias = parameter(path + ".bias", {width}, {path + ".beta"}),
          .epsilon = static_cast<float>(epsilon),
          .kind = NormKind::layer};
}

Norm Loader::rms_norm(const std::string& path, int width, double epsilon) {
  return {
      .weight = parameter(path + ".weight", {width}), .epsilon = static_cast<float>(epsilon), .kind = NormKind::rms};
}

RelativeBias Loader::relative_bias(const std::string& path, int heads, const DistanceBuckets& buckets,
                                   Parameter& memory) {
  const Tensor stored = view(path + ".weight", {buckets.buckets, heads});
  if (!stored.defined()) return {};
  const int reach = buckets.max_distance;
  const int64_t columns = 2 * static_cast<int64_t>(reach) + 1;
  std::vector<float> expanded(static_cast<size_t>(heads * columns));
  for (int distance = -reach; distance <= reach; ++distance) {
    for (int head = 0; head < heads; ++head) {
      const int64_t bucket = buckets.of(distance);
      expanded[static_cast<size_t>(head * columns + distance + reach)] = element(stored, bucket * heads + head);
    }
  }
  memory = keep(source_.ops.parameter(Tensor(expanded.data(), DType::f32, {heads, columns}), DType::f32));
  return {.table = memory.tensor, .max_distance = reach};
}

void Loader::report(ModelInfo& info) const {
  info.parameters = parameters_;
  info.weight_bytes = resident_bytes_;
}

}  // namespace inazuma
