#include "kernels/host_checks.h"

#include <cstring>

namespace inazuma {

void check_ids(std::string_view what, const Tensor& ids, int64_t limit) {
  const int32_t* values = ids.as<int32_t>();
  for (int64_t i = 0; i < ids.rows(); ++i)
    if (values[i] < 0 || values[i] >= limit)
      throw fail(StatusCode::internal, "{}[{}] is {}, must be in [0, {})", what, i, values[i], limit);
}

void check_offsets(std::string_view op, const Tensor& offsets, int64_t tokens, int64_t longest) {
  const int32_t* values = offsets.as<int32_t>();
  const int64_t sequences = offsets.rows() - 1;
  if (values[0] != 0 || values[sequences] > tokens)
    throw fail(StatusCode::internal, "{}: offsets span [{}, {}), must start at 0 and stay within {} rows", op,
               values[0], values[sequences], tokens);
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t length = int64_t{values[s + 1]} - values[s];
    if (length < 0) throw fail(StatusCode::internal, "{}: offsets fall after sequence {}", op, s);
    if (longest >= 0 && length > longest)
      throw fail(StatusCode::internal, "{}: sequence {} has {} rows, more than the declared {}", op, s, length,
                 longest);
  }
}

void check_paged(const PagedAttentionArgs& args) {
  constexpr std::string_view op = "paged_attention";
  check_offsets(op, args.offsets, args.q.rows(), args.max_query);
  const int32_t* offsets = args.offsets.as<int32_t>();
  const int32_t* contexts = args.context_lengths.as<int32_t>();
  const int64_t block_tokens = args.keys.shape()[2];
  for (int64_t s = 0; s + 1 < args.offsets.rows(); ++s) {
    const int64_t context = contexts[s];
    if (context < 0 || context > args.max_context)
      throw fail(StatusCode::internal, "{}: context_lengths[{}] is {}, must be in [0, {}]", op, s, context,
                 args.max_context);
    if (args.causal && offsets[s + 1] - offsets[s] > context)
      throw fail(StatusCode::internal, "{}: sequence {} has {} rows but a context of {}", op, s,
                 offsets[s + 1] - offsets[s], context);
    const int64_t blocks = (context + block_tokens - 1) / block_tokens;
    if (blocks > args.block_tables.cols())
      throw fail(StatusCode::internal, "{}: sequence {} needs {} blocks, its table holds {}", op, s, blocks,
                 args.block_tables.cols());
    const int32_t* table = args.block_tables.as<int32_t>() + s * args.block_tables.stride(0);
    for (int64_t b = 0; b < blocks; ++b)
      if (table[b] < 0 || table[b] >= args.keys.rows())
        throw fail(StatusCode::internal, "{}: block_tables[{}, {}] is {}, must be in [0, {})", op, s, b, table[b],
                   args.keys.rows());
  }
}

void check_slots(const StoreKvArgs& args) {
  const int32_t* slots = args.slots.as<int32_t>();
  const int64_t limit = args.keys.rows() * args.keys.shape()[2];
  for (int64_t t = 0; t < args.slots.rows(); ++t)
    if (slots[t] >= limit)
      throw fail(StatusCode::internal, "store_kv: slots[{}] is {}, the pool holds {}", t, slots[t], limit);
}

void check_selection(const SelectionArgs& args) {
  constexpr std::string_view op = "select_tokens";
  const int64_t bans = args.bans.defined() ? args.bans.elements() : 0;
  for (int64_t r = 0; r < args.logits.rows(); ++r) {
    SelectionRow row;
    std::memcpy(&row, args.rows.as<uint8_t>() + r * int64_t{sizeof row}, sizeof row);
    if (row.slot < 0 || row.slot >= args.history.rows())
      throw fail(StatusCode::internal, "{}: row {} has slot {}, history has {}", op, r, row.slot, args.history.rows());
    if (row.length < 0 || row.length >= args.history.cols())
      throw fail(StatusCode::internal, "{}: row {} has length {}, must be in [0, {})", op, r, row.length,
                 args.history.cols());
    if (row.generated < 0 || row.generated > row.length)
      throw fail(StatusCode::internal, "{}: row {} has {} generated of {} ids", op, r, row.generated, row.length);
    if (row.eos_count < 0 || row.eos_count > SelectionRow::kMaxEos)
      throw fail(StatusCode::internal, "{}: row {} has {} eos ids, at most {}", op, r, row.eos_count,
                 SelectionRow::kMaxEos);
    if (row.ban_begin < 0 || row.ban_begin > row.ban_end || row.ban_end > bans)
      throw fail(StatusCode::internal, "{}: row {} bans [{}, {}) of {}", op, r, row.ban_begin, row.ban_end, bans);
    if (!(row.temperature > 0.0f) || !(row.repetition_penalty > 0.0f))
      throw fail(StatusCode::internal, "{}: row {} has temperature {} and repetition penalty {}, both must be > 0", op,
                 r, row.temperature, row.repetition_penalty);
    if (row.log_softmax_first != 0 && row.sample != 0)
      throw fail(StatusCode::internal, "{}: row {} draws from scores that are not normalised last", op, r);
  }
}

}  // namespace inazuma
