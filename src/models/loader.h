#pragma once
// How an architecture turns stored tensors into packed weights: one line of its `weights` part is one call here.

#include <initializer_list>
#include <string>
#include <string_view>

#include "models/blocks.h"
#include "models/model.h"

namespace inazuma {

/// Reads through ModelSource::weights, packs for ModelSource::ops, and keeps count. Missing and misshapen tensors give
/// empty handles; WeightReader::finish names them all.
class Loader {
 public:
  using Aliases = std::initializer_list<std::string_view>;
  explicit Loader(ModelSource& source) : source_(source) {}

  /// The stored tensor itself (no data when missing, misshapen or in a dry run), counted.
  Tensor view(std::string_view path, const Shape& expected, Aliases aliases = {});
  Parameter parameter(std::string_view path, const Shape& expected, Aliases aliases = {});
  /// A view that was counted already, in the compute dtype: embedding tables that a tied head packs as well.
  Parameter table(const Tensor& stored);
  Matrix pack(const Tensor& stored);

  /// path.weight [out, in] (Conv1D: [in, out]) and path.bias [out].
  Linear linear(const std::string& path, int out, int in, WeightLayout layout = WeightLayout::out_in);
  /// The same for a product that is added to a pre-norm network's running sum: its bias has that type.
  Linear linear_into_residual(const std::string& path, int out, int in, WeightLayout layout);
  Linear linear_without_bias(const std::string& path, int out, int in);
  /// Several [out, in] products of the same input as one of [n · out, in].
  Linear fused(std::initializer_list<std::string> paths, int out, int in);
  Linear fused_without_bias(std::initializer_list<std::string> paths, int out, int in);
  /// path.weight and path.bias [width]; TensorFlow's names gamma and beta are known as well.
  Norm layer_norm(const std::string& path, int width, double epsilon);
  Norm rms_norm(const std::string& path, int width, double epsilon);
  /// T5's bucket table [buckets, heads] expanded to one value per distance.
  RelativeBias relative_bias(const std::string& path, int heads, const DistanceBuckets& buckets, Parameter& memory);

  /// Writes parameters and weight_bytes.
  void report(ModelInfo& info) const;

 private:
  Matrix keep(Matrix matrix);
  Parameter keep(Parameter parameter);

  ModelSource& source_;
  int64_t parameters_ = 0;
  size_t resident_bytes_ = 0;
};

}  // namespace inazuma
