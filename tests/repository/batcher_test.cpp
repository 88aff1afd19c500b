// The dynamic batcher against a simulated clock: Triton's rules one by one, then properties of random traffic.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "repository/simulated_clock.h"
#include "serving/batching/dynamic_batcher.h"

namespace inazuma {
namespace {

using std::chrono::milliseconds;
using test::at;
using test::kStart;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

DynamicBatcher::Item item(uint64_t handle, int rows = 1, uint64_t priority = 0) {
  return {.handle = handle, .rows = rows, .priority = priority, .timeout = {}, .match = "", .cancel = nullptr};
}

TEST(DynamicBatcher, SendsWhatThereIsAtOnceByDefault) {
  DynamicBatcher batcher({.max_batch = 4, .preferred = {4}});
  ASSERT_TRUE(batcher.push(item(1), at(0)).ok());
  ASSERT_TRUE(batcher.push(item(2), at(0)).ok());
  EXPECT_THAT(batcher.take(at(0)).batch, ElementsAre(1, 2));
  EXPECT_THAT(batcher.take(at(0)).batch, IsEmpty());
}

TEST(DynamicBatcher, NeverOverTheLimitAndNeverSplit) {
  DynamicBatcher batcher({.max_batch = 4, .preferred = {4}});
  for (uint64_t i = 1; i <= 3; ++i) ASSERT_TRUE(batcher.push(item(i, 3), at(0)).ok());
  EXPECT_THAT(batcher.take(at(0)).batch, ElementsAre(1));
  EXPECT_THAT(batcher.take(at(0)).batch, ElementsAre(2));
}

TEST(DynamicBatcher, WaitsForThePreferredSizeAtMostTheDelay) {
  DynamicBatcher batcher({.max_batch = 8, .preferred = {4}, .max_delay = milliseconds(10)});
  ASSERT_TRUE(batcher.push(item(1), at(0)).ok());
  auto decision = batcher.take(at(1));
  EXPECT_THAT(decision.batch, IsEmpty());
  EXPECT_EQ(decision.look_again, at(10));
  ASSERT_TRUE(batcher.push(item(2, 3), at(2)).ok());
  EXPECT_THAT(batcher.take(at(2)).batch, ElementsAre(1, 2));  // four rows
  ASSERT_TRUE(batcher.push(item(3), at(20)).ok());
  EXPECT_THAT(batcher.take(at(29)).batch, IsEmpty());
  EXPECT_THAT(batcher.take(at(30)).batch, ElementsAre(3));
}

TEST(DynamicBatcher, APreferredSizeGoesFirstAndTheRestWaits) {
  DynamicBatcher batcher({.max_batch = 8, .preferred = {2, 4}, .max_delay = milliseconds(10)});
  for (uint64_t i = 1; i <= 3; ++i) ASSERT_TRUE(batcher.push(item(i), at(0)).ok());
  EXPECT_THAT(batcher.take(at(0)).batch, ElementsAre(1, 2));
  EXPECT_THAT(batcher.take(at(0)).batch, IsEmpty());
  EXPECT_THAT(batcher.take(at(10)).batch, ElementsAre(3));
}

TEST(DynamicBatcher, AShapeThatDoesNotMatchEndsTheBatch) {
  DynamicBatcher batcher({.max_batch = 8, .preferred = {8}, .max_delay = milliseconds(10)});
  DynamicBatcher::Item other = item(2);
  other.match = "x";
  ASSERT_TRUE(batcher.push(item(1), at(0)).ok());
  ASSERT_TRUE(batcher.push(other, at(0)).ok());
  ASSERT_TRUE(batcher.push(item(3), at(0)).ok());
  EXPECT_THAT(batcher.take(at(0)).batch, ElementsAre(1));  // cannot grow: no use in waiting
  EXPECT_THAT(batcher.take(at(0)).batch, ElementsAre(2));
}

TEST(DynamicBatcher, PrioritiesAreStrict) {
  DynamicBatcher batcher({.max_batch = 2, .preferred = {2}, .levels = 3, .default_level = 2});
  ASSERT_TRUE(batcher.push(item(1, 1, 3), at(0)).ok());
  ASSERT_TRUE(batcher.push(item(2, 1, 0), at(0)).ok());   // default: 2
  ASSERT_TRUE(batcher.push(item(3, 1, 99), at(0)).ok());  // above the levels: default
  ASSERT_TRUE(batcher.push(item(4, 1, 1), at(0)).ok());
  EXPECT_THAT(batcher.take(at(0)).batch, ElementsAre(4, 2));
  EXPECT_THAT(batcher.take(at(0)).batch, ElementsAre(3, 1));
}

TEST(DynamicBatcher, AFullQueueRefusesWithTritonsWords) {
  DynamicBatcher batcher({.max_batch = 8, .preferred = {8}, .policy = {.max_size = 2}});
  ASSERT_TRUE(batcher.push(item(1, 4), at(0)).ok());
  ASSERT_TRUE(batcher.push(item(2, 4), at(0)).ok());
  const Status full = batcher.push(item(3), at(0));
  EXPECT_EQ(full.code(), StatusCode::overloaded);
  EXPECT_EQ(full.message(), "Exceeds maximum queue size");
}

TEST(DynamicBatcher, ExpiryRejectsOrDelays) {
  DynamicBatcher reject({.max_batch = 1, .preferred = {1}, .policy = {.timeout = milliseconds(5)}});
  ASSERT_TRUE(reject.push(item(1), at(0)).ok());
  EXPECT_EQ(reject.expire(at(4)).look_again, at(5));
  const auto decision = reject.take(at(5));
  ASSERT_EQ(decision.refused.size(), 1u);
  EXPECT_EQ(decision.refused[0].status.code(), StatusCode::overloaded);
  EXPECT_EQ(decision.refused[0].status.message(), "Request timeout expired");

  DynamicBatcher delay({.max_batch = 1, .preferred = {1}, .policy = {.delay = true, .timeout = milliseconds(5)}});
  ASSERT_TRUE(delay.push(item(1), at(0)).ok());
  ASSERT_TRUE(delay.push(item(2), at(4)).ok());
  EXPECT_THAT(delay.take(at(6)).batch, ElementsAre(2));
  EXPECT_THAT(delay.take(at(6)).batch, ElementsAre(1));
}

TEST(DynamicBatcher, ARequestsOwnTimeoutCountsOnlyWhereAllowedAndShorter) {
  for (const bool allowed : {false, true}) {
    DynamicBatcher batcher(
        {.max_batch = 1, .preferred = {1}, .policy = {.timeout = milliseconds(10), .allow_override = allowed}});
    DynamicBatcher::Item shorter = item(1), longer = item(2);
    shorter.timeout = milliseconds(3);
    longer.timeout = milliseconds(30);
    ASSERT_TRUE(batcher.push(shorter, at(0)).ok());
    ASSERT_TRUE(batcher.push(longer, at(0)).ok());
    EXPECT_EQ(batcher.expire(at(4)).refused.size(), allowed ? 1u : 0u);
    EXPECT_EQ(batcher.expire(at(11)).refused.size(), allowed ? 1u : 2u);
  }
}

TEST(DynamicBatcher, TheCancelledLeave) {
  DynamicBatcher batcher({.max_batch = 8, .preferred = {8}});
  DynamicBatcher::Item gone = item(1);
  gone.cancel = std::make_shared<std::atomic<bool>>(true);
  ASSERT_TRUE(batcher.push(gone, at(0)).ok());
  ASSERT_TRUE(batcher.push(item(2), at(0)).ok());
  const auto decision = batcher.take(at(0));
  EXPECT_THAT(decision.batch, ElementsAre(2));
  ASSERT_EQ(decision.refused.size(), 1u);
  EXPECT_EQ(decision.refused[0].status.code(), StatusCode::cancelled);
}

TEST(DynamicBatcher, WithoutBatchingEachRequestRunsAlone) {
  DynamicBatcher batcher({.batching = false, .max_batch = 8});
  ASSERT_TRUE(batcher.push(item(1, 2), at(0)).ok());
  ASSERT_TRUE(batcher.push(item(2, 2), at(0)).ok());
  EXPECT_THAT(batcher.take(at(0)).batch, ElementsAre(1));
  EXPECT_THAT(batcher.take(at(0)).batch, ElementsAre(2));
}

struct Sent {
  DynamicBatcher::Item item;
  Clock::time_point when;
  uint64_t level = 1;
  Clock::time_point expires = Clock::time_point::max();
};

RC_GTEST_PROP(DynamicBatcherProperties, TrafficIsServedByTheRules, ()) {
  BatcherOptions options;
  options.max_batch = *rc::gen::inRange(1, 9);
  const int sizes = *rc::gen::inRange(0, 3);
  for (int i = 0; i < sizes; ++i) options.preferred.push_back(*rc::gen::inRange(1, options.max_batch + 1));
  options.max_delay = milliseconds(*rc::gen::element(0, 0, 3, 20));
  options.levels = static_cast<uint64_t>(*rc::gen::element(0, 1, 3));
  options.default_level =
      options.levels == 0 ? 0 : static_cast<uint64_t>(*rc::gen::inRange<int>(1, static_cast<int>(options.levels) + 1));
  options.policy.timeout = milliseconds(*rc::gen::element(0, 0, 5, 15));
  options.policy.allow_override = *rc::gen::arbitrary<bool>();
  options.policy.max_size = static_cast<size_t>(*rc::gen::element(0, 0, 3));
  const bool delays = options.policy.delay = *rc::gen::arbitrary<bool>();
  int largest = 0;
  for (const int size : options.preferred) largest = std::max(largest, size);
  if (largest == 0) largest = options.max_batch;

  DynamicBatcher batcher(options);
  std::map<uint64_t, Sent> waiting;  // by handle, which is the order of arrival
  uint64_t next = 1;
  int now = 0;
  const int steps = *rc::gen::inRange(1, 120);
  for (int step = 0; step < steps; ++step) {
    now += *rc::gen::inRange(0, 6);
    if (*rc::gen::inRange(0, 3) > 0) {
      DynamicBatcher::Item one =
          item(next++, *rc::gen::inRange(1, options.max_batch + 1), static_cast<uint64_t>(*rc::gen::inRange(0, 5)));
      one.timeout = milliseconds(*rc::gen::element(0, 0, 2, 40));
      one.match = *rc::gen::element<std::string>("", "", "x");
      Sent sent{one, at(now), 1};
      if (options.levels > 0)
        sent.level = one.priority == 0 || one.priority > options.levels ? options.default_level : one.priority;
      Clock::duration timeout = options.policy.timeout;
      if (options.policy.allow_override && one.timeout.count() > 0 && (timeout.count() == 0 || one.timeout < timeout))
        timeout = one.timeout;
      if (timeout.count() > 0) sent.expires = at(now) + timeout;
      const auto of_level = std::count_if(waiting.begin(), waiting.end(),
                                          [&](const auto& entry) { return entry.second.level == sent.level; });
      const bool full = options.policy.max_size > 0 && static_cast<size_t>(of_level) >= options.policy.max_size;
      RC_ASSERT(batcher.push(one, at(now)).ok() == !full);
      if (!full) waiting[one.handle] = sent;
    } else {
      const auto decision = batcher.take(at(now));
      for (const auto& refused : decision.refused) {
        RC_ASSERT(!delays);
        RC_ASSERT(waiting.count(refused.handle) == 1u);
        RC_ASSERT(waiting[refused.handle].expires <= at(now));
        waiting.erase(refused.handle);
      }
      // What should have been refused was.
      if (!delays)
        for (const auto& [handle, sent] : waiting) RC_ASSERT(sent.expires > at(now));
      // The order in which things would be served now.
      std::vector<uint64_t> order;
      for (uint64_t level = 1; level <= std::max<uint64_t>(1, options.levels); ++level)
        for (const bool late : {false, true})
          for (const auto& [handle, sent] : waiting)
            if (sent.level == level && (sent.expires <= at(now)) == late) order.push_back(handle);
      if (decision.batch.empty()) {
        // Nobody waits longer than the delay for an instance that is there.
        for (const auto& [handle, sent] : waiting) RC_ASSERT(sent.when + options.max_delay > at(now));
        if (!waiting.empty()) RC_ASSERT(decision.look_again.has_value() && *decision.look_again > at(now));
      } else {
        RC_ASSERT(decision.batch.size() <= order.size());
        int rows = 0;
        Clock::time_point oldest = Clock::time_point::max();
        for (size_t i = 0; i < decision.batch.size(); ++i) {
          // Delayed ones keep the order in which they expired, which overrides may make another than that of arrival.
          if (!delays) RC_ASSERT(decision.batch[i] == order[i]);
          const Sent& sent = waiting.at(decision.batch[i]);
          rows += sent.item.rows;
          oldest = std::min(oldest, sent.when);
          RC_ASSERT(sent.item.match == waiting.at(decision.batch[0]).item.match);
        }
        RC_ASSERT(rows <= options.max_batch);
        if (!delays && at(now) < oldest + options.max_delay) {
          // Early: a preferred size, enough rows, the best that could be had, or no way to grow.
          bool reason = rows >= largest || std::count(options.preferred.begin(), options.preferred.end(), rows) > 0;
          if (!reason && decision.batch.size() < order.size()) {
            const Sent& following = waiting.at(order[decision.batch.size()]);
            reason = rows + following.item.rows > largest ||
                     following.item.match != waiting.at(decision.batch[0]).item.match;
          }
          RC_ASSERT(reason);
        }
        for (const uint64_t handle : decision.batch) waiting.erase(handle);
      }
    }
    RC_ASSERT(batcher.size() == waiting.size());
  }
  RC_ASSERT(batcher.clear().size() == waiting.size());
}

}  // namespace
}  // namespace inazuma
