#include "engine/sampler.h"

#include <algorithm>

namespace inazuma {

namespace {

bool contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

/// Every id that followed an earlier occurrence of the last n - 1 ids.
void ban_repeated_ngrams(const std::vector<int32_t>& ids, size_t n, std::vector<int32_t>& bans) {
  if (ids.size() + 1 < n) return;
  const size_t prefix = n - 1;
  const auto tail = ids.end() - static_cast<std::ptrdiff_t>(prefix);
  for (size_t begin = 0; begin + prefix < ids.size(); ++begin)
    if (std::equal(tail, ids.end(), ids.begin() + static_cast<std::ptrdiff_t>(begin)))
      bans.push_back(ids[begin + prefix]);
}

/// The last id of each bad word whose other ids are the tail. A word longer than the text so far is skipped, even if
/// its beginning is the whole text: transformers compares its full length.
void ban_bad_words(const GenerationOptions& options, const std::vector<int32_t>& history, std::vector<int32_t>& bans) {
  for (const std::vector<int32_t>& word : options.bad_words) {
    if (word.size() == 1) {
      if (!contains(options.eos, word[0])) bans.push_back(word[0]);  // a lone eos is no bad word
      continue;
    }
    if (word.size() > history.size()) continue;
    const auto tail = history.end() - static_cast<std::ptrdiff_t>(word.size() - 1);
    if (std::equal(word.begin(), word.end() - 1, tail)) bans.push_back(word.back());
  }
}

}  // namespace

bool needs_history(const GenerationOptions& options) {
  return options.no_repeat_ngram > 0 || std::any_of(options.bad_words.begin(), options.bad_words.end(),
                                                    [](const auto& word) { return word.size() > 1; });
}

std::optional<int32_t> forced_token(const Sequence& row) {
  const GenerationOptions& options = row.request.generation;
  if (options.forced_eos && row.generated == options.max_new_tokens - 1) return options.forced_eos;
  if (options.forced_bos && row.length() == 1) return options.forced_bos;
  return std::nullopt;
}

void append_bans(const Sequence& row, int vocab, std::vector<int32_t>& bans, int beam) {
  if (const std::optional<int32_t> forced = forced_token(row)) {
    for (int32_t id = 0; id < vocab; ++id)
      if (id != *forced) bans.push_back(id);
    return;
  }
  const GenerationOptions& options = row.request.generation;
  bans.insert(bans.end(), options.suppress.begin(), options.suppress.end());
  const std::vector<int32_t>& history = row.history_of(beam);
  if (options.no_repeat_ngram > 0) ban_repeated_ngrams(history, static_cast<size_t>(options.no_repeat_ngram), bans);
  ban_bad_words(options, history, bans);
}

int wanted_alternatives(const Sequence& row) {
  return row.beams ? row.beams->search.candidates() : row.request.generation.top_tokens;
}

SelectionRow selection_row(const Sequence& row, int ban_begin, int ban_end, int beam) {
  const GenerationOptions& options = row.request.generation;
  SelectionRow out;
  out.slot = row.slot_of(beam);
  out.length = row.length();
  out.generated = row.generated;
  out.ban_begin = ban_begin;
  out.ban_end = ban_end;
  if (forced_token(row)) return out;  // nothing else applies: greedy among one
  out.min_new_tokens = options.min_new_tokens;
  out.eos_count = options.ignore_eos ? 0 : static_cast<int32_t>(options.eos.size());
  std::copy_n(options.eos.begin(), out.eos_count, out.eos);
  out.sample = options.sample ? 1 : 0;
  out.top_k = options.top_k;
  const bool beams = options.num_beams > 1;
  out.log_softmax_first = beams && !options.beam_logits ? 1 : 0;
  if (options.sample || (beams && options.beam_logits)) out.temperature = options.temperature;
  out.top_p = options.top_p;
  out.min_p = options.min_p;
  out.typical_p = options.typical_p;
  out.repetition_penalty = options.repetition_penalty;
  out.frequency_penalty = options.frequency_penalty;
  out.presence_penalty = options.presence_penalty;
  out.seed = options.seed;
  return out;
}

std::optional<FinishReason> finish_reason(const Sequence& row, int32_t token) {
  const GenerationOptions& options = row.request.generation;
  if (!options.ignore_eos && contains(options.eos, token)) return FinishReason::eos;
  if (row.told >= options.max_new_tokens) return FinishReason::length;
  return std::nullopt;
}

}  // namespace inazuma
