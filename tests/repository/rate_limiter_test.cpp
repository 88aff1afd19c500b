// The rate limiter: its rules one by one, then properties of random executions against a simulated clock, then real
// instances of real models.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <ctime>
#include <thread>

#include "harness.h"

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace inazuma::test {
namespace {

constexpr int kGlobal = InstanceSpec::kGlobal;
const InstanceSpec::Resource kR{0, "R"}, kS{0, "S"};

InstanceSpec needs(std::map<InstanceSpec::Resource, uint64_t> resources, uint32_t priority = 1) {
  return {.resources = std::move(resources), .priority = priority};
}

TEST(RateLimiter, ThereIsAsMuchAsTheLargestNeeds) {
  RateLimiter limiter;
  const uint64_t small = *limiter.add(needs({{kR, 4}})), other = *limiter.add(needs({{kR, 4}}));
  EXPECT_EQ(limiter.available(kR), 4u);
  limiter.ask(small);
  limiter.ask(other);
  EXPECT_THAT(limiter.grant(), ElementsAre(small));
  const uint64_t large = *limiter.add(needs({{kR, 10}}));
  EXPECT_EQ(limiter.available(kR), 10u);
  EXPECT_THAT(limiter.grant(), ElementsAre(other));
  EXPECT_EQ(limiter.used(kR), 8u);
  limiter.remove(large);
  limiter.done(small, true);
  limiter.done(other, true);
  EXPECT_EQ(limiter.used(kR), 0u);
  EXPECT_EQ(limiter.available(kR), 4u);
}

TEST(RateLimiter, DeclaredCountsRule) {
  DeclaredResources declared;
  for (const char* text : {"R:3", "R:5:1", "G:2"}) ASSERT_TRUE(declared.add(text).ok()) << text;
  RateLimiter limiter(declared);
  EXPECT_EQ(limiter.available({0, "R"}), 3u);
  EXPECT_EQ(limiter.available({1, "R"}), 5u);
  EXPECT_EQ(limiter.available({kGlobal, "G"}), 2u);
  EXPECT_TRUE(limiter.add(needs({{{1, "R"}, 5}})).ok());
  const Status tooMuch = limiter.add(needs({{kR, 4}})).status();
  EXPECT_EQ(tooMuch.code(), StatusCode::invalid);
  EXPECT_THAT(tooMuch.message(), testing::AllOf(HasSubstr("limited to 3"), HasSubstr("minimum required count is 4")));
  // What is not declared is not there.
  EXPECT_THAT(limiter.add(needs({{kS, 1}})).status().message(), HasSubstr("limited to 0"));
  for (const char* bad : {"", "R", "R:", "R:0", "R:x", "R:1:", "R:1:x", "R:1:-1", ":1", "R:1:0:0", "R:-1"})
    EXPECT_EQ(DeclaredResources().add(bad).code(), StatusCode::invalid) << bad;
}

TEST(RateLimiter, AResourceIsGlobalOrOfADevice) {
  RateLimiter limiter;
  ASSERT_TRUE(limiter.add(needs({{{kGlobal, "R"}, 1}})).ok());
  EXPECT_THAT(limiter.add(needs({{kR, 1}})).status().message(), HasSubstr("both global and device-specific"));
}

TEST(RateLimiter, WhoeverHasToWaitIsPassedOnlyByThoseWhoNeedOtherThings) {
  RateLimiter limiter;
  const uint64_t holder = *limiter.add(needs({{kR, 1}})), large = *limiter.add(needs({{kR, 2}})),
                 small = *limiter.add(needs({{kR, 1}})), else_ = *limiter.add(needs({{kS, 1}}));
  limiter.ask(holder);
  ASSERT_THAT(limiter.grant(), ElementsAre(holder));
  for (const uint64_t one : {large, small, else_}) limiter.ask(one);
  EXPECT_THAT(limiter.grant(), ElementsAre(else_));  // one R is free, and the large one comes first
  limiter.done(holder, true);
  EXPECT_THAT(limiter.grant(), ElementsAre(large));
  limiter.done(large, true);
  EXPECT_THAT(limiter.grant(), ElementsAre(small));
  limiter.withdraw(small);  // executes: nothing to withdraw
  EXPECT_EQ(limiter.used(kR), 1u);
  limiter.remove(small);
  EXPECT_EQ(limiter.used(kR), 0u);
}

TEST(RateLimiter, WhoComesHasNothingToCatchUpWith) {
  RateLimiter limiter;
  const uint64_t old = *limiter.add(needs({{kR, 1}}));
  for (int i = 0; i < 1000; ++i) {
    limiter.ask(old);
    ASSERT_THAT(limiter.grant(), ElementsAre(old));
    limiter.done(old, true);
  }
  const uint64_t fresh = *limiter.add(needs({{kR, 1}}));
  int in_a_row = 0, longest = 0;
  limiter.ask(old);
  limiter.ask(fresh);
  for (int i = 0; i < 200; ++i) {
    const uint64_t next = limiter.grant().at(0);
    in_a_row = next == fresh ? in_a_row + 1 : 0;
    longest = std::max(longest, in_a_row);
    limiter.done(next, true);
    limiter.ask(next);
  }
  EXPECT_LE(longest, 2);
}

// Executions of random lengths under random needs; every instance asks again as soon as it has ended.
RC_GTEST_PROP(RateLimiterProperties, SharesFollowPrioritiesAndNothingIsExceeded, ()) {
  const int names = *rc::gen::inRange(1, 4);
  const int count = *rc::gen::inRange(1, 7);
  RateLimiter limiter;
  struct One {
    uint64_t id;
    InstanceSpec spec;
    int ends = -1;  // executing until then
    int asked = 0;  // waiting since
    uint64_t executions = 0;
  };
  std::vector<One> all;
  for (int i = 0; i < count; ++i) {
    InstanceSpec spec;
    spec.priority = static_cast<uint32_t>(*rc::gen::inRange(0, 4));
    for (int name = 0; name < names; ++name)
      if (const int copies = *rc::gen::inRange(0, 4); copies > 0)
        spec.resources[{*rc::gen::inRange(0, 2), std::string(1, static_cast<char>('A' + name))}] =
            static_cast<uint64_t>(copies);
    all.push_back({*limiter.add(spec), spec});
  }
  const auto by_id = [&](uint64_t id) -> One& {
    return *std::find_if(all.begin(), all.end(), [&](const One& one) { return one.id == id; });
  };
  for (One& one : all) limiter.ask(one.id);
  for (int now = 0; now < 400; ++now) {
    for (One& one : all)
      if (one.ends == now) {
        one.ends = -1;
        one.asked = now;
        ++one.executions;
        limiter.done(one.id, true);
        limiter.ask(one.id);
      }
    for (const uint64_t id : limiter.grant()) {
      RC_ASSERT(by_id(id).ends == -1);
      by_id(id).ends = now + *rc::gen::inRange(1, 4);
    }
    // Never more than there is, exactly what those who execute took; and whoever waits, waits for something.
    std::map<InstanceSpec::Resource, uint64_t> taken;
    for (const One& one : all)
      if (one.ends != -1)
        for (const auto& [resource, copies] : one.spec.resources) taken[resource] += copies;
    for (const auto& [resource, copies] : taken) {
      RC_ASSERT(limiter.used(resource) == copies);
      RC_ASSERT(copies <= limiter.available(resource));
    }
    bool idle = true;
    for (const One& one : all) idle = idle && one.ends == -1;
    RC_ASSERT(!idle);
    for (const One& one : all) {
      if (one.ends != -1) continue;
      RC_ASSERT(!one.spec.resources.empty());
      // A turn of everybody, weighted, is the longest wait there is.
      RC_ASSERT(now - one.asked <= 3 * (4 * count + 8) * 4);
    }
  }
}

RC_GTEST_PROP(RateLimiterProperties, OneResourceIsSharedByWeight, ()) {
  const int count = *rc::gen::inRange(2, 6);
  RateLimiter limiter;
  std::map<uint64_t, std::pair<uint32_t, int>> turns;  // priority, executions
  for (int i = 0; i < count; ++i) {
    const auto priority = static_cast<uint32_t>(*rc::gen::inRange(1, 6));
    turns[*limiter.add(needs({{kR, 1}}, priority))] = {priority, 0};
  }
  for (const auto& [id, unused] : turns) limiter.ask(id);
  constexpr int kTurns = 3000;
  for (int i = 0; i < kTurns; ++i) {
    const std::vector<uint64_t> granted = limiter.grant();
    RC_ASSERT(granted.size() == 1u);
    ++turns.at(granted[0]).second;
    limiter.done(granted[0], true);
    limiter.ask(granted[0]);
  }
  double whole = 0;
  for (const auto& [id, turn] : turns) whole += 1.0 / turn.first;
  for (const auto& [id, turn] : turns) {
    const double wanted = kTurns / (whole * turn.first);
    RC_ASSERT(std::abs(turn.second - wanted) <= 10);
  }
}

// Models that take `delay` ms an execution; `group`: of their instance_group.
std::string limited(int delay, const std::string& group) {
  return fmt::format(
      "{} parameters {{ key: \"execute_delay_ms\" value {{ string_value: \"{}\" }} }} instance_group {{ "
      "kind: KIND_CPU {} }}",
      kIdentity, delay, group);
}
const char* kOneR = R"(rate_limiter { resources [ { name: "R" global: true count: 1 } ] })";

double seconds_of(RepositoryHarness& repository, const std::vector<std::string>& models) {
  const Clock::time_point begin = Clock::now();
  std::deque<Waiter> waiters(models.size());
  for (size_t i = 0; i < models.size(); ++i) repository.submit(models[i], floats({1}), waiters[i]);
  for (Waiter& waiter : waiters) {
    EXPECT_TRUE(waiter.wait());
    EXPECT_TRUE(waiter.end.status.ok()) << waiter.end.status.message();
  }
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

TEST(RateLimitedModels, ExecuteWhenTheirResourcesAreFree) {
  for (const bool on : {false, true}) {
    RepositoryHarness repository;
    if (on) repository.options.loader.gate = std::make_shared<RateGate>(DeclaredResources{});
    repository.model("a", limited(100, std::string("count: 2 ") + kOneR));
    repository.model("b", limited(100, kOneR));
    repository.model("free", limited(100, ""));
    ASSERT_TRUE(repository.start().ok());
    const double took = seconds_of(repository, {"a", "a", "b", "free"});
    if (on)
      EXPECT_GE(took, 0.3);  // one after another, whatever the model
    else
      EXPECT_LT(took, 0.25);
  }
}

TEST(RateLimitedModels, UnloadWhileTheyWait) {
  RepositoryHarness repository;
  repository.options.mode = ControlMode::explicit_;
  repository.options.load_models = {"*"};
  repository.options.loader.gate = std::make_shared<RateGate>(DeclaredResources{});
  repository.model("a", limited(400, kOneR));
  repository.model("b", limited(1, kOneR));
  ASSERT_TRUE(repository.start().ok());
  Waiter first, second;
  repository.submit("a", floats({1}), first);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  repository.submit("b", floats({1}), second);
  ASSERT_TRUE(repository.core.unload("b", false).ok());
  ASSERT_TRUE(second.wait());  // what was accepted is worked
  EXPECT_TRUE(second.end.status.ok()) << second.end.status.message();
  ASSERT_TRUE(first.wait());
}

TEST(RateLimitedModels, WhatCouldNeverExecuteIsNotLoaded) {
  RepositoryHarness repository;
  DeclaredResources declared;
  ASSERT_TRUE(declared.add("R:1").ok());
  repository.options.loader.gate = std::make_shared<RateGate>(declared);
  repository.model("a", limited(1, R"(rate_limiter { resources [ { name: "R" count: 2 } ] })"));
  EXPECT_THAT(repository.start().message(), HasSubstr("Resource count for 'R' is limited to 1"));
}

TEST(RateLimitedModels, WaitingForABatchIsWaiting) {
  RepositoryHarness repository;
  repository.options.loader.gate = std::make_shared<RateGate>(DeclaredResources{});
  repository.model(
      "a", limited(1, std::string("count: 4 ") + kOneR) + " dynamic_batching { max_queue_delay_microseconds: 400000 }");
  ASSERT_TRUE(repository.start().ok());
  const std::clock_t before = std::clock();
  EXPECT_GE(seconds_of(repository, {"a"}), 0.4);
  EXPECT_LT(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC, 0.1);
}

TEST(RateLimitedModels, SequencesToo) {
  RepositoryHarness repository;
  repository.options.loader.gate = std::make_shared<RateGate>(DeclaredResources{});
  const std::string sequences = " sequence_batching { direct { } }";
  repository.model("a", limited(60, std::string("count: 2 ") + kOneR) + sequences);
  ASSERT_TRUE(repository.start().ok());
  const Clock::time_point begin = Clock::now();
  std::deque<Waiter> waiters(4);
  for (uint64_t i = 0; i < waiters.size(); ++i) {
    TensorInference one = floats({1});
    one.sequence = i / 2 + 1;
    one.sequence_start = i % 2 == 0;
    one.sequence_end = i % 2 == 1;
    repository.submit("a", std::move(one), waiters[i]);
  }
  for (Waiter& waiter : waiters) {
    ASSERT_TRUE(waiter.wait());
    EXPECT_TRUE(waiter.end.status.ok()) << waiter.end.status.message();
  }
  EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(120));
}

}  // namespace
}  // namespace inazuma::test
