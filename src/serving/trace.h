#pragma once
// What becomes of one request, for whoever traces it (Triton's trace extension).

#include <memory>
#include <string_view>

#include "engine/sequence.h"
#include "serving/tensors/tensor.h"

namespace inazuma {

/// Heard by any thread, by several in turn; what it heard is complete when the last of its holders lets go.
class RequestTrace {
 public:
  virtual ~RequestTrace() = default;
  /// The model that took the request. Once, before the stamps of its work.
  virtual void begin(std::string_view model, int64_t version, std::string_view request_id) = 0;
  /// A moment by its name in the extension ("QUEUE_START").
  virtual void stamp(std::string_view name, Clock::time_point at) = 0;
  /// Whether `tensor` is wanted.
  virtual bool tensors() const = 0;
  /// A tensor as it passed ("TENSOR_QUEUE_INPUT").
  virtual void tensor(std::string_view activity, const NamedTensor& tensor) = 0;
  /// A trace of its own for a step of an ensemble, which names this one as its parent.
  virtual std::shared_ptr<RequestTrace> child() = 0;
};

}  // namespace inazuma
