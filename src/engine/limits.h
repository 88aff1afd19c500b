#pragma once
// What an engine may be asked: options filled in, and rows checked before they enter.

#include "engine/engine.h"
#include "models/model.h"

namespace inazuma {

/// Fills in the zeros and checks the rest. Throws Error(invalid) naming option, value and range.
///
/// | option           | zero means                                                                                 |
/// | max_sequences    | 64 for encoders, 32 for decoders (256 on a GPU)                                            |
/// | max_batch_tokens | CPU: 1024 for encoders, 512 for decoders (dense products gain nothing beyond, and a step's  |
/// |                  | length is what decoding rows wait); GPU: 16384 and 4096                                    |
/// | steps_in_flight  | 1 (2 on a GPU): where the host does the work a step ahead of its tokens gains nothing | |
/// max_context      | the model's positions, or 2048 where it has no bound (T5)                                  | |
/// kv_tokens        | every row at full length, but at most 1 GiB (GPU: 16 GiB), and at least one row's full length |
///
/// For decoders max_sequences is at most max_batch_tokens, so that every decoding row moves in every step.
EngineOptions resolve_options(const EngineOptions& options, const ModelInfo& info, Device device, DType compute_dtype);

/// Longest text of the encoder lane: the model's positions, or max_context where it has no bound.
int source_limit(const ModelInfo& info, const EngineOptions& options);

/// Throws Error: empty (no ids), invalid (field, value, range), too_long (got, limit). `options` has no zeros.
void check_request(const SequenceRequest& request, const ModelInfo& info, const EngineOptions& options);

}  // namespace inazuma
