#pragma once
// Checks of integer contents, for homes whose arrays the host can read. A violated check is a defect of the caller.

#include "kernels/ops.h"

namespace inazuma {

/// Every id is in [0, limit); `what` names the array: "embed: ids".
void check_ids(std::string_view what, const Tensor& ids, int64_t limit);
/// offsets start at 0, do not fall and end at `tokens`; no sequence is longer than `longest` (negative = any).
void check_offsets(std::string_view op, const Tensor& offsets, int64_t tokens, int64_t longest);
/// offsets, contexts and block tables of every sequence are inside the pool and within the declared bounds.
void check_paged(const PagedAttentionArgs& args);
/// slots are negative or inside the pool.
void check_slots(const StoreKvArgs& args);
/// Row numbers, lengths and ranges of every SelectionRow.
void check_selection(const SelectionArgs& args);

}  // namespace inazuma
