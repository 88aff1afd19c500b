#pragma once
// What a model says about its tensors: the finished ModelConfig, and the parts that every request is checked against.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "serving/tensors/inference.h"

namespace inference {
class ModelConfig;      // <model_config.pb.h>
class ModelStatistics;  // <grpc_service.pb.h>
}  // namespace inference

namespace inazuma {

struct TensorSpec {
  std::string name;
  DataType type = DataType::invalid;
  std::vector<int64_t> dims;        ///< without the batch dimension; -1 = any
  bool optional = false;            ///< inputs
  bool ragged = false;              ///< inputs: requests of other shapes may share a batch
  std::vector<std::string> labels;  ///< outputs: label_filename, line by line
};

struct TensorModel {
  std::string name;
  int64_t version = 1;
  std::string platform;    ///< `platform`, or `backend` where that is empty
  int max_batch_size = 0;  ///< > 0: every tensor has a leading batch dimension
  bool decoupled = false;
  bool single_answer = true;  ///< a request never gets more than one answer; known of some decoupled models too
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::shared_ptr<const inference::ModelConfig> config;  ///< complete: defaults filled in

  const TensorSpec* input(std::string_view name) const;
  const TensorSpec* output(std::string_view name) const;
  /// Shape as metadata shows it: with a leading -1 where there is a batch dimension.
  std::vector<int64_t> shown_shape(const TensorSpec& spec) const;
};

/// From a finished configuration; `labels` by output name.
TensorModel make_tensor_model(std::shared_ptr<const inference::ModelConfig> config, int64_t version);

/// Checks a request against the model, with Triton's sentences: names, datatypes, shapes, batch size, byte counts,
/// required inputs, requested outputs. Returns the batch size (1 where the model does not batch). Status: invalid.
Result<int> check_inference(const TensorModel& model, const TensorInference& inference);

}  // namespace inazuma
