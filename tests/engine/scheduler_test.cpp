// Plans by hand, and promises over random traces. Only the scheduler: no model, no thread.
#include "engine/scheduler.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

namespace inazuma {
namespace {

using Phase = Sequence::Phase;
using Row = std::unique_ptr<Sequence>;
const Clock::time_point kNow = Clock::time_point() + std::chrono::hours(1);

Row encode(int tokens, int arrival = 0) {
  auto row = std::make_unique<Sequence>();
  row->request.ids.assign(static_cast<size_t>(tokens), 5);
  row->phase = Phase::encode;
  row->arrival = arrival;
  return row;
}

Row generate(int prompt, int max_new, int blocks, int arrival = 0) {
  auto row = std::make_unique<Sequence>();
  row->history.assign(static_cast<size_t>(prompt), 5);
  row->prompt = prompt;
  row->request.generation.max_new_tokens = max_new;
  row->blocks_needed = blocks;
  row->phase = Phase::prefill;
  row->arrival = arrival;
  return row;
}

Row decoding(int prompt, int generated, int blocks) {
  Row row = generate(prompt, 100, blocks);
  row->phase = Phase::decode;
  row->generated = generated;
  row->computed = prompt + generated - 1;
  row->blocks.assign(static_cast<size_t>(blocks), 0);
  return row;
}

std::vector<Row> list(auto... rows) {
  std::vector<Row> out;
  (out.push_back(std::move(rows)), ...);
  return out;
}

Plan plan(const std::vector<Row>& waiting, const std::vector<Row>& running, const Budgets& budgets) {
  Plan out;
  plan_step(waiting, running, budgets, kNow, out);
  return out;
}

using Counts = std::vector<std::pair<int, int>>;  // begin, count
Counts chunks(const Plan& plan) {
  Counts out;
  for (const auto& chunk : plan.decode) out.emplace_back(chunk.begin, chunk.count);
  return out;
}

Row with_beams(Row row, int beams) {
  row->request.generation.num_beams = beams;
  return row;
}

TEST(Scheduler, PacksTextsInOrderUpToTheBudget) {
  const auto waiting = list(encode(4), encode(3), encode(2), encode(9));
  const Plan p = plan(waiting, {}, {8, 10, 0});
  EXPECT_EQ(p.encode, (std::vector<Sequence*>{waiting[0].get(), waiting[1].get(), waiting[2].get()}));
  EXPECT_EQ(p.admitted, p.encode);
}

TEST(Scheduler, NobodyOvertakesATextThatDoesNotFit) {
  const auto waiting = list(encode(4), encode(7), encode(1));
  EXPECT_EQ(plan(waiting, {}, {8, 10, 0}).encode.size(), 1u);
}

TEST(Scheduler, ATextLongerThanTheBudgetRunsAlone) {
  const auto waiting = list(encode(25), encode(1));
  const Plan p = plan(waiting, {}, {8, 10, 0});
  EXPECT_EQ(p.encode, std::vector<Sequence*>{waiting[0].get()});
}

TEST(Scheduler, KeepsToTheNumberOfSequences) {
  const auto waiting = list(encode(1), encode(1), encode(1));
  EXPECT_EQ(plan(waiting, {}, {2, 10, 0}).encode.size(), 2u);
}

TEST(Scheduler, DecodingRowsFirstThenPromptsInChunks) {
  const auto running = list(decoding(5, 2, 1), generate(20, 4, 2), decoding(3, 1, 1));
  running[1]->computed = 6;
  const auto waiting = list(generate(9, 1, 1));
  const Plan p = plan(waiting, running, {8, 10, 5});
  ASSERT_EQ(p.decode.size(), 3u);
  EXPECT_EQ(p.decode[0].sequence, running[0].get());
  EXPECT_EQ(p.decode[1].sequence, running[2].get());
  EXPECT_EQ(chunks(p), (Counts{{6, 1}, {3, 1}, {6, 8}}));
  EXPECT_TRUE(p.decode[0].selects());
  EXPECT_FALSE(p.decode[2].selects());
  EXPECT_TRUE(p.admitted.empty());
}

TEST(Scheduler, TheLastChunkSelects) {
  const auto running = list(generate(20, 4, 2));
  running[0]->computed = 15;
  const auto waiting = list(generate(9, 1, 1), generate(9, 1, 1));
  const Plan p = plan(waiting, running, {8, 10, 5});
  EXPECT_EQ(chunks(p), (Counts{{15, 5}, {0, 5}}));
  EXPECT_TRUE(p.decode[0].selects());
  EXPECT_FALSE(p.decode[1].selects());
  EXPECT_EQ(p.admitted, std::vector<Sequence*>{waiting[0].get()});
}

TEST(Scheduler, AdmitsOnlyWithBlocksForTheWholeLife) {
  const auto waiting = list(generate(4, 4, 3), generate(4, 4, 3), generate(1, 1, 1));
  const Plan p = plan(waiting, {}, {8, 100, 5});
  EXPECT_EQ(p.admitted, std::vector<Sequence*>{waiting[0].get()});  // the small one does not overtake
}

TEST(Scheduler, BeamsCountAsSequencesAndDecodeSideBySide) {
  const auto running = list(with_beams(decoding(5, 2, 9), 3), decoding(3, 1, 1));
  const auto waiting = list(with_beams(generate(9, 1, 1), 4), generate(2, 1, 1));
  const Plan p = plan(waiting, running, {8, 10, 5});
  EXPECT_EQ(chunks(p), (Counts{{6, 1}, {6, 1}, {6, 1}, {3, 1}, {0, 6}}));
  for (int beam = 0; beam < 3; ++beam) EXPECT_EQ(p.decode[static_cast<size_t>(beam)].beam, beam);
  EXPECT_EQ(p.decode[4].sequence, waiting[0].get());  // a prompt is read once
  const Plan narrow = plan(waiting, running, {7, 10, 5});
  EXPECT_TRUE(narrow.admitted.empty());  // three of its beams would fit, and the row behind it does not overtake
}

TEST(Scheduler, BlocksAndPlacesOfDroppedRowsCount) {
  auto running = list(decoding(5, 2, 4));
  running[0]->cancelled = true;
  const auto waiting = list(generate(4, 4, 3));
  const Plan p = plan(waiting, running, {1, 100, 0});
  ASSERT_EQ(p.dropped.size(), 1u);
  EXPECT_EQ(p.dropped[0].why, StatusCode::cancelled);
  EXPECT_EQ(p.admitted.size(), 1u);
  EXPECT_EQ(p.decode.size(), 1u);
}

TEST(Scheduler, ExpiredRowsLeaveFromEveryPlaceUncomputed) {
  auto waiting = list(encode(25), encode(3), encode(3));
  waiting[1]->request.deadline = kNow;  // behind one that fills the step
  auto running = list(encode(2));
  running[0]->request.deadline = kNow - std::chrono::seconds(1);
  const Plan p = plan(waiting, running, {8, 10, 0});
  ASSERT_EQ(p.dropped.size(), 2u);
  EXPECT_EQ(p.dropped[0].sequence, running[0].get());
  EXPECT_EQ(p.dropped[1].sequence, waiting[1].get());
  EXPECT_EQ(p.dropped[1].why, StatusCode::deadline_exceeded);
  EXPECT_EQ(p.encode, std::vector<Sequence*>{waiting[0].get()});
}

TEST(Scheduler, ASourceAndItsDecoderStartInOneStep) {
  auto row = generate(1, 5, 1);
  row->request.ids.assign(6, 5);
  row->phase = Phase::encode;
  row->cross_blocks_needed = 2;
  const auto waiting = list(std::move(row));
  const Plan p = plan(waiting, {}, {8, 10, 3});
  EXPECT_EQ(p.encode.size(), 1u);
  EXPECT_EQ(chunks(p), (Counts{{0, 1}}));
  const Plan tight = plan(waiting, {}, {8, 6, 3});
  EXPECT_EQ(tight.encode.size(), 1u);
  EXPECT_TRUE(tight.decode.empty());
}

TEST(Scheduler, PromptLogprobsKeepToTheirRows) {
  auto waiting = list(generate(300, 1, 1), generate(300, 1, 1));
  for (Row& row : waiting) row->request.generation.prompt_logprobs = true;
  const Plan p = plan(waiting, {}, {8, 1000, 5, 256});
  EXPECT_EQ(chunks(p), (Counts{{0, 256}}));
}

TEST(Scheduler, RankIsArrivalShiftedByPriority) {
  Sequence early, late, urgent;
  early.arrival = 10;
  late.arrival = 11;
  urgent.arrival = 11 + kPriorityStride - 2;
  urgent.request.priority = -1;
  EXPECT_LT(early.rank(), late.rank());
  EXPECT_LT(urgent.rank(), early.rank());
  urgent.arrival += 2;
  EXPECT_GT(urgent.rank(), early.rank());
}

/// Applies plans as the engine does, for traces.
struct House {
  Budgets budgets;
  std::vector<Row> waiting, running;
  std::vector<Sequence*> order;  // of admission
  int steps = 0;

  void arrive(Row row) {
    const auto after = std::upper_bound(waiting.begin(), waiting.end(), row->rank(),
                                        [](int64_t rank, const Row& other) { return rank < other->rank(); });
    waiting.insert(after, std::move(row));
  }

  void check(const Plan& p) const {
    int decoding_rows = 0, tokens = 0;
    for (const auto& chunk : p.decode) {
      RC_ASSERT(chunk.count >= 1);
      RC_ASSERT(chunk.begin == chunk.sequence->computed);
      tokens += chunk.count;
      decoding_rows += chunk.sequence->phase == Phase::decode;
      RC_ASSERT(chunk.beam < chunk.sequence->width());
    }
    for (const Sequence* row : p.encode) tokens += row->source();
    int alive = 0;
    for (const Row& row : running) alive += row->phase == Phase::decode ? row->width() : 0;
    RC_ASSERT(decoding_rows == alive);  // every decoding row moves in every step
    RC_ASSERT(tokens <= budgets.max_batch_tokens || p.encode.size() == 1);
    RC_ASSERT(p.has_work());
  }

  void step() {
    Plan p;
    plan_step(waiting, running, budgets, kNow, p);
    check(p);
    for (Sequence* row : p.admitted) {
      RC_ASSERT(row == waiting.front().get());
      order.push_back(row);
      budgets.free_blocks -= row->blocks_needed + row->cross_blocks_needed;
      running.push_back(std::move(waiting.front()));
      waiting.erase(waiting.begin());
    }
    RC_ASSERT(budgets.free_blocks >= 0);
    int sequences = 0;
    for (const Row& row : running) sequences += row->width();
    RC_ASSERT(sequences <= budgets.max_sequences);
    for (Sequence* row : p.encode) row->phase = row->prompt > 0 ? Phase::prefill : Phase::ended;
    for (const auto& chunk : p.decode) {
      if (chunk.beam > 0) continue;  // they move together
      Sequence& row = *chunk.sequence;
      const bool selects = chunk.selects();
      row.computed += chunk.count;
      if (row.computed == row.prompt) row.phase = Phase::decode;
      if (selects && ++row.generated == row.request.generation.max_new_tokens) row.phase = Phase::ended;
    }
    std::erase_if(running, [&](const Row& row) {
      if (row->phase != Phase::ended) return false;
      budgets.free_blocks += row->blocks_needed + row->cross_blocks_needed;
      return true;
    });
    ++steps;
  }
};

Row random_row(int arrival, int pool_blocks, int most_beams) {
  const int kind = *rc::gen::inRange(0, 3);
  if (kind == 0) return encode(*rc::gen::inRange(1, 40), arrival);
  Row row =
      generate(*rc::gen::inRange(1, 40), *rc::gen::inRange(1, 12), *rc::gen::inRange(1, pool_blocks / 2 + 1), arrival);
  if (*rc::gen::inRange(0, 3) == 0) row = with_beams(std::move(row), *rc::gen::inRange(1, most_beams + 1));
  if (kind == 1) return row;
  row->phase = Phase::encode;
  row->request.ids.assign(static_cast<size_t>(*rc::gen::inRange(1, 40)), 5);
  row->cross_blocks_needed = *rc::gen::inRange(1, pool_blocks / 2 + 1);
  return row;
}

RC_GTEST_PROP(SchedulerProperty, EverybodyEndsInOrderOfArrivalAndWithinABound, ()) {
  House house;
  house.budgets.max_sequences = *rc::gen::inRange(1, 8);
  house.budgets.max_batch_tokens = *rc::gen::inRange(house.budgets.max_sequences, 30);
  const int pool = *rc::gen::inRange(2, 12);
  house.budgets.free_blocks = pool;
  const int rows = *rc::gen::inRange(1, 40);
  int bound = 0;
  for (int i = 0; i < rows; ++i) {
    Row row = random_row(i, pool, house.budgets.max_sequences);
    bound += 1 + row->prompt + row->request.generation.max_new_tokens + 1;
    house.arrive(std::move(row));
    if (*rc::gen::inRange(0, 3) == 0) house.step();
  }
  while (!house.waiting.empty() || !house.running.empty()) {
    house.step();
    RC_ASSERT(house.steps <= bound + rows);
  }
  RC_ASSERT(house.order.size() == static_cast<size_t>(rows));
  RC_ASSERT(house.budgets.free_blocks == pool);
}

TEST(SchedulerProperty, AHugeRowIsNotStarvedByAnEndlessFlowOfSmallOnes) {
  House house;
  house.budgets = {4, 8, 10};
  for (int i = 0; i < 4; ++i) house.arrive(generate(2, 5 + i, 2, i));
  house.step();
  Row big = generate(60, 3, 10, 4);  // the whole pool
  const Sequence* watched = big.get();
  house.arrive(std::move(big));
  int arrival = 5;
  while (std::find(house.order.begin(), house.order.end(), watched) == house.order.end()) {
    house.arrive(generate(1, 2, 1, arrival++));
    house.step();
    ASSERT_LT(house.steps, 12);  // the four before it end after at most eight tokens
  }
}

TEST(SchedulerProperty, ALowPriorityIsOvertakenByAtMostOneStridePerStep) {
  House house;
  house.budgets = {1, 8, 10};
  Row low = encode(1, 0);
  low->request.priority = 1;
  const Sequence* watched = low.get();
  house.arrive(std::move(low));
  int arrival = 1;
  for (; house.order.empty() || house.order.back() != watched; ++arrival) {
    house.arrive(encode(1, arrival));
    house.step();
    ASSERT_LE(house.order.size(), static_cast<size_t>(kPriorityStride) + 1);
  }
  EXPECT_GT(house.order.size(), static_cast<size_t>(kPriorityStride) / 2);  // it was overtaken, as asked
}

}  // namespace
}  // namespace inazuma
