#pragma once
// POST .../infer: JSON with binary tails, and raw bodies, to tensors and back. Pure functions.

#include <optional>
#include <string>
#include <string_view>

#include "frontends/http.h"
#include "frontends/kserve/service.h"

namespace inazuma::kserve {

struct ParsedInference {
  TensorInference inference;
  std::vector<std::optional<SharedMemoryRef>> shared_inputs;  ///< by input; their data is not there yet
  bool binary_by_default = false;                             ///< form of outputs when none is listed
};

/// The body of an inference, which is kept alive by the tensors that point into it. `json_size`: of
/// Inference-Header-Content-Length; nullopt: all of it is JSON. 0: no JSON, the body is the one input of `model`.
/// malformed, invalid: with the sentence for the client.
ParsedInference parse_inference(std::shared_ptr<const std::string> body, std::optional<size_t> json_size,
                                const TensorModel& model, size_t max_json);

/// Inference-Header-Content-Length. invalid: not a whole number within the body.
std::optional<size_t> parse_json_size(const Headers& headers, size_t body_size);

/// A result as the reply: JSON, and behind it the outputs asked for in binary.
HttpResponse format_inference(const std::string& id, const TensorResult& result,
                              const std::vector<AnsweredOutput>& outputs);

}  // namespace inazuma::kserve
