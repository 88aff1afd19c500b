#pragma once
// The entry of `backend: "fastertransformer"` in the list of back ends.

#include "serving/backends/program.h"

namespace inazuma {

BackendKind fastertransformer_backend();

}  // namespace inazuma
