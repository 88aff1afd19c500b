#pragma once
// What a sentence-transformers directory puts behind its encoder to make one vector of a text.

#include "models/loader.h"
#include "models/model.h"

namespace inazuma {

/// Poolings beside each other, then products. Normalize modules are left to whoever asks for the vector. Immutable.
class SentenceHead {
 public:
  SentenceHead() = default;
  /// options.pooling alone, else what modules.json and the folders that it names say, else 1_Pooling, else the mean.
  /// Writes info's poolings and pooled_width, and adds to its counts of parameters and bytes. Throws Error: unsupported
  /// for modules that would change the vector and are not Pooling or Dense, or stand elsewhere; malformed and invalid
  /// for files that do not parse or do not fit each other (sentence-transformers 6.2: modules).
  SentenceHead(const ModelSource& source, ModelInfo& info);

  /// One vector [pooled_width], f32, for each of lane.pooled; x [T, H].
  Tensor run(Ops& ops, Arena& arena, const Tensor& x, const EncoderLane& lane) const;

 private:
  struct Dense {
    Linear linear;
    Activation activation = Activation::none;
    int width = 0;
  };
  static Dense load_dense(const ModelSource& source, const std::filesystem::path& folder, int in, ModelInfo& info);

  std::vector<Pooling> poolings_{Pooling::mean};
  std::vector<Dense> dense_;
};

}  // namespace inazuma
