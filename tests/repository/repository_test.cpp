// Loading, switching, unloading, versions, the index: a repository as a client of Core sees it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "harness.h"

namespace inazuma::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string state_of(const Core& core, const std::string& model) {
  std::string out;
  for (const IndexEntry& entry : core.index(false))
    if (entry.name == model)
      out += (out.empty() ? "" : " ") + entry.version + ":" + entry.state +
             (entry.reason.empty() ? "" : "(" + entry.reason + ")");
  return out;
}
bool becomes(const Core& core, const std::string& model, const std::string& wanted) {
  for (int i = 0; i < 2000; ++i) {
    if (state_of(core, model) == wanted) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

TEST(ModelRepository, ServesTheIdentityByteForByte) {
  RepositoryHarness repository;
  repository.model("m", kIdentity);
  ASSERT_TRUE(repository.start().ok());
  const Response response = repository.infer("m", floats({1, 2, 3}));
  ASSERT_TRUE(response.status.ok()) << response.status.message();
  const auto& result = std::get<TensorResult>(response.outcome);
  EXPECT_EQ(result.model_name, "m");
  EXPECT_EQ(result.model_version, "1");
  ASSERT_EQ(result.outputs.size(), 1u);
  EXPECT_EQ(result.outputs[0].name, "OUT");
  EXPECT_THAT(result.outputs[0].shape, ElementsAre(1, 3));
  EXPECT_THAT(values_of(result.outputs[0]), ElementsAre(1, 2, 3));
}

TEST(ModelRepository, VersionPoliciesChoose) {
  const std::pair<const char*, std::vector<int64_t>> kCases[] = {
      {"", {10}},
      {"version_policy { latest { num_versions: 2 } }", {3, 10}},
      {"version_policy { all { } }", {1, 3, 10}},
      {"version_policy { specific { versions: [ 1, 3, 7 ] } }", {1, 3}}};
  for (const auto& [policy, wanted] : kCases) {
    RepositoryHarness repository;
    repository.model("m", std::string(kIdentity) + policy, {1, 3, 10});
    std::filesystem::create_directories(repository.root / "m" / "007");
    std::filesystem::create_directories(repository.root / "m" / "warmup");
    ASSERT_TRUE(repository.start().ok());
    EXPECT_EQ(repository.core.ready_versions("m"), wanted) << policy;
    EXPECT_EQ(std::get<TensorResult>(repository.infer("m", floats({1})).outcome).model_version,
              std::to_string(wanted.back()));
    TensorInference exact = floats({1});
    exact.version = wanted.front();
    EXPECT_EQ(std::get<TensorResult>(repository.infer("m", exact).outcome).model_version,
              std::to_string(wanted.front()));
    exact.version = 99;
    EXPECT_EQ(repository.infer("m", exact).status.message(), "Request for unknown model: 'm' version 99 is not found");
  }
  RepositoryHarness none;
  none.model("m", std::string(kIdentity) + "version_policy { specific { versions: [ 2 ] } }");
  EXPECT_THAT(none.start().message(),
              HasSubstr("at least one version must be available under the version policy of model 'm'"));
}

TEST(ModelRepository, UnknownModelsHaveTritonsWords) {
  RepositoryHarness repository;
  repository.model("m", kIdentity);
  ASSERT_TRUE(repository.start().ok());
  const Response response = repository.infer("n", floats({1}));
  EXPECT_EQ(response.status.code(), StatusCode::not_found);
  EXPECT_EQ(response.status.message(), "Request for unknown model: 'n' is not found");
  EXPECT_THAT(repository.core.load("m", {}).message(), HasSubstr("polling is enabled"));
  EXPECT_EQ(repository.core.load("m", {}).code(), StatusCode::unavailable);
  EXPECT_EQ(repository.core.unload("m", false).code(), StatusCode::unavailable);
}

TEST(ModelRepository, ExplicitLoadAndUnload) {
  RepositoryHarness repository;
  repository.options.mode = ControlMode::explicit_;
  repository.options.load_models = {"a"};
  repository.model("a", kIdentity);
  repository.model("b", kIdentity);
  ASSERT_TRUE(repository.start().ok());
  EXPECT_EQ(state_of(repository.core, "a"), "1:READY");
  EXPECT_EQ(state_of(repository.core, "b"), ":");  // never loaded: a name only
  ASSERT_TRUE(repository.core.load("b", {}).ok());
  EXPECT_TRUE(repository.infer("b", floats({1})).status.ok());
  ASSERT_TRUE(repository.core.unload("b", false).ok());
  EXPECT_FALSE(repository.infer("b", floats({1})).status.ok());
  EXPECT_TRUE(becomes(repository.core, "b", "1:UNAVAILABLE(unloaded)"));
  EXPECT_TRUE(repository.core.ready());  // unloaded on purpose does not count
  EXPECT_TRUE(repository.core.unload("b", false).ok());
  EXPECT_EQ(repository.core.load("c", {}).code(), StatusCode::internal);
  EXPECT_THAT(repository.core.load("c", {}).message(),
              HasSubstr("failed to load 'c', failed to poll from model repository"));
  for (const char* bad : {"..", "", " ", "a/b", "."})
    EXPECT_EQ(repository.core.load(bad, {}).code(), StatusCode::invalid) << bad;
}

TEST(ModelRepository, AFailedLoadKeepsTheOldOneServing) {
  RepositoryHarness repository;
  repository.options.mode = ControlMode::explicit_;
  repository.options.load_models = {"m"};
  repository.model("m", kIdentity);
  ASSERT_TRUE(repository.start().ok());
  repository.model("m",
                   std::string(kIdentity) + "parameters { key: \"execute_delay_ms\" value { string_value: \"soon\" } }",
                   {1, 2});
  const Status failed = repository.core.load("m", {});
  EXPECT_EQ(failed.code(), StatusCode::invalid);
  EXPECT_THAT(failed.message(),
              HasSubstr("load failed for model 'm': version 2 is at UNAVAILABLE state: Invalid argument: "));
  EXPECT_THAT(failed.message(), HasSubstr("execute_delay_ms"));
  EXPECT_TRUE(repository.infer("m", floats({1})).status.ok());
  EXPECT_EQ(state_of(repository.core, "m"), "1:READY");
  repository.write("m/config.pbtxt", "max_batchsize: 3");
  EXPECT_THAT(repository.core.load("m", {}).message(),
              testing::AllOf(HasSubstr("failed to poll"), HasSubstr("m/config.pbtxt:1:")));
  EXPECT_TRUE(repository.infer("m", floats({1})).status.ok());
}

TEST(ModelRepository, ConfigAndFileOverrides) {
  RepositoryHarness repository;
  repository.options.mode = ControlMode::explicit_;
  repository.model("m", kIdentity);
  ASSERT_TRUE(repository.start().ok());
  const std::string config =
      R"({"backend":"identity","max_batch_size":2,"input":[{"name":"A","data_type":"TYPE_FP32","dims":[-1]}],"output":[{"name":"B","data_type":"TYPE_FP32","dims":[-1]}]})";
  ASSERT_TRUE(repository.core.load("m", {.config = config, .files = {}}).ok());
  EXPECT_TRUE(repository.infer("m", floats({1}, "A")).status.ok());
  ASSERT_TRUE(repository.core.load("m", {}).ok());  // back to the file, though it did not change
  EXPECT_TRUE(repository.infer("m", floats({1})).status.ok());
  ASSERT_TRUE(repository.core.load("m", {.config = config, .files = {{"5/data.bin", "x"}}}).ok());
  EXPECT_THAT(repository.core.ready_versions("m"), ElementsAre(5));
  EXPECT_EQ(repository.core.load("m", {.config = "", .files = {{"5/data.bin", "x"}}}).code(), StatusCode::invalid);
  for (const char* bad : {"../x", "/tmp/inazuma-x", "1/../../x", "", "1/"})
    EXPECT_EQ(repository.core.load("m", {.config = config, .files = {{bad, "x"}}}).code(), StatusCode::invalid) << bad;
  EXPECT_THAT(repository.core.load("m", {.config = "{", .files = {}}).message(), HasSubstr("Invalid config override"));
  EXPECT_TRUE(repository.infer("m", floats({1}, "A")).status.ok());
}

TEST(ModelRepository, ANameInTwoRepositoriesIsServedByNeither) {
  RepositoryHarness repository;
  repository.model("one/m", kIdentity);
  repository.model("two/m", kIdentity);
  repository.options.repositories = {repository.root / "one", repository.root / "two"};
  EXPECT_FALSE(repository.start().ok());
  EXPECT_EQ(state_of(repository.core, "m"), "1:UNAVAILABLE(model appears in two or more repositories)");
  EXPECT_FALSE(repository.core.ready());
}

TEST(ModelRepository, PollingFollowsTheDirectory) {
  RepositoryHarness repository;
  repository.options.mode = ControlMode::poll;
  repository.options.poll_interval = std::chrono::hours(1);  // the test polls
  repository.model("m", kIdentity);
  ASSERT_TRUE(repository.start().ok());
  repository.model("n", kIdentity);
  repository.model("m", std::string(kIdentity) + "version_policy { all { } }", {1, 2});
  repository.manager->poll();
  EXPECT_THAT(repository.core.ready_versions("m"), ElementsAre(1, 2));
  EXPECT_THAT(repository.core.ready_versions("n"), ElementsAre(1));
  std::filesystem::remove_all(repository.root / "n");
  repository.manager->poll();
  EXPECT_TRUE(repository.core.ready_versions("n").empty());
}

TEST(ModelRepository, ReloadsUnderLoadFailNoRequestAndMixNoVersions) {
  RepositoryHarness repository;
  repository.options.mode = ControlMode::explicit_;
  repository.options.load_models = {"m"};
  repository.model("m", kIdentity);
  ASSERT_TRUE(repository.start().ok());
  std::atomic<bool> stop = false;
  std::atomic<int> failed = 0, answered = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 16; ++i)
    clients.emplace_back([&, i] {
      while (!stop) {
        const Response response = repository.infer("m", floats({static_cast<float>(i)}));
        const bool good = response.status.ok() && values_of(std::get<TensorResult>(response.outcome).outputs.at(0)) ==
                                                      std::vector<float>{static_cast<float>(i)};
        ++(good ? answered : failed);
      }
    });
  for (int round = 2; round <= 101; ++round) {
    std::filesystem::create_directories(repository.root / "m" / std::to_string(round));
    std::filesystem::remove_all(repository.root / "m" / std::to_string(round - 1));
    ASSERT_TRUE(repository.core.load("m", {}).ok()) << round;
    EXPECT_THAT(repository.core.ready_versions("m"), ElementsAre(round));
  }
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0);
  EXPECT_GT(answered, 100);
}

TEST(ModelRepository, IdentityCompletesNothingByItself) {
  RepositoryHarness repository;
  repository.model("m", "backend: \"identity\"");
  EXPECT_THAT(repository.start().message(), HasSubstr("input and output must be configured"));
}

}  // namespace
}  // namespace inazuma::test
