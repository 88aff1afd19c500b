#pragma once
// How a sentence-transformers directory wants its encoder pooled.

#include "models/model.h"

namespace inazuma {

/// options.pooling, else what modules.json and its Pooling module's config.json say, else mean. Throws unsupported for
/// modules that would change the vector (Dense, ...) and for several pooling modes at once, malformed for files that do
/// not parse. Normalize modules are left to whoever asks for the vector.
Pooling sentence_pooling(const ModelSource& source);

}  // namespace inazuma
