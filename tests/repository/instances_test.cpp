// A configuration whose instances alone have changed: the loaded versions go on with more or fewer of them.

#include <gmock/gmock.h>
#include <grpc_service.pb.h>
#include <gtest/gtest.h>
#include <model_config.pb.h>

#include "harness.h"

using testing::ElementsAre;
using testing::HasSubstr;

namespace inazuma::test {
namespace {

std::string instances(int count) {
  return fmt::format("instance_group {{ kind: KIND_CPU count: {} }}", count);
}

uint64_t inferences(RepositoryHarness& repository, int64_t version = -1) {
  const auto statistics = repository.core.statistics("m", version);
  return statistics.ok() ? statistics->at(0).inference_count() : 0;
}
int shown_instances(RepositoryHarness& repository) {
  return (*repository.core.tensor_backend("m", -1))->tensor_model()->config->instance_group(0).count();
}
double seconds_of(RepositoryHarness& repository, size_t requests) {
  const Clock::time_point begin = Clock::now();
  std::deque<Waiter> waiters(requests);
  for (Waiter& waiter : waiters) repository.submit("m", floats({1}), waiter);
  for (Waiter& waiter : waiters) {
    EXPECT_TRUE(waiter.wait());
    EXPECT_TRUE(waiter.end.status.ok()) << waiter.end.status.message();
  }
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

class InPlace : public testing::Test {
 protected:
  void start(const std::string& config, const std::vector<int>& versions = {1}) {
    repository.options.mode = ControlMode::explicit_;
    repository.options.load_models = {"m"};
    repository.model("m", config, versions);
    ASSERT_TRUE(repository.start().ok());
  }
  void change(const std::string& config) {
    repository.write("m/config.pbtxt", config);
    const Status status = repository.core.load("m", {});
    ASSERT_TRUE(status.ok()) << status.message();
  }
  RepositoryHarness repository;
};

TEST_F(InPlace, InstancesComeAndGoWhileTheModelStays) {
  start(slow(instances(1)));
  EXPECT_GE(seconds_of(repository, 3), 0.45);
  change(slow(instances(3)));
  EXPECT_EQ(inferences(repository), 3u);  // counted since the load: there was no new one
  EXPECT_EQ(shown_instances(repository), 3);
  EXPECT_LT(seconds_of(repository, 3), 0.4);
  change(slow(instances(1) + "\n# fewer again"));
  EXPECT_EQ(inferences(repository), 6u);
  EXPECT_GE(seconds_of(repository, 3), 0.45);
}

TEST_F(InPlace, WhatWaitsIsNotLost) {
  start(slow(instances(1), 30));
  std::deque<Waiter> waiters(12);
  for (Waiter& waiter : waiters) repository.submit("m", floats({1}), waiter);
  for (const int count : {4, 1, 3, 2}) change(slow(instances(count), 30));
  for (Waiter& waiter : waiters) {
    ASSERT_TRUE(waiter.wait());
    EXPECT_TRUE(waiter.end.status.ok()) << waiter.end.status.message();
  }
  EXPECT_EQ(inferences(repository), 12u);
}

TEST_F(InPlace, AWordThatSaysTheSameChangesNothing) {
  start(slow(instances(1), 0));
  seconds_of(repository, 1);
  change("# the same\n" + slow(instances(1), 0));
  EXPECT_EQ(inferences(repository), 1u);
  // By the client, and back to the file.
  const std::string config =
      R"({"backend":"identity","max_batch_size":8,"parameters":{"execute_delay_ms":{"string_value":"0"}},)"
      R"("input":[{"name":"IN","data_type":"TYPE_FP32","dims":[-1]}],"output":[{"name":"OUT","data_type":"TYPE_FP32","dims":[-1]}],)"
      R"("instance_group":[{"count":2,"kind":"KIND_CPU"}]})";
  ASSERT_TRUE(repository.core.load("m", {.config = config, .files = {}}).ok());
  EXPECT_EQ(shown_instances(repository), 2);
  ASSERT_TRUE(repository.core.load("m", {}).ok());
  EXPECT_EQ(shown_instances(repository), 1);
  EXPECT_EQ(inferences(repository), 1u);
}

TEST_F(InPlace, AnythingElseIsANewLoad) {
  start(slow(instances(1), 0));
  const std::string kChanges[] = {slow(instances(2) + " dynamic_batching { }", 0), slow(instances(2), 1)};
  for (const std::string& config : kChanges) {
    seconds_of(repository, 1);
    change(config);
    EXPECT_EQ(inferences(repository), 0u) << config;
  }
  seconds_of(repository, 1);
  repository.write("m/1/weights", "new");
  change(slow(instances(3), 1));
  EXPECT_EQ(inferences(repository), 0u);
  EXPECT_EQ(shown_instances(repository), 3);
}

TEST_F(InPlace, VersionsThatStayAreNotLoadedAgain) {
  start(slow(instances(1), 0), {1, 2});
  seconds_of(repository, 2);
  change(slow(instances(2) + " version_policy { all { } }", 0));
  EXPECT_THAT(repository.core.ready_versions("m"), ElementsAre(1, 2));
  EXPECT_EQ(inferences(repository, 2), 2u);
  EXPECT_EQ(inferences(repository, 1), 0u);
  change(slow(instances(2) + " version_policy { specific { versions: [ 2 ] } }", 0));
  EXPECT_THAT(repository.core.ready_versions("m"), ElementsAre(2));
  EXPECT_EQ(inferences(repository, 2), 2u);
  // And gone for good when it is told to.
  ASSERT_TRUE(repository.core.unload("m", false).ok());
  for (int i = 0; i < 1000 && repository.core.index(false).at(0).state != "UNAVAILABLE"; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(repository.core.index(false).at(0).reason, "unloaded");
}

TEST_F(InPlace, OpenSequencesGoOn) {
  const std::string sequences = " sequence_batching { max_sequence_idle_microseconds: 20000000 direct { } } ";
  const auto config = [&](int count) {
    std::string text = slow(instances(count) + sequences, 0);
    text.replace(text.find("max_batch_size: 8"), 17, "max_batch_size: 1");
    return text;
  };
  start(config(2));
  const auto ask = [&](uint64_t id, bool begin, bool end) {
    TensorInference one = floats({1});
    one.sequence = id;
    one.sequence_start = begin;
    one.sequence_end = end;
    return repository.infer("m", std::move(one)).status;
  };
  for (const uint64_t id : {1, 2}) ASSERT_TRUE(ask(id, true, false).ok());
  change(config(1));
  for (const uint64_t id : {1, 2}) EXPECT_TRUE(ask(id, false, false).ok()) << ask(id, false, false).message();
  // The slot of the instance that left is not given out again.
  ASSERT_TRUE(ask(2, false, true).ok());
  Waiter third;
  TensorInference one = floats({1});
  one.sequence = uint64_t{3};
  one.sequence_start = true;
  repository.submit("m", std::move(one), third);
  EXPECT_FALSE(third.wait(std::chrono::milliseconds(100)));
  EXPECT_TRUE(ask(1, false, true).ok());
  EXPECT_TRUE(third.wait());
}

TEST_F(InPlace, ARateLimitThatCannotBeKeptChangesNothing) {
  DeclaredResources declared;
  ASSERT_TRUE(declared.add("R:2").ok());
  repository.options.loader.gate = std::make_shared<RateGate>(declared);
  const auto config = [](int copies) {
    return slow(fmt::format("instance_group {{ kind: KIND_CPU rate_limiter {{ resources [ {{ name: \"R\" count: {} }} "
                            "] }} }} version_policy {{ all {{ }} }}",
                            copies),
                0);
  };
  start(config(1), {1, 2});
  seconds_of(repository, 1);
  repository.write("m/config.pbtxt", config(3));
  EXPECT_THAT(repository.core.load("m", {}).message(), HasSubstr("limited to 2"));
  seconds_of(repository, 1);
  change(config(2));
  EXPECT_EQ(inferences(repository, 2), 2u);
  seconds_of(repository, 2);
}

TEST(InPlacePolling, SeesTheChange) {
  RepositoryHarness repository;
  repository.model("m", slow(instances(1), 0));
  ASSERT_TRUE(repository.start().ok());
  seconds_of(repository, 1);
  repository.write("m/config.pbtxt", slow(instances(12), 0));
  repository.manager->poll();
  EXPECT_EQ(shown_instances(repository), 12);
  EXPECT_EQ(inferences(repository), 1u);
}

}  // namespace
}  // namespace inazuma::test
