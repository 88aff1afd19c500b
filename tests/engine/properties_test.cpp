// A row's answer is its own: whatever its neighbours, the budgets, the order, and other people's cancellations.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "fakes.h"

namespace inazuma::test {
namespace {

constexpr int kPositions = 40;
constexpr int kMostBeams = 5;

std::vector<int32_t> random_ids(int longest) {
  const int count = *rc::gen::inRange(1, longest + 1);
  return *rc::gen::container<std::vector<int32_t>>(static_cast<size_t>(count), rc::gen::inRange(0, FakeModel::kVocab));
}

EngineOptions random_options(Family family) {
  EngineOptions options;
  options.max_sequences = *rc::gen::inRange(1, 9);
  options.max_batch_tokens = *rc::gen::inRange(1, 60);
  options.block_tokens = *rc::gen::inRange(1, 18);
  if (family == Family::encoder) return options;
  const int least = kMostBeams * (kPositions + options.block_tokens);
  options.kv_tokens = least + *rc::gen::inRange(0, 200);
  return options;
}

void random_generation(GenerationOptions& g) {
  g.max_new_tokens = *rc::gen::inRange(1, 16);
  g.sample = *rc::gen::arbitrary<bool>();
  g.seed = static_cast<uint64_t>(*rc::gen::inRange(0, 1000));
  g.temperature = *rc::gen::element(0.7f, 1.0f, 3.0f);
  g.top_k = *rc::gen::element(0, 5);
  g.top_p = *rc::gen::element(1.0f, 0.9f);
  g.repetition_penalty = *rc::gen::element(1.0f, 1.3f);
  g.no_repeat_ngram = *rc::gen::element(0, 0, 1, 2);
  g.top_tokens = *rc::gen::element(0, 0, 3);
  if (*rc::gen::inRange(0, 3) == 0)
    g.eos = {*rc::gen::inRange(0, FakeModel::kVocab), *rc::gen::inRange(0, FakeModel::kVocab)};
  if (*rc::gen::inRange(0, 3) == 0) g.suppress = random_ids(20);
  if (*rc::gen::inRange(0, 4) == 0) g.bad_words = {random_ids(2), random_ids(3)};
  if (*rc::gen::inRange(0, 5) == 0) g.forced_eos = *rc::gen::inRange(0, FakeModel::kVocab);
}

void random_beams(GenerationOptions& g, int most) {
  g.num_beams = *rc::gen::inRange(1, most + 1);
  if (g.num_beams == 1) return;
  g.sample = false;
  g.top_tokens = 0;
  g.num_return_sequences = *rc::gen::inRange(1, g.num_beams + 1);
  g.length_penalty = *rc::gen::element(1.0f, 0.0f, 2.0f, -1.0f);
  g.early_stopping = *rc::gen::element(EarlyStopping::heuristic, EarlyStopping::full, EarlyStopping::never);
  g.beam_logits = *rc::gen::arbitrary<bool>();
  g.beam_diversity = *rc::gen::element(0.0f, 0.0f, 0.3f);
}

SequenceRequest random_row(Family family, int index, int most_beams) {
  SequenceRequest row;
  row.index = index;
  row.priority = *rc::gen::inRange(-1, 2);
  if (family == Family::encoder) {
    row.ids = random_ids(kPositions);
    row.rows = SequenceRequest::Wanted::all;
    row.pooled = *rc::gen::arbitrary<bool>();
    return row;
  }
  row.ids = random_ids(family == Family::decoder ? kPositions - 16 : kPositions);
  if (family == Family::encoder_decoder && *rc::gen::inRange(0, 3) == 0) row.decoder_ids = random_ids(kPositions - 16);
  random_generation(row.generation);
  if (*rc::gen::inRange(0, 2) == 0) random_beams(row.generation, most_beams);
  return row;
}

/// The same rows one at a time, each alone in an engine with room for everything.
std::vector<Told> answers_alone(const std::shared_ptr<FakeModel>& model, const std::vector<SequenceRequest>& rows) {
  const auto engine = start(model);
  std::vector<Told> out;
  for (SequenceRequest row : rows) {
    const auto sink = std::make_shared<Collector>();
    row.sink = sink;
    accept(*engine, row);
    RC_ASSERT(sink->wait(1));
    out.push_back(sink->row(row.index));
  }
  return out;
}

bool is_prefix(const std::vector<int32_t>& part, const std::vector<int32_t>& whole) {
  return part.size() <= whole.size() && std::equal(part.begin(), part.end(), whole.begin());
}

void check_told(const Told& told, const Told& alone, bool disturbed) {
  RC_ASSERT(told.ends == 1);
  RC_ASSERT(told.broken == "");
  RC_ASSERT(is_prefix(told.tokens, alone.tokens));
  if (disturbed && told.reason != alone.reason) return;  // it ended early, as asked
  RC_ASSERT(told.failed.ok());
  RC_ASSERT(told.reason == alone.reason);
  RC_ASSERT(told.tokens == alone.tokens);
  RC_ASSERT(told.logprobs == alone.logprobs);
  RC_ASSERT(told.rows.values == alone.rows.values);
  RC_ASSERT(told.pooled.values == alone.pooled.values);
  RC_ASSERT(told.hypotheses.size() == alone.hypotheses.size());
  for (size_t i = 0; i < told.hypotheses.size(); ++i) {
    RC_ASSERT(told.hypotheses[i].ids == alone.hypotheses[i].ids);
    RC_ASSERT(told.hypotheses[i].logprobs == alone.hypotheses[i].logprobs);
    RC_ASSERT(told.hypotheses[i].score == alone.hypotheses[i].score);
  }
  for (size_t i = 0; i < told.top.size(); ++i) RC_ASSERT(told.top[i].size() == alone.top[i].size());
}

void check_idle(Engine& engine, size_t rows) {
  RC_ASSERT(engine.drain(Clock::now() + std::chrono::seconds(10)));
  const EngineStats stats = engine.stats();
  RC_ASSERT(stats.kv_blocks_used == 0);
  RC_ASSERT(stats.running == 0);
  RC_ASSERT(stats.waiting == 0);
  RC_ASSERT(stats.finished_total + stats.cancelled_total + stats.deadline_total == static_cast<int64_t>(rows));
  RC_ASSERT(stats.failed_total == 0);
}

/// Rows enter in random order and groups; some are cancelled at a random moment, some have a deadline too short.
void run_trace(Family family) {
  const auto model = std::make_shared<FakeModel>(family, kPositions);
  const EngineOptions options = random_options(family);
  const int most_beams = std::min({options.max_sequences, options.max_batch_tokens, kMostBeams - 1});
  const int count = *rc::gen::inRange(1, 14);
  std::vector<SequenceRequest> rows;
  for (int i = 0; i < count; ++i) rows.push_back(random_row(family, i, most_beams));
  const std::vector<Told> alone = answers_alone(model, rows);

  const auto engine = start(model, options);
  const auto sink = std::make_shared<Collector>();
  std::vector<CancelFlag> flags;
  std::vector<bool> disturbed;
  for (SequenceRequest& row : rows) {
    row.sink = sink;
    row.cancelled = std::make_shared<std::atomic<bool>>(false);
    const int fate = *rc::gen::inRange(0, 6);
    if (fate == 0) flags.push_back(row.cancelled);
    if (fate == 1) row.deadline = Clock::now() + std::chrono::microseconds(*rc::gen::inRange(0, 500));
    disturbed.push_back(fate <= 1);
  }
  std::vector<SequenceRequest> shuffled = rows;
  for (size_t i = shuffled.size(); i > 1; --i) std::swap(shuffled[i - 1], shuffled[*rc::gen::inRange<size_t>(0, i)]);
  while (!shuffled.empty()) {
    const size_t group = *rc::gen::inRange<size_t>(1, shuffled.size() + 1);
    const auto begin = shuffled.end() - static_cast<std::ptrdiff_t>(group);
    RC_ASSERT(engine->submit({begin, shuffled.end()}).ok());
    shuffled.erase(begin, shuffled.end());
  }
  for (const CancelFlag& flag : flags) flag->store(true);
  RC_ASSERT(sink->wait(count));
  for (size_t i = 0; i < rows.size(); ++i) check_told(sink->row(static_cast<int>(i)), alone[i], disturbed[i]);
  check_idle(*engine, rows.size());
}

RC_GTEST_PROP(EngineProperty, EncodersAnswerAsIfAlone, ()) {
  run_trace(Family::encoder);
}
RC_GTEST_PROP(EngineProperty, DecodersAnswerAsIfAlone, ()) {
  run_trace(Family::decoder);
}
RC_GTEST_PROP(EngineProperty, EncoderDecodersAnswerAsIfAlone, ()) {
  run_trace(Family::encoder_decoder);
}

RC_GTEST_PROP(EngineProperty, ThePlainAnswerIsTheModels, ()) {
  const bool crossed = *rc::gen::arbitrary<bool>();
  const auto model = std::make_shared<FakeModel>(crossed ? Family::encoder_decoder : Family::decoder, kPositions);
  const auto engine = start(model, random_options(crossed ? Family::encoder_decoder : Family::decoder));
  const auto sink = std::make_shared<Collector>();
  std::vector<std::vector<int32_t>> texts;
  for (int i = 0; i < 6; ++i) {
    texts.push_back(random_ids(kPositions - 16));
    accept(*engine, generate_row(texts.back(), 16, i, sink));
  }
  RC_ASSERT(sink->wait(6));
  for (int i = 0; i < 6; ++i) {
    const auto& text = texts[static_cast<size_t>(i)];
    RC_ASSERT(sink->row(i).tokens ==
              (crossed ? expected_greedy(text, {FakeModel::kStart}, 16) : expected_greedy({}, text, 16)));
  }
}

}  // namespace
}  // namespace inazuma::test
