#pragma once
// KServe's gRPC messages to tensors and back. Pure functions.

#include <grpc_service.pb.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "frontends/kserve/service.h"

namespace inazuma::kserve {

struct GrpcInference {
  TensorInference inference;
  std::vector<std::optional<SharedMemoryRef>> shared_inputs;  ///< by input; their data is not there yet
  bool empty_final = false;                                   ///< triton_enable_empty_final_response
};

/// The tensors point into the message and keep it alive. invalid, unsupported: with the sentence for the client.
GrpcInference parse_inference(std::shared_ptr<const inference::ModelInferRequest> message);

/// Raw contents, one for each output in order.
inference::ModelInferResponse format_message(const std::string& id, const TensorResult& result,
                                             const std::vector<AnsweredOutput>& outputs);

}  // namespace inazuma::kserve
