// The search by hand, and the blocks of its beams over random choices. What transformers answers is in
// beam_goldens_test.cpp.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "engine/beams/beam_group.h"

namespace inazuma {
namespace {

using Ids = std::vector<int32_t>;
constexpr float kImpossible = -HUGE_VALF;

GenerationOptions beams(int width, int max_new_tokens, Ids eos = {}) {
  GenerationOptions out;
  out.num_beams = out.num_return_sequences = width;
  out.max_new_tokens = max_new_tokens;
  out.eos = std::move(eos);
  return out;
}

/// One row of candidates for each running beam, all alike.
bool advance(BeamSearch& search, const Ids& ids, const std::vector<float>& logprobs, int rows) {
  Ids all;
  std::vector<float> scores;
  for (int r = 0; r < rows; ++r) {
    all.insert(all.end(), ids.begin(), ids.end());
    scores.insert(scores.end(), logprobs.begin(), logprobs.end());
  }
  return search.advance(all, scores, static_cast<int>(ids.size()));
}

TEST(BeamSearch, WantsTwiceTheBeamsOrRoomForEveryEos) {
  EXPECT_EQ(BeamSearch(beams(3, 5), {}, {1}, 100).candidates(), 6);
  EXPECT_EQ(BeamSearch(beams(3, 5, {7, 8}), {}, {1}, 100).candidates(), 9);
  EXPECT_EQ(BeamSearch(beams(3, 5, {7, 8}), {}, {1}, 4).candidates(), 4);  // no more than there are
  GenerationOptions ignoring = beams(3, 5, {7, 8});
  ignoring.ignore_eos = true;
  EXPECT_EQ(BeamSearch(ignoring, {}, {1}, 100).candidates(), 6);
}

TEST(BeamSearch, TiesGoToTheLowerBeamThenId) {
  BeamSearch search(beams(2, 3), {}, {1}, 4);
  ASSERT_TRUE(advance(search, {0, 1, 2, 3}, {-1.0f, -1.0f, -1.0f, -1.0f}, 1));
  EXPECT_EQ(search.beams()[0].ids, (Ids{1, 0}));
  EXPECT_EQ(search.beams()[1].ids, (Ids{1, 1}));
  ASSERT_TRUE(advance(search, {0, 1, 2, 3}, {-1.0f, -1.0f, -1.0f, -1.0f}, 2));
  EXPECT_EQ(search.beams()[1].ids, (Ids{1, 0, 1}));
  EXPECT_EQ(search.beams()[1].parent, 0);
}

TEST(BeamSearch, AnEosBeyondTheFirstBeamsIsDropped) {
  BeamSearch search(beams(2, 2, {9}), {}, {1}, 4);
  ASSERT_TRUE(advance(search, {0, 1, 9, 3}, {-1.0f, -2.0f, -3.0f, -4.0f}, 1));  // rank 2 of 2 beams
  ASSERT_TRUE(advance(search, {0, 1, 2, 3}, {-1.0f, -2.0f, -3.0f, -4.0f}, 2));
  ASSERT_TRUE(search.ended());
  for (const Hypothesis& found : search.take_hypotheses()) {
    EXPECT_EQ(found.ids.size(), 2u);
    EXPECT_EQ(found.reason, FinishReason::length);
  }
}

TEST(BeamSearch, SaysWhenNothingCanFollow) {
  BeamSearch search(beams(2, 3), {}, {1}, 4);
  EXPECT_FALSE(advance(search, {0, 1, 2, 3}, std::vector<float>(4, kImpossible), 1));
  EXPECT_FALSE(advance(search, {0, 1, 2, 3}, std::vector<float>(4, std::nanf("")), 1));
  ASSERT_TRUE(advance(search, {0, 1, 2, 3}, {-1.0f, kImpossible, kImpossible, kImpossible}, 1));
  EXPECT_EQ(search.beams()[0].ids, (Ids{1, 0}));  // what can, goes on
}

TEST(BeamSearch, TheCallersReasonEndsAText) {
  GenerationOptions options = beams(2, 9);
  options.early_stopping = EarlyStopping::full;
  int seen_prompt = 0;
  const HypothesisEnd ends_at_two = [&](std::span<const int32_t> ids, int prompt) {
    seen_prompt = prompt;
    return ids.back() == 2;
  };
  BeamSearch search(options, ends_at_two, {1, 1, 1}, 4);
  ASSERT_TRUE(advance(search, {2, 0, 1, 3}, {-1.0f, -2.0f, -3.0f, -4.0f}, 1));
  EXPECT_FALSE(search.ended());
  ASSERT_TRUE(advance(search, {2, 0, 1, 3}, {-1.0f, -2.0f, -3.0f, -4.0f}, 2));
  ASSERT_TRUE(search.ended());
  const std::vector<Hypothesis> found = search.take_hypotheses();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].ids, (Ids{2}));
  EXPECT_EQ(found[1].ids, (Ids{0, 2}));
  EXPECT_EQ(found[1].reason, FinishReason::stopped);
  EXPECT_FLOAT_EQ(found[1].score, -3.0f / 2);
  EXPECT_EQ(seen_prompt, 3);
}

TEST(BeamSearch, DiversityLiftsLaterPlacesInABeam) {
  GenerationOptions options = beams(2, 9);
  options.beam_diversity = 5.0f;
  BeamSearch search(options, {}, {1}, 4);
  ASSERT_TRUE(advance(search, {0, 1, 2, 3}, {-1.0f, -2.0f, -3.0f, -4.0f}, 1));
  EXPECT_EQ(search.beams()[0].ids, (Ids{1, 1}));  // place 1: -2 + 5
  EXPECT_FLOAT_EQ(search.beams()[0].score, -2.0f);
}

TEST(BeamBlocks, SharesWholeBlocksOfThePromptOnly) {
  EXPECT_EQ(beam_blocks(8, 1, 3, 4), 2 + 3 * 1);
  EXPECT_EQ(beam_blocks(9, 1, 3, 4), 2 + 3 * 1);
  EXPECT_EQ(beam_blocks(9, 4, 3, 4), 2 + 3 * 2);
  EXPECT_EQ(beam_blocks(1, 20, 2, 16), 2 * 2);
}

/// Every beam reads what it wrote, written blocks are its own, and the group never needs more than it reserved.
RC_GTEST_PROP(BeamGroupProperty, TablesFollowTheTexts, ()) {
  const int width = *rc::gen::inRange(2, 9), block_tokens = *rc::gen::inRange(1, 7);
  const int prompt = *rc::gen::inRange(1, 20), steps = *rc::gen::inRange(1, 30);
  const int needed = beam_blocks(prompt, steps + 1, width, block_tokens);
  const auto ops = make_reference_ops();
  KvPool pool(*ops, {1, needed + 3, 1, block_tokens, 1});
  Ids blocks, others;
  pool.allocate(2, others);
  pool.allocate(needed, blocks);
  BeamGroup group{BeamSearch(beams(width, steps + 1), {}, Ids(static_cast<size_t>(prompt), 1), 50), {}, {}};
  group.holdings.resize(static_cast<size_t>(width));
  for (int i = 0; i < width; ++i) group.holdings[static_cast<size_t>(i)].slot = i;
  group.begin(pool, blocks, prompt);

  std::map<int, int32_t> memory;  // pool slot -> id, standing in for keys and values
  const auto write = [&](size_t beam, int position) {
    memory[pool.slot(group.holdings[beam].blocks, position)] =
        group.search.beams()[beam].ids[static_cast<size_t>(position)];
  };
  for (int i = 0; i < prompt; ++i) write(0, i);
  for (int computed = prompt; computed < prompt + steps; ++computed) {
    const int rows = computed == prompt ? 1 : width;
    Ids ids;
    std::vector<float> logprobs;
    for (int i = 0; i < rows * group.search.candidates(); ++i) {
      ids.push_back(*rc::gen::inRange(0, 50));
      logprobs.push_back(static_cast<float>(*rc::gen::inRange(-20, 0)));
    }
    RC_ASSERT(group.search.advance(ids, logprobs, group.search.candidates()));
    const BeamGroup::Moves moves = group.follow(pool, computed);
    std::map<int, int32_t> copied = memory;
    for (size_t i = 0; i < moves.copy_from.size(); ++i)
      for (int k = 0; k < block_tokens; ++k)
        if (const auto found = memory.find(moves.copy_from[i] * block_tokens + k); found != memory.end())
          copied[moves.copy_to[i] * block_tokens + k] = found->second;
    memory = copied;
    std::set<int> slots;
    std::map<int32_t, int> writers;
    for (size_t b = 0; b < group.holdings.size(); ++b) {
      const BeamGroup::Holding& holding = group.holdings[b];
      slots.insert(holding.slot);
      ++writers[holding.blocks[static_cast<size_t>(computed / block_tokens)]];
      RC_ASSERT(holding.blocks.size() == static_cast<size_t>(computed / block_tokens) + 1);
      for (int i = 0; i < computed; ++i)
        RC_ASSERT(memory.at(pool.slot(holding.blocks, i)) == group.search.beams()[b].ids[static_cast<size_t>(i)]);
      write(b, computed);
    }
    RC_ASSERT(slots.size() == static_cast<size_t>(width));
    for (const auto& [block, count] : writers) RC_ASSERT(count == 1);
  }
  group.end(pool);
  pool.release(blocks);
  RC_ASSERT(pool.used() == 2);
}

}  // namespace
}  // namespace inazuma
