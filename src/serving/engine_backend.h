#pragma once
// A text model whose engine is open to those who have rows of ids.

#include "serving/backend.h"

namespace inazuma {

/// The engine lives as long as the back end.
struct EngineBackendAccess {
  std::shared_ptr<Backend> backend;
  Engine* engine = nullptr;
};

/// load_backend with the tensors of a FasterTransformer folder going before the directory's own
/// (LoadOptions::converted).
Result<EngineBackendAccess> load_engine_backend(const std::filesystem::path& directory, const BackendOptions& options,
                                                const std::optional<std::filesystem::path>& converted);

/// The home that `device` and `dtype` name.
Result<std::unique_ptr<Ops>> make_ops(const BackendOptions& options);

}  // namespace inazuma
