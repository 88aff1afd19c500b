// The engine's contract with its callers, on a model whose answers are known.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <thread>

#include "fakes.h"

namespace inazuma::test {
namespace {

using testing::HasSubstr;

std::shared_ptr<FakeModel> model(Family family, int positions = 64) {
  return std::make_shared<FakeModel>(family, positions);
}
std::shared_ptr<Collector> collector() {
  return std::make_shared<Collector>();
}

std::vector<int32_t> ramp(int count, int first = 3) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), first);
  for (int32_t& id : ids) id %= FakeModel::kVocab;
  return ids;
}

/// Lets the engine's thread wait inside a forward until opened.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
  }
  void wait_for_arrival() {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, std::chrono::seconds(10), [&] { return arrived_ > 0; }));
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  bool open_ = false;
};

/// A model that runs the warm-up freely and then waits at the gate.
struct Gated {
  std::shared_ptr<FakeModel> fake;
  std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  std::shared_ptr<std::atomic<bool>> armed = std::make_shared<std::atomic<bool>>(false);
  explicit Gated(Family family) : fake(model(family)) {
    fake->before = [gate = gate, armed = armed](const Batch&) {
      if (armed->load()) gate->pass();
    };
  }
};

TEST(Engine, AnswersATextWithItsRowsAndPooled) {
  const auto engine = start(model(Family::encoder));
  const auto sink = collector();
  SequenceRequest row = encode_row(ramp(7), 4, sink);
  row.type_ids = {0, 0, 0, 1, 1, 1, 1};
  accept(*engine, row);
  ASSERT_TRUE(sink->wait(1));
  const Told told = sink->row(4);
  EXPECT_EQ(told.reason, FinishReason::encoded);
  EXPECT_EQ(told.rows.count, 7);
  EXPECT_EQ(told.rows.width, FakeModel::kRowWidth);
  EXPECT_EQ(told.rows.values, expected_rows(row.ids, row.type_ids));
  EXPECT_EQ(told.pooled.values, expected_pooled(row.ids, row.type_ids));
  EXPECT_GE(told.times.prefill.count(), 0);
}

TEST(Engine, AnswersOnlyTheListedRows) {
  const auto engine = start(model(Family::encoder));
  const auto sink = collector();
  SequenceRequest row = encode_row(ramp(7), 0, sink);
  row.rows = SequenceRequest::Wanted::listed;
  row.listed = {1, 6};
  row.pooled = false;
  accept(*engine, row);
  ASSERT_TRUE(sink->wait(1));
  const std::vector<float> all = expected_rows(row.ids, {});
  std::vector<float> listed(all.begin() + 3, all.begin() + 6);
  listed.insert(listed.end(), all.begin() + 18, all.begin() + 21);
  EXPECT_EQ(sink->row(0).rows.values, listed);
  EXPECT_EQ(sink->row(0).pooled.count, 0);
}

TEST(Engine, GeneratesGreedily) {
  for (const Family family : {Family::decoder, Family::encoder_decoder}) {
    const auto engine = start(model(family));
    const auto sink = collector();
    accept(*engine, generate_row(ramp(9), 12, 0, sink));
    ASSERT_TRUE(sink->wait(1));
    const Told told = sink->row(0);
    const bool crossed = family == Family::encoder_decoder;
    EXPECT_EQ(told.tokens,
              crossed ? expected_greedy(ramp(9), {FakeModel::kStart}, 12) : expected_greedy({}, ramp(9), 12));
    EXPECT_EQ(told.reason, FinishReason::length);
    EXPECT_EQ(told.generated, 12);
    EXPECT_EQ(told.broken, "");
  }
}

TEST(Engine, ADecoderPromptContinuesAnEncoderDecoder) {
  const auto engine = start(model(Family::encoder_decoder), {.max_batch_tokens = 4});
  const auto sink = collector();
  SequenceRequest row = generate_row(ramp(9), 5, 0, sink);
  row.decoder_ids = ramp(11, 30);
  accept(*engine, row);
  ASSERT_TRUE(sink->wait(1));
  EXPECT_EQ(sink->row(0).tokens, expected_greedy(ramp(9), ramp(11, 30), 5));
}

TEST(Engine, StopsAfterAnEndTokenUnlessToldToIgnoreIt) {
  const auto engine = start(model(Family::decoder));
  const auto sink = collector();
  const std::vector<int32_t> free_run = expected_greedy({}, ramp(5), 10);
  const int32_t eos = free_run[6];
  const auto first = std::find(free_run.begin(), free_run.end(), eos);
  SequenceRequest row = generate_row(ramp(5), 10, 0, sink);
  row.generation.eos = {eos};
  accept(*engine, row);
  row.index = 1;
  row.generation.ignore_eos = true;
  accept(*engine, row);
  ASSERT_TRUE(sink->wait(2));
  EXPECT_EQ(sink->row(0).tokens, std::vector<int32_t>(free_run.begin(), first + 1));
  EXPECT_EQ(sink->row(0).reason, FinishReason::eos);
  EXPECT_EQ(sink->row(1).tokens, free_run);
  EXPECT_EQ(sink->row(1).reason, FinishReason::length);
}

TEST(Engine, ForcedTokensAreForcedWithCertainty) {
  const auto engine = start(model(Family::encoder_decoder));
  const auto sink = collector();
  SequenceRequest row = generate_row(ramp(4), 4, 0, sink);
  row.generation.forced_bos = 50;
  row.generation.forced_eos = 60;
  row.generation.eos = {60};
  row.generation.min_new_tokens = 4;
  accept(*engine, row);
  ASSERT_TRUE(sink->wait(1));
  const Told told = sink->row(0);
  ASSERT_EQ(told.tokens.size(), 4u);
  EXPECT_EQ(told.tokens[0], 50);
  EXPECT_EQ(told.tokens[3], 60);
  EXPECT_EQ(told.logprobs[0], 0.0f);
  EXPECT_EQ(told.reason, FinishReason::eos);
  const auto middle = expected_greedy(ramp(4), {FakeModel::kStart, 50}, 1);
  EXPECT_EQ(told.tokens[1], middle[0]);
}

/// Greedy over the model's own logits, with `banned` deciding what may follow `history`.
std::vector<int32_t> greedy_without(std::vector<int32_t> history, int count,
                                    const std::function<bool(const std::vector<int32_t>&, int32_t)>& banned) {
  const size_t prompt = history.size();
  for (int i = 0; i < count; ++i) {
    const std::vector<float> logits = expected_logits({}, history);
    int32_t best = -1;
    for (int32_t id = 0; id < FakeModel::kVocab; ++id)
      if (!banned(history, id) && (best < 0 || logits[static_cast<size_t>(id)] > logits[static_cast<size_t>(best)]))
        best = id;
    history.push_back(best);
  }
  return {history.begin() + static_cast<std::ptrdiff_t>(prompt), history.end()};
}

TEST(Engine, BansLookBackAtWhatWasGenerated) {
  const auto engine = start(model(Family::decoder));
  const auto sink = collector();
  SequenceRequest once = generate_row(ramp(5), 50, 0, sink);
  once.generation.no_repeat_ngram = 1;
  accept(*engine, once);
  const std::vector<int32_t> plain = expected_greedy({}, ramp(5), 8);
  SequenceRequest word = generate_row(ramp(5), 8, 1, sink);
  word.generation.bad_words = {{plain[3], plain[4]},
                               {plain[0]}};  // the second changes the way; the first may not be met
  accept(*engine, word);
  SequenceRequest pair = generate_row(ramp(5), 8, 2, sink);
  pair.generation.bad_words = {{plain[3], plain[4]}};
  accept(*engine, pair);
  ASSERT_TRUE(sink->wait(3));
  const auto repeated = [](const auto& ids, int32_t id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); };
  EXPECT_EQ(sink->row(0).tokens, greedy_without(ramp(5), 50, repeated));
  const auto completes = [&](const auto& ids, int32_t id) { return ids.back() == plain[3] && id == plain[4]; };
  const auto either = [&](const auto& ids, int32_t id) { return id == plain[0] || completes(ids, id); };
  EXPECT_EQ(sink->row(1).tokens, greedy_without(ramp(5), 8, either));
  EXPECT_EQ(sink->row(2).tokens, greedy_without(ramp(5), 8, completes));
  EXPECT_NE(sink->row(2).tokens, plain);
}

TEST(Engine, ReportsAlternativesPerRowBestFirst) {
  const auto engine = start(model(Family::decoder));
  const auto sink = collector();
  std::vector<SequenceRequest> rows;
  for (int n : {0, 2, 5}) {
    rows.push_back(generate_row(ramp(4), 2, n, sink));
    rows.back().generation.top_tokens = n;
  }
  ASSERT_TRUE(engine->submit(std::move(rows)).ok());
  ASSERT_TRUE(sink->wait(3));
  for (int n : {0, 2, 5}) {
    const Told told = sink->row(n);
    ASSERT_EQ(told.top.size(), 2u);
    ASSERT_EQ(told.top[0].size(), static_cast<size_t>(n));
    if (n == 0) continue;
    EXPECT_EQ(told.top[0][0].id, told.tokens[0]);
    EXPECT_EQ(told.top[0][0].logprob, told.logprobs[0]);
    EXPECT_GE(told.top[0][0].logprob, told.top[0][1].logprob);
  }
}

TEST(Engine, PromptLogprobsAreTheModelsInOneChunkOrMany) {
  for (const int budget : {3, 100}) {
    const auto engine = start(model(Family::decoder), {.max_sequences = 2, .max_batch_tokens = budget});
    const auto sink = collector();
    for (const int max_new : {0, 2}) {
      SequenceRequest row = generate_row(ramp(8), max_new, max_new, sink);
      row.generation.prompt_logprobs = true;
      accept(*engine, row);
    }
    ASSERT_TRUE(sink->wait(2));
    EXPECT_EQ(sink->row(2).tokens, expected_greedy({}, ramp(8), 2));
    EXPECT_EQ(sink->row(0).reason, FinishReason::length);
    EXPECT_TRUE(sink->row(0).tokens.empty());
    for (const int index : {0, 2}) {
      const std::vector<TokenLogprob> prompt = sink->row(index).prompt;
      ASSERT_EQ(prompt.size(), 8u);
      EXPECT_TRUE(std::isnan(prompt[0].logprob));
      for (size_t i = 1; i < prompt.size(); ++i) {
        const std::vector<int32_t> ids = ramp(8);
        const std::vector<float> logits =
            expected_logits({}, {ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(i)});
        double total = 0;
        for (const float logit : logits) total += std::exp(static_cast<double>(logit));
        EXPECT_EQ(prompt[i].id, ids[i]);
        EXPECT_NEAR(prompt[i].logprob, logits[static_cast<size_t>(ids[i])] - std::log(total), 1e-4);
      }
    }
  }
}

TEST(Engine, RefusesWhenTheQueueIsFullAndServesAgainAfter) {
  Gated gated(Family::encoder);
  const auto engine = start(gated.fake, {.max_queue = 2, .max_sequences = 1});
  const auto sink = collector();
  *gated.armed = true;
  accept(*engine, encode_row(ramp(3), 0, sink));
  gated.gate->wait_for_arrival();  // row 0 is being worked, none waits
  accept(*engine, encode_row(ramp(3), 1, sink));
  accept(*engine, encode_row(ramp(3), 2, sink));
  const Status refused = engine->submit({encode_row(ramp(3), 3, sink)});
  EXPECT_EQ(refused.code(), StatusCode::overloaded);
  EXPECT_EQ(engine->stats().waiting, 2);
  EXPECT_EQ(
      engine->submit({encode_row(ramp(3), 3, sink), encode_row(ramp(3), 4, sink), encode_row(ramp(3), 5, sink)}).code(),
      StatusCode::too_large);
  gated.gate->open();
  ASSERT_TRUE(sink->wait(3));
  accept(*engine, encode_row(ramp(3), 6, sink));
  ASSERT_TRUE(sink->wait(4));
  EXPECT_EQ(sink->order_of_ends(), (std::vector<int>{0, 1, 2, 6}));
}

TEST(Engine, CancelledAndExpiredRowsAreNotComputed) {
  Gated gated(Family::encoder);
  const auto engine = start(gated.fake, {.max_sequences = 1});
  const auto sink = collector();
  *gated.armed = true;
  accept(*engine, encode_row(ramp(3), 0, sink));
  gated.gate->wait_for_arrival();
  SequenceRequest cancelled = encode_row(ramp(3), 1, sink);
  cancelled.cancelled = std::make_shared<std::atomic<bool>>(false);
  SequenceRequest expired = encode_row(ramp(3), 2, sink);
  expired.deadline = Clock::now() + std::chrono::milliseconds(1);
  accept(*engine, cancelled);
  accept(*engine, expired);
  cancelled.cancelled->store(true);
  std::this_thread::sleep_for(std::chrono::milliseconds(3));
  gated.gate->open();
  ASSERT_TRUE(sink->wait(3));
  EXPECT_EQ(sink->row(1).failed.code(), StatusCode::cancelled);
  EXPECT_EQ(sink->row(2).failed.code(), StatusCode::deadline_exceeded);
  ASSERT_TRUE(engine->drain(Clock::now() + std::chrono::seconds(10)));
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.cancelled_total, 1);
  EXPECT_EQ(stats.deadline_total, 1);
  EXPECT_EQ(stats.finished_total, 1);
  EXPECT_EQ(stats.prompt_tokens_total, 3);  // only row 0
}

TEST(Engine, CancellingAStreamEndsItAtTheNextStep) {
  const auto engine = start(model(Family::decoder, 4096));
  const auto sink = collector();
  SequenceRequest row = generate_row(ramp(3), 4000, 0, sink);
  row.cancelled = std::make_shared<std::atomic<bool>>(false);
  sink->also = [flag = row.cancelled, count = 0](const SequenceEvent&) mutable {
    if (++count == 5) flag->store(true);
  };
  accept(*engine, row);
  ASSERT_TRUE(sink->wait(1));
  EXPECT_EQ(sink->row(0).reason, FinishReason::cancelled);
  EXPECT_EQ(sink->row(0).generated, 5);
  EXPECT_EQ(sink->row(0).tokens.size(), 5u);
  ASSERT_TRUE(engine->drain(Clock::now() + std::chrono::seconds(10)));
  EXPECT_EQ(engine->stats().kv_blocks_used, 0);
}

TEST(Engine, AStepThatThrowsFailsItsRowsAndTheEngineGoesOn) {
  for (const char* where : {"upload", "read_history", "select_tokens", "download"}) {
    std::atomic<bool> broken = false;
    auto ops = std::make_unique<WatchedOps>([&](const char* name) {
      if (broken && std::string_view(name) == where)
        throw Error(StatusCode::out_of_memory, "device memory is exhausted");
    });
    const auto engine = Engine::start(model(Family::decoder), std::move(ops)).value();
    const auto sink = collector();
    broken = true;
    ASSERT_TRUE(engine->submit({generate_row(ramp(4), 5, 0, sink), generate_row(ramp(4), 5, 1, sink)}).ok());
    ASSERT_TRUE(sink->wait(2));
    broken = false;
    EXPECT_EQ(sink->row(0).failed.code(), StatusCode::out_of_memory) << where;
    EXPECT_EQ(sink->row(1).failed.code(), StatusCode::out_of_memory) << where;
    accept(*engine, generate_row(ramp(4), 5, 2, sink));
    ASSERT_TRUE(sink->wait(3));
    EXPECT_EQ(sink->row(2).tokens, expected_greedy({}, ramp(4), 5)) << where;
    ASSERT_TRUE(engine->drain(Clock::now() + std::chrono::seconds(10)));
    EXPECT_EQ(engine->stats().kv_blocks_used, 0) << where;
    EXPECT_EQ(engine->stats().failed_total, 2) << where;
  }
}

/// Rows that generate need no more than they had: only who reads beside them hears that memory ran short, and of those
/// who read first who wants the log-probabilities of a prompt.
TEST(Engine, MemoryThatRunsShortInAPromptFailsThatRowAlone) {
  const auto fake = model(Family::decoder, 4096);
  fake->before = [](const Batch& batch) {
    if (batch.decoder.max_query >= 40) throw Error(StatusCode::out_of_memory, "device memory is exhausted");
  };
  const auto engine = start(fake);
  const auto sink = collector();
  SequenceRequest first = generate_row(ramp(4), 4000, 0, sink);
  first.cancelled = std::make_shared<std::atomic<bool>>(false);
  accept(*engine, first);
  ASSERT_TRUE(sink->wait_tokens(0, 3));
  accept(*engine, generate_row(ramp(60), 5, 1, sink));
  ASSERT_TRUE(sink->wait(1));
  EXPECT_EQ(sink->row(1).failed.code(), StatusCode::out_of_memory);
  SequenceRequest scored = generate_row(ramp(50), 5, 2, sink);
  scored.generation.prompt_logprobs = true;
  ASSERT_TRUE(engine->submit({scored, generate_row(ramp(30), 5, 3, sink)}).ok());
  ASSERT_TRUE(sink->wait(3));
  EXPECT_EQ(sink->row(2).failed.code(), StatusCode::out_of_memory);
  EXPECT_EQ(sink->row(3).tokens, expected_greedy({}, ramp(30), 5));
  const size_t told = sink->row(0).tokens.size();
  ASSERT_TRUE(sink->wait_tokens(0, told + 3));  // it went on
  first.cancelled->store(true);
  ASSERT_TRUE(sink->wait(4));
  EXPECT_TRUE(sink->row(0).failed.ok()) << sink->row(0).failed.message();
  EXPECT_EQ(engine->stats().failed_total, 2);
}

TEST(Engine, TextsThatFillAStepBeginWhileTheOneBeforeIsAtWork) {
  const auto fake = model(Family::encoder);
  const auto busy = std::make_shared<std::atomic<bool>>(false), armed = std::make_shared<std::atomic<bool>>(false);
  const auto begun = std::make_shared<std::atomic<int>>(0);
  fake->before = [=](const Batch&) {
    if (*armed && ++*begun == 2) *busy = false;  // no step is over before the second began
  };
  auto ops = std::make_unique<WatchedOps>();
  ops->busy = busy;
  const auto engine =
      Engine::start(fake, std::move(ops), {.max_sequences = 256, .max_batch_tokens = 4096, .steps_in_flight = 2})
          .value();
  *armed = *busy = true;
  const auto sink = collector();
  constexpr int kTexts = 40;  // of 64 ids: more than half of a full step, so that two of them are two steps
  for (int batch = 0; batch < 2; ++batch) {
    std::vector<SequenceRequest> rows;
    for (int i = 0; i < kTexts; ++i) rows.push_back(encode_row(ramp(64), batch * kTexts + i, sink));
    ASSERT_TRUE(engine->submit(std::move(rows)).ok());
    while (*begun == 0) std::this_thread::yield();
  }
  EXPECT_TRUE(sink->wait(2 * kTexts));
  *busy = false;
  EXPECT_EQ(*begun, 2);
  for (int i = 0; i < 2 * kTexts; ++i) EXPECT_EQ(sink->row(i).rows.values, expected_rows(ramp(64), {}));
}

TEST(Engine, ALostDeviceFailsAllRowsAndTakesNoMore) {
  const auto lost = std::make_shared<std::atomic<bool>>(false);
  auto ops = std::make_unique<WatchedOps>([lost](const char* name) {
    if (*lost && std::string_view(name) != "allocate") throw Error(StatusCode::internal, "an illegal memory access");
  });
  ops->lost = lost;
  const auto engine = Engine::start(model(Family::decoder), std::move(ops), {.max_sequences = 2}).value();
  const auto sink = collector();
  sink->also = [lost](const SequenceEvent& event) {
    if (event.kind == SequenceEvent::Kind::token) *lost = true;
  };
  std::vector<SequenceRequest> rows;
  for (int i = 0; i < 5; ++i) rows.push_back(generate_row(ramp(4), 9, i, sink));
  ASSERT_TRUE(engine->submit(std::move(rows)).ok());
  ASSERT_TRUE(sink->wait(5));
  EXPECT_EQ(sink->row(4).failed.code(), StatusCode::unavailable);  // it never ran
  EXPECT_EQ(sink->row(4).failed.message(), "cuda:0 is lost");
  EXPECT_TRUE(engine->stats().lost);
  EXPECT_EQ(engine->submit({generate_row(ramp(4), 5, 5, sink)}).code(), StatusCode::unavailable);
  EXPECT_TRUE(engine->drain(Clock::now() + std::chrono::seconds(10)));
}

TEST(Engine, ARowWhoseScoresAreNotNumbersFailsAloneAndSaysSo) {
  const auto fake = model(Family::decoder);
  fake->after = [](const Batch& batch, Output& out) {
    const DecoderLane& lane = batch.decoder;
    for (int64_t i = 0; lane.rows.defined() && i < lane.rows.rows(); ++i)
      if (lane.positions.as<int32_t>()[lane.rows.as<int32_t>()[i]] == 9)
        std::fill_n(out.logits.rows(i, i + 1).as<float>(), FakeModel::kVocab, std::numeric_limits<float>::quiet_NaN());
  };
  const auto engine = start(fake);
  const auto sink = collector();
  accept(*engine, generate_row(ramp(8), 6, 0, sink));  // positions 7 and 8 give two tokens, 9 gives none
  accept(*engine, generate_row(ramp(3), 6, 1, sink));  // ends at position 8
  ASSERT_TRUE(sink->wait(2));
  EXPECT_EQ(sink->row(0).failed.code(), StatusCode::internal);
  EXPECT_THAT(sink->row(0).failed.message(), HasSubstr("not a number"));
  EXPECT_EQ(sink->row(0).tokens.size(), 2u);
  EXPECT_EQ(sink->row(1).tokens, expected_greedy({}, ramp(3), 6));
  accept(*engine, generate_row(ramp(3), 6, 2, sink));
  ASSERT_TRUE(sink->wait(3));
  EXPECT_EQ(sink->row(2).reason, FinishReason::length);
}

TEST(Engine, AModelThatThrowsSomethingElseIsInternal) {
  const auto fake = model(Family::encoder);
  auto broken = std::make_shared<std::atomic<bool>>(false);
  fake->before = [broken](const Batch&) {
    if (broken->load()) throw std::runtime_error("a defect");
  };
  const auto engine = start(fake);
  const auto sink = collector();
  *broken = true;
  accept(*engine, encode_row(ramp(4), 0, sink));
  ASSERT_TRUE(sink->wait(1));
  EXPECT_EQ(sink->row(0).failed.code(), StatusCode::internal);
  EXPECT_THAT(sink->row(0).failed.message(), HasSubstr("a defect"));
}

TEST(Engine, ASinkThatThrowsTakesNobodyDown) {
  const auto engine = start(model(Family::decoder));
  const auto bad = collector(), good = collector();
  bad->also = [](const SequenceEvent& event) {
    if (event.kind == SequenceEvent::Kind::token) throw std::runtime_error("full");
  };
  ASSERT_TRUE(engine->submit({generate_row(ramp(4), 9, 0, bad), generate_row(ramp(4), 9, 1, good)}).ok());
  ASSERT_TRUE(good->wait(1));
  ASSERT_TRUE(bad->wait(1));
  EXPECT_EQ(good->row(1).tokens, expected_greedy({}, ramp(4), 9));
  EXPECT_EQ(bad->row(0).reason, FinishReason::cancelled);
}

TEST(Engine, DrainTakesNoMoreAndWaitsForTheAccepted) {
  Gated gated(Family::encoder);
  const auto engine = start(gated.fake);
  const auto sink = collector();
  *gated.armed = true;
  accept(*engine, encode_row(ramp(3), 0, sink));
  EXPECT_FALSE(engine->drain(Clock::now() + std::chrono::milliseconds(5)));
  EXPECT_EQ(engine->submit({encode_row(ramp(3), 1, sink)}).code(), StatusCode::unavailable);
  gated.gate->open();
  EXPECT_TRUE(engine->drain(Clock::now() + std::chrono::seconds(10)));
  EXPECT_EQ(sink->ended(), 1);
  EXPECT_EQ(engine->stats().running, 0);
}

TEST(Engine, DestructionFailsWhatRunsAndWaits) {
  const auto sink = collector();
  {
    const auto engine = start(model(Family::decoder, 100000), {.max_sequences = 1, .kv_tokens = 100000});
    for (int i = 0; i < 3; ++i) accept(*engine, generate_row(ramp(3), 90000, i, sink));
    ASSERT_TRUE(sink->wait_tokens(0, 3));
  }
  EXPECT_EQ(sink->ended(), 3);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(sink->row(i).ends, 1);
    EXPECT_EQ(sink->row(i).failed.code(), StatusCode::unavailable);
    EXPECT_EQ(sink->row(i).broken, "");
  }
}

TEST(Engine, TwoEnginesShareOneModel) {
  const auto fake = model(Family::decoder);
  const auto one = start(fake), two = start(fake);
  const auto sink = collector();
  for (int i = 0; i < 20; ++i) accept(i % 2 ? *one : *two, generate_row(ramp(3 + i), 8, i, sink));
  ASSERT_TRUE(sink->wait(20));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(sink->row(i).tokens, expected_greedy({}, ramp(3 + i), 8));
}

TEST(Engine, ManyThreadsEachHearTheirOwn) {
  const auto engine = start(model(Family::decoder), {.max_sequences = 5, .max_batch_tokens = 16});
  const auto sink = collector();
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) accept(*engine, generate_row(ramp(1 + t + i, t), 6, t * 5 + i, sink));
    });
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(sink->wait(80));
  for (int t = 0; t < 16; ++t)
    for (int i = 0; i < 5; ++i) EXPECT_EQ(sink->row(t * 5 + i).tokens, expected_greedy({}, ramp(1 + t + i, t), 6));
}

TEST(Engine, AnIdleEngineSleepsAndShowsItLives) {
  const auto engine = start(model(Family::encoder));
  timespec before, after;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  const Clock::time_point first = engine->stats().heartbeat;
  std::this_thread::sleep_for(std::chrono::milliseconds(1300));
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  const double busy =
      static_cast<double>(after.tv_sec - before.tv_sec) + 1e-9 * static_cast<double>(after.tv_nsec - before.tv_nsec);
  EXPECT_LT(busy, 0.05);
  EXPECT_GT(engine->stats().heartbeat, first);
  EXPECT_EQ(engine->stats().steps_total, 0);
}

TEST(Engine, AShortageAtStartIsAnError) {
  std::atomic<bool> tight = true;
  auto ops = std::make_unique<WatchedOps>([&](const char* name) {
    if (std::string_view(name) == "allocate") throw Error(StatusCode::out_of_memory, "cannot allocate");
  });
  const auto engine = Engine::start(model(Family::decoder), std::move(ops));
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.status().code(), StatusCode::out_of_memory);
}

TEST(Engine, StartingOnTheCpuRunsOnlyALittle) {
  for (const Family family : {Family::encoder, Family::decoder, Family::encoder_decoder}) {
    const auto fake = model(family, 512);
    auto most = std::make_shared<std::atomic<int>>(0);
    fake->before = [most](const Batch& batch) {
      *most = std::max({most->load(), batch.encoder.tokens, batch.decoder.tokens});
    };
    const auto engine = start(fake);
    EXPECT_GT(*most, 0);
    EXPECT_LE(*most, 16);
  }
}

TEST(Engine, CountsWhatItDid) {
  const auto engine = start(model(Family::encoder_decoder));
  const auto sink = collector();
  accept(*engine, generate_row(ramp(9), 4, 0, sink));
  ASSERT_TRUE(engine->drain(Clock::now() + std::chrono::seconds(10)));
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.steps_total, 4);
  EXPECT_EQ(stats.prompt_tokens_total, 10);
  EXPECT_EQ(stats.generated_tokens_total, 4);
  EXPECT_EQ(stats.rows_total, 9 + 4);
  EXPECT_EQ(stats.finished_total, 1);
  EXPECT_GT(stats.kv_blocks_total, 0);
}

}  // namespace
}  // namespace inazuma::test
