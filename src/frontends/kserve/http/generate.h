#pragma once
// POST .../generate and .../generate_stream: plain JSON objects to tensors and back. Pure functions.

#include <string>
#include <string_view>

#include "serving/config/tensor_model.h"

namespace inazuma::kserve {

/// Members that are inputs of the model become tensors (a value or an array of them), others parameters.
/// malformed, invalid: with the sentence for the client.
TensorInference parse_generate(std::string_view body, const TensorModel& model, size_t max_json);

/// {"model_name", "model_version", outputs by name, response parameters}: single elements are unwrapped.
std::string format_generate(const std::string& id, const TensorResult& result);

}  // namespace inazuma::kserve
