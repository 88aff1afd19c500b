#include "golden/greedy.h"

#include <algorithm>

namespace inazuma::golden {
namespace {

struct Run {
  const Generation* wanted = nullptr;
  std::vector<int> source;  ///< encoder-decoders
  std::vector<int> history;
  size_t prompt = 0;  ///< ids of the history that were given
  size_t done = 0;    ///< ids of the history that the model has read
  int sequence = 0;
  bool finished = false;

  int generated() const { return static_cast<int>(history.size() - prompt); }
};

Run start(const Generation& wanted, const GoldenCase& golden, const ModelInfo& info, Driver& driver) {
  Run run{.wanted = &wanted, .sequence = driver.open()};
  const std::vector<int>& ids = golden.sequences[static_cast<size_t>(wanted.prompt)].ids;
  run.source = info.has_encoder ? ids : std::vector<int>();
  run.history = info.has_encoder ? std::vector<int>{info.decoder_start} : ids;
  run.prompt = run.history.size();
  return run;
}

SelectionRow selection_of(const Run& run, int slot) {
  SelectionRow row;
  row.slot = slot;
  row.length = static_cast<int32_t>(run.history.size());
  row.generated = run.generated();
  row.min_new_tokens = run.wanted->min_new_tokens;
  row.repetition_penalty = run.wanted->repetition_penalty;
  row.eos_count = static_cast<int32_t>(run.wanted->eos.size());
  std::copy(run.wanted->eos.begin(), run.wanted->eos.end(), row.eos);
  return row;
}

/// The next token of each of `choosing`, whose logits lie in that order.
std::vector<int32_t> select(Ops& ops, Driver& driver, const Tensor& logits, const std::vector<Run*>& choosing) {
  size_t capacity = 0;
  for (const Run* run : choosing) capacity = std::max(capacity, run->history.size() + 1);
  std::vector<int> history;
  std::vector<SelectionRow> rows;
  for (const Run* run : choosing) {
    rows.push_back(selection_of(*run, static_cast<int>(rows.size())));
    history.insert(history.end(), run->history.begin(), run->history.end());
    history.resize(rows.size() * capacity, 0);
  }
  const auto count = static_cast<int64_t>(rows.size());
  const Tensor tokens = driver.device(DType::i32, {count}, nullptr);
  ops.select_tokens({.logits = logits,
                     .rows = driver.device(DType::u8, {count, sizeof(SelectionRow)}, rows.data()),
                     .history = driver.ints(history, {count, static_cast<int64_t>(capacity)}),
                     .tokens = tokens,
                     .logprobs = driver.device(DType::f32, {count}, nullptr)});
  std::vector<int32_t> chosen(rows.size());
  ops.download(chosen.data(), tokens);
  return chosen;
}

void append(Run& run, int token) {
  run.history.push_back(token);
  const bool stopped = std::find(run.wanted->eos.begin(), run.wanted->eos.end(), token) != run.wanted->eos.end();
  run.finished = stopped || run.generated() == run.wanted->max_new_tokens;
}

}  // namespace

std::vector<std::vector<int>> greedy(Ops& ops, const Model& model, const GoldenCase& golden,
                                     std::span<const Generation> runs, const GreedySchedule& schedule) {
  Driver driver(ops, model);
  std::vector<Run> states;
  for (const Generation& wanted : runs) states.push_back(start(wanted, golden, model.info(), driver));
  for (size_t step = 0;; ++step) {
    std::vector<Encode> encodes;
    std::vector<Decode> decodes;
    std::vector<Run*> choosing;
    for (size_t i = 0; i < states.size(); ++i) {
      Run& run = states[i];
      if (run.finished || step < i * schedule.stagger) continue;
      if (run.done == 0 && !run.source.empty()) {
        encodes.push_back({.ids = run.source, .sequence = run.sequence, .pooled = false});
      }
      const size_t end = std::min(run.history.size(), run.done + schedule.chunk);
      const bool complete = end == run.history.size();
      decodes.push_back({.sequence = run.sequence,
                         .ids = {run.history.begin() + static_cast<std::ptrdiff_t>(run.done),
                                 run.history.begin() + static_cast<std::ptrdiff_t>(end)},
                         .want = complete ? Decode::Want::last : Decode::Want::none});
      run.done = end;
      if (complete) choosing.push_back(&run);
    }
    if (decodes.empty() && step >= states.size() * schedule.stagger) break;
    if (decodes.empty()) continue;
    const StepOutput out = driver.step(encodes, decodes);
    if (choosing.empty()) continue;
    const std::vector<int32_t> chosen = select(ops, driver, out.device.logits, choosing);
    for (size_t i = 0; i < choosing.size(); ++i) append(*choosing[i], chosen[i]);
  }
  std::vector<std::vector<int>> tokens;
  for (const Run& run : states) {
    tokens.emplace_back(run.history.begin() + static_cast<std::ptrdiff_t>(run.prompt), run.history.end());
  }
  return tokens;
}

}  // namespace inazuma::golden
