#include "golden/greedy.h"

#include <gtest/gtest.h>

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

/// Scores of the oracle for the id after `history`, after the repetition penalty.
std::vector<float> oracle_scores(const Generation& wanted, const GoldenCase& golden, const std::vector<int>& tokens) {
  Ops& oracle = home("reference");
  const std::shared_ptr<const Model> model = load(golden, oracle);
  Driver driver(oracle, *model);
  Run run = start(wanted, golden, model->info(), driver);
  run.history.insert(run.history.end(), tokens.begin(), tokens.end());
  std::vector<Encode> encodes;
  if (!run.source.empty()) encodes.push_back({.ids = run.source, .sequence = run.sequence, .pooled = false});
  std::vector<float> scores =
      driver.step(encodes, {{.sequence = run.sequence, .ids = run.history, .want = Decode::Want::last}}).logits[0];
  std::sort(run.history.begin(), run.history.end());
  run.history.erase(std::unique(run.history.begin(), run.history.end()), run.history.end());
  for (const int id : run.history) {
    float& score = scores[static_cast<size_t>(id)];
    score = score > 0 ? score / wanted.repetition_penalty : score * wanted.repetition_penalty;
  }
  return scores;
}

}  // namespace

void expect_tokens(const std::vector<int>& tokens, const Generation& wanted, const GoldenCase& golden, Ops& ops,
                   const std::string& what) {
  if (ops.compute_dtype() == DType::f32 || tokens == wanted.tokens) {
    EXPECT_EQ(tokens, wanted.tokens) << what;
    return;
  }
  const size_t shared = std::min(tokens.size(), wanted.tokens.size());
  const auto [ours, theirs] =
      std::mismatch(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(shared), wanted.tokens.begin());
  ASSERT_NE(theirs, wanted.tokens.end()) << what << " goes on after its end";
  ASSERT_NE(ours, tokens.end()) << what << " ends early";
  const std::vector<float> scores = oracle_scores(wanted, golden, {tokens.begin(), ours});
  const float margin = scores[static_cast<size_t>(*theirs)] - scores[static_cast<size_t>(*ours)];
  const Expected whole{.values = scores};
  EXPECT_LE(std::abs(margin), 2 * tolerance_in(whole, ops.compute_dtype()) * wanted.repetition_penalty)
      << what << ": id " << *ours << " instead of " << *theirs << " as number " << ours - tokens.begin();
}

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
