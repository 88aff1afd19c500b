#pragma once
// What a configuration of `backend: "fastertransformer"` may leave out.

#include "weights/converted/fastertransformer.h"

namespace inference {
class ModelConfig;  // <model_config.pb.h>
}

namespace inazuma::fastertransformer {

/// Adds max_batch_size, input and output where there are none. Hidden states are of the type that the parameter
/// data_type says.
void complete(inference::ModelConfig& config, ConvertedFamily family);

}  // namespace inazuma::fastertransformer
