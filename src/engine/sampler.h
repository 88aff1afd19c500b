#pragma once
// What the engine decides about a row's next token before the device selects it: which ids are banned, which is forced,
// and the numbers of SelectionRow. Rules as in transformers 4.57 (generation/logits_process.py).

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/scheduler.h"
#include "kernels/ops.h"

namespace inazuma {

/// Whether generated ids must be kept on the host: n-grams and longer bad words look back at them. (A beam search keeps
/// its own.)
bool needs_history(const GenerationOptions& options);

/// The only id allowed next: forced_bos as the second id of the decoder, forced_eos as the last within max_new_tokens.
std::optional<int32_t> forced_token(const Sequence& row);

/// Appends every id that may not come next (duplicates are harmless); all but one when that one is forced. `beam`
/// counts among the row's beams.
void append_bans(const Sequence& row, int vocab, std::vector<int32_t>& bans, int beam = 0);

/// The row's parameters; its bans are [ban_begin, ban_end) of the step's list.
SelectionRow selection_row(const Sequence& row, int ban_begin, int ban_end, int beam = 0);

/// How many alternatives of the next token the row wants to know: those it tells, or those its beams choose among.
int wanted_alternatives(const Sequence& row);

/// Whether generation ends after `token`, the row's newest (already counted in `told`), and why.
std::optional<FinishReason> finish_reason(const Sequence& row, int32_t token);

}  // namespace inazuma
