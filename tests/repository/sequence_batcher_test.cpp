// The sequence batcher against a simulated clock.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "repository/simulated_clock.h"
#include "serving/batching/sequence_batcher.h"

namespace inazuma {
namespace {

using std::chrono::milliseconds;
using test::at;
using test::kStart;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

SequenceBatcher::Item item(uint64_t handle, const std::string& sequence, bool start = false, bool end = false) {
  return {.handle = handle,
          .sequence = sequence,
          .shown = sequence,
          .start = start,
          .end = end,
          .timeout = {},
          .cancel = nullptr};
}
std::vector<uint64_t> handles(const SequenceBatcher::Decision& decision) {
  std::vector<uint64_t> out;
  for (const auto& ready : decision.batch) out.push_back(ready.handle);
  return out;
}

TEST(SequenceBatcher, NeedsAnIdAndAStart) {
  SequenceBatcher batcher({.model = "m", .slots = 2});
  EXPECT_THAT(batcher.push(item(1, ""), at(0)).message(),
              HasSubstr("must specify a non-zero or non-empty correlation ID"));
  EXPECT_THAT(batcher.push(item(1, "a"), at(0)).message(),
              HasSubstr("must specify the START flag on the first request of the sequence"));
  EXPECT_TRUE(batcher.push(item(1, "a", true), at(0)).ok());
  EXPECT_TRUE(batcher.push(item(2, "a", false, true), at(0)).ok());
  EXPECT_FALSE(batcher.push(item(3, "a"), at(0)).ok());  // it has ended
}

TEST(SequenceBatcher, OneRequestOfASequenceAtATime) {
  SequenceBatcher batcher({.model = "m", .slots = 4, .max_batch = 4});
  ASSERT_TRUE(batcher.push(item(1, "a", true), at(0)).ok());
  ASSERT_TRUE(batcher.push(item(2, "a"), at(0)).ok());
  ASSERT_TRUE(batcher.push(item(3, "b", true), at(0)).ok());
  EXPECT_THAT(handles(batcher.take(at(0))), ElementsAre(1, 3));
  EXPECT_THAT(handles(batcher.take(at(0))), IsEmpty());
  batcher.done("a", at(1));
  EXPECT_THAT(handles(batcher.take(at(1))), ElementsAre(2));
}

TEST(SequenceBatcher, TheEndFreesTheSlotForTheBacklog) {
  SequenceBatcher batcher({.model = "m", .slots = 1});
  ASSERT_TRUE(batcher.push(item(1, "a", true, true), at(0)).ok());
  ASSERT_TRUE(batcher.push(item(2, "b", true), at(0)).ok());
  ASSERT_TRUE(batcher.push(item(3, "b"), at(0)).ok());
  EXPECT_THAT(handles(batcher.take(at(0))), ElementsAre(1));
  EXPECT_THAT(handles(batcher.take(at(0))), IsEmpty());
  batcher.done("a", at(1));
  EXPECT_THAT(handles(batcher.take(at(1))), ElementsAre(2));
}

TEST(SequenceBatcher, IdleSequencesLoseTheirSlot) {
  SequenceBatcher batcher({.model = "m", .slots = 1, .idle = milliseconds(10)});
  ASSERT_TRUE(batcher.push(item(1, "a", true), at(0)).ok());
  EXPECT_THAT(handles(batcher.take(at(0))), ElementsAre(1));
  batcher.done("a", at(5));
  EXPECT_EQ(batcher.take(at(6)).look_again, at(15));
  (void)batcher.take(at(15));
  EXPECT_EQ(batcher.open(), 0u);
  EXPECT_FALSE(batcher.push(item(2, "a"), at(16)).ok());
}

TEST(SequenceBatcher, ASequenceWithoutASlotTimesOut) {
  SequenceBatcher batcher({.model = "m", .slots = 1, .idle = std::chrono::seconds(10)});
  ASSERT_TRUE(batcher.push(item(1, "a", true), at(0)).ok());
  EXPECT_THAT(handles(batcher.take(at(0))), ElementsAre(1));
  SequenceBatcher::Item late = item(2, "b", true);
  late.timeout = milliseconds(5);
  ASSERT_TRUE(batcher.push(late, at(0)).ok());
  ASSERT_TRUE(batcher.push(item(3, "b"), at(1)).ok());
  EXPECT_THAT(batcher.take(at(4)).refused, IsEmpty());
  const auto decision = batcher.take(at(5));
  ASSERT_EQ(decision.refused.size(), 2u);
  EXPECT_EQ(decision.refused[0].status.message(), "timeout of the corresponding sequence has been expired");
  EXPECT_EQ(batcher.open(), 1u);
}

TEST(SequenceBatcher, DirectWaitsForItsShareOfSlots) {
  SequenceBatcher batcher(
      {.model = "m", .slots = 4, .max_batch = 4, .max_delay = milliseconds(10), .minimum_utilization = 0.5f});
  ASSERT_TRUE(batcher.push(item(1, "a", true), at(0)).ok());
  EXPECT_EQ(batcher.take(at(0)).look_again, at(10));
  ASSERT_TRUE(batcher.push(item(2, "b", true), at(1)).ok());
  EXPECT_THAT(handles(batcher.take(at(1))), ElementsAre(1, 2));
}

TEST(SequenceBatcher, OldestTakesTheOldestUpToTheLimit) {
  SequenceBatcher batcher({.model = "m", .oldest = true, .slots = 8, .max_batch = 2});
  ASSERT_TRUE(batcher.push(item(1, "z", true), at(0)).ok());
  ASSERT_TRUE(batcher.push(item(2, "y", true), at(1)).ok());
  ASSERT_TRUE(batcher.push(item(3, "x", true), at(2)).ok());
  EXPECT_THAT(handles(batcher.take(at(2))), ElementsAre(1, 2));
  EXPECT_THAT(handles(batcher.take(at(2))), ElementsAre(3));
}

RC_GTEST_PROP(SequenceBatcherProperties, SequencesKeepTheirOrderAndNothingIsLost, ()) {
  SequenceBatcherOptions options{.model = "m",
                                 .oldest = *rc::gen::arbitrary<bool>(),
                                 .instances = *rc::gen::inRange(1, 3),
                                 .slots = *rc::gen::inRange(1, 4),
                                 .max_batch = *rc::gen::inRange(1, 4),
                                 .idle = milliseconds(30)};
  SequenceBatcher batcher(options);
  std::map<std::string, std::vector<uint64_t>> queued;  // accepted and not given out
  std::map<std::string, bool> out;
  uint64_t next = 1;
  int now = 0;
  const int steps = *rc::gen::inRange(1, 150);
  for (int step = 0; step < steps; ++step) {
    now += *rc::gen::inRange(0, 4);
    const std::string name = *rc::gen::element<std::string>("a", "b", "c", "d", "e");
    switch (*rc::gen::inRange(0, 4)) {
      case 0:
      case 1: {
        const uint64_t handle = next++;
        if (batcher.push(item(handle, name, *rc::gen::arbitrary<bool>(), *rc::gen::inRange(0, 4) == 0), at(now)).ok())
          queued[name].push_back(handle);
        break;
      }
      case 2: {
        const auto decision = batcher.take(at(now));
        RC_ASSERT(decision.refused.empty());
        RC_ASSERT(decision.batch.size() <= static_cast<size_t>(options.max_batch));
        for (const auto& ready : decision.batch) {
          RC_ASSERT(!out[ready.sequence]);
          RC_ASSERT(!queued[ready.sequence].empty() && queued[ready.sequence].front() == ready.handle);
          queued[ready.sequence].erase(queued[ready.sequence].begin());
          out[ready.sequence] = true;
        }
        break;
      }
      case 3:
        if (out[name]) out[name] = false, batcher.done(name, at(now));
        break;
    }
    size_t total = 0;
    for (const auto& [sequence, items] : queued) total += items.size();
    RC_ASSERT(batcher.size() == total);
  }
  // Everything comes out in the end.
  for (int round = 0; round < 500 && batcher.size() > 0; ++round) {
    now += 1;
    for (auto& [sequence, running] : out)
      if (std::exchange(running, false)) batcher.done(sequence, at(now));
    for (const auto& ready : batcher.take(at(now)).batch) out[ready.sequence] = true;
  }
  // (Sequences that hold a slot without an end give it back when idle.)
  for (int round = 0; round < 500 && batcher.size() > 0; ++round) {
    now += 31;
    for (auto& [sequence, running] : out)
      if (std::exchange(running, false)) batcher.done(sequence, at(now));
    for (const auto& ready : batcher.take(at(now)).batch) out[ready.sequence] = true;
  }
  RC_ASSERT(batcher.size() == 0u);
}

}  // namespace
}  // namespace inazuma
