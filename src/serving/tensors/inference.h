#pragma once
// A KServe inference as protocol-neutral work, and what comes back.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "serving/tensors/tensor.h"

namespace inazuma {

/// Custom request and response parameters (everything that KServe's `parameters` holds and the protocol does not
/// reserve).
using ParameterValue = std::variant<bool, int64_t, double, std::string>;
using ParameterMap = std::map<std::string, ParameterValue>;

/// Where a front end puts (or took) a tensor of a client's shared memory. Serving only carries it.
struct SharedMemoryRef {
  std::string region;
  uint64_t offset = 0;
  uint64_t byte_size = 0;
};

struct RequestedOutput {
  std::string name;
  uint32_t classification = 0;                     ///< n > 0: the n best classes as BYTES instead of the tensor
  bool binary = false;                             ///< the front end's business: how the tensor is written
  std::optional<SharedMemoryRef> shared_memory{};  ///< likewise
};

/// 0 and "" mean "no sequence".
using CorrelationId = std::variant<uint64_t, std::string>;

struct TensorInference {
  std::string id;        ///< the client's request id, "" when it sent none
  int64_t version = -1;  ///< -1 = the highest that is ready
  std::vector<NamedTensor> inputs;
  std::vector<RequestedOutput> outputs;  ///< empty = all of the model's
  CorrelationId sequence;
  bool sequence_start = false;
  bool sequence_end = false;
  uint64_t priority = 0;    ///< 1 = highest; 0 = the model's default
  uint64_t timeout_us = 0;  ///< for the queue policy; 0 = the model's default
  ParameterMap parameters;
};

/// One answer of a model.
struct TensorResult {
  std::string model_name;
  std::string model_version;
  std::vector<NamedTensor> outputs;  ///< in the order in which the model produced them
  ParameterMap parameters;
  /// The final flag of a decoupled model that came alone: no answer, only the end.
  bool empty = false;
};

/// An answer of a decoupled model that is not the last thing heard of the request. The end is a Response whose outcome
/// is a TensorResult (`empty` when no answer came with the flag).
struct TensorEvent {
  TensorResult result;
};

}  // namespace inazuma
