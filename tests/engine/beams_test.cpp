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

/// The rule in plain words: all continuations of what runs, and what has ended, in one list; the best K of it.
std::vector<std::pair<float, Ids>> kept_by_hand(int width, int steps, int vocab, int32_t eos,
                                                const std::function<float(const Ids&, int32_t)>& logprob) {
  std::vector<std::pair<float, Ids>> texts = {{0.0f, {}}};
  const auto ended = [&](const Ids& ids) { return !ids.empty() && ids.back() == eos; };
  for (int step = 0; step < steps; ++step) {
    std::vector<std::pair<float, Ids>> all;
    for (const auto& [score, ids] : texts) {
      if (ended(ids)) all.emplace_back(score, ids);
      for (int32_t id = 0; !ended(ids) && id < vocab; ++id) {
        all.emplace_back(score + logprob(ids, id), ids);
        all.back().second.push_back(id);
      }
    }
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    all.resize(std::min(all.size(), static_cast<size_t>(width)));
    texts = std::move(all);
  }
  return texts;
}

RC_GTEST_PROP(BeamSearchProperty, EndedTextsMayStayAmongTheBeams, ()) {
  const int width = *rc::gen::inRange(2, 6), steps = *rc::gen::inRange(1, 9), vocab = *rc::gen::inRange(2 * width, 20);
  const auto salt = *rc::gen::arbitrary<uint32_t>();
  const auto logprob = [&](const Ids& ids, int32_t id) {
    uint32_t hash = salt;
    for (const int32_t one : ids) hash = (hash ^ static_cast<uint32_t>(one + 1)) * 0x9E3779B1u;
    hash = (hash ^ static_cast<uint32_t>(id + 77)) * 0x85EBCA6Bu;
    hash ^= hash >> 15;
    return -static_cast<float>((hash * 0xC2B2AE35u) >> 12) / 262144.0f;  // exact sums, few ties
  };
  const int32_t eos = 3;
  GenerationOptions options = beams(width, steps, {eos});
  options.beams_keep_ended = true;
  options.length_penalty = 0.0f;
  BeamSearch search(options, {}, {1}, vocab);
  while (!search.ended()) {
    Ids ids;
    std::vector<float> logprobs;
    const size_t rows = search.beams()[0].ids.size() == 1 ? 1 : static_cast<size_t>(width);
    for (size_t b = 0; b < rows; ++b) {
      const Ids text(search.beams()[b].ids.begin() + 1, search.beams()[b].ids.end());
      std::vector<std::pair<float, int32_t>> all;
      for (int32_t id = 0; id < vocab; ++id) all.emplace_back(-logprob(text, id), id);
      std::sort(all.begin(), all.end());
      for (int i = 0; i < search.candidates(); ++i) {
        ids.push_back(all[static_cast<size_t>(i)].second);
        logprobs.push_back(-all[static_cast<size_t>(i)].first);
      }
    }
    RC_ASSERT(search.advance(ids, logprobs, search.candidates()));
  }
  const std::vector<Hypothesis> found = search.take_hypotheses();
  const auto expected = kept_by_hand(width, steps, vocab, eos, logprob);
  RC_ASSERT(found.size() == expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    RC_ASSERT(found[i].score == expected[i].first);
    RC_ASSERT(found[i].ids == expected[i].second);
  }
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
