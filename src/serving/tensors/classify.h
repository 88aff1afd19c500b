#pragma once
// The classification extension: a tensor's best classes as "value:index:label" strings.

#include "serving/tensors/inference.h"

namespace inazuma {

/// BYTES [batch, min(n, classes)] (`batched`), else [min(n, classes)]; classes = elements of a batch item. Best first,
/// equal values by index. invalid: datatypes that have no order here (FP16, BF16, BOOL, BYTES), more than a million
/// elements.
Result<NamedTensor> classify(const NamedTensor& tensor, uint32_t n, bool batched,
                             const std::vector<std::string>& labels);

}  // namespace inazuma
