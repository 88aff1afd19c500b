// What a configuration makes of requests: batches, queues, decoupled answers, sequences, ensembles, cache, labels,
// warm-up.

#include <gmock/gmock.h>
#include <grpc_service.pb.h>
#include <gtest/gtest.h>

#include <thread>

#include "harness.h"

namespace inazuma::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

inference::ModelStatistics statistics(const RepositoryHarness& repository, const std::string& model) {
  return repository.core.statistics(model, -1).value().at(0);
}

TEST(DynamicBatching, RequestsThatWaitRunTogether) {
  RepositoryHarness repository;
  repository.model("m", slow("dynamic_batching { }"));
  ASSERT_TRUE(repository.start().ok());
  std::vector<Waiter> waiters(9);
  for (Waiter& waiter : waiters) repository.submit("m", floats({1, 2}), waiter);
  for (Waiter& waiter : waiters) ASSERT_TRUE(waiter.wait() && waiter.end.status.ok());
  const auto seen = statistics(repository, "m");
  EXPECT_EQ(seen.inference_count(), 9u);
  EXPECT_LE(seen.execution_count(), 3u);  // the first alone (or with few), the rest together
  EXPECT_EQ(seen.inference_stats().success().count(), 9u);
  uint64_t rows = 0;
  for (const auto& batch : seen.batch_stats()) rows += batch.batch_size() * batch.compute_infer().count();
  EXPECT_EQ(rows, 9u);
  EXPECT_GE(seen.inference_stats().compute_infer().ns(),
            9u * 150'000'000u);  // a batch's time counts for each of its requests
}

TEST(DynamicBatching, RowsOfOtherShapesDoNotShareABatchUnlessRagged) {
  for (const bool ragged : {false, true}) {
    RepositoryHarness repository;
    std::string config = slow("dynamic_batching { }");
    if (ragged) config.replace(config.find("dims: [ -1 ]"), 12, "dims: [ -1 ] allow_ragged_batch: true");
    repository.model("m", config);
    ASSERT_TRUE(repository.start().ok());
    std::vector<Waiter> waiters(7);
    for (size_t i = 0; i < waiters.size(); ++i) repository.submit("m", floats(std::vector<float>(i + 1)), waiters[i]);
    for (Waiter& waiter : waiters) ASSERT_TRUE(waiter.wait() && waiter.end.status.ok());
    if (ragged)
      EXPECT_LE(statistics(repository, "m").execution_count(), 3u);
    else
      EXPECT_EQ(statistics(repository, "m").execution_count(), 7u);
  }
}

TEST(DynamicBatching, QueuePolicyRefusesAndExpires) {
  RepositoryHarness repository;
  repository.model(
      "m",
      slow("dynamic_batching { default_queue_policy { max_queue_size: 2 default_timeout_microseconds: 50000 } }", 800));
  ASSERT_TRUE(repository.start().ok());
  Waiter running;
  repository.submit("m", floats({1}), running);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // it has left the queue
  std::vector<Waiter> waiters(3);
  for (Waiter& waiter : waiters) repository.submit("m", floats({1}), waiter);
  ASSERT_TRUE(waiters[2].wait());
  EXPECT_EQ(waiters[2].end.status.message(), "Exceeds maximum queue size");
  const auto begin = Clock::now();
  ASSERT_TRUE(waiters[0].wait());
  EXPECT_EQ(waiters[0].end.status.message(), "Request timeout expired");
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(600));  // noticed while the instance is still busy
  ASSERT_TRUE(running.wait());
  EXPECT_TRUE(running.end.status.ok());
  ASSERT_TRUE(waiters[1].wait());
}

TEST(Instances, RunSideBySide) {
  RepositoryHarness repository;
  repository.model("m", slow("instance_group [ { count: 4 kind: KIND_CPU } ]", 300));
  ASSERT_TRUE(repository.start().ok());
  const auto begin = Clock::now();
  std::vector<Waiter> waiters(4);
  for (Waiter& waiter : waiters) repository.submit("m", floats({1}), waiter);
  for (Waiter& waiter : waiters) ASSERT_TRUE(waiter.wait());
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(900));
}

TEST(PreserveOrdering, AnswersLeaveAsRequestsCame) {
  RepositoryHarness repository;
  repository.model("m", slow("instance_group [ { count: 4 kind: KIND_CPU } ] dynamic_batching { preferred_batch_size: "
                             "[ 1 ] max_queue_delay_microseconds: 1000 preserve_ordering: true }",
                             5));
  ASSERT_TRUE(repository.start().ok());
  std::mutex mutex;
  std::vector<int> order;
  std::atomic<int> ended = 0;
  for (int i = 0; i < 60; ++i) {
    Request request;
    request.model = "m";
    request.work = floats({1});
    repository.core.submit(std::move(request), {[](const std::function<void()>& task) { task(); },
                                                [&, i](Event event) {
                                                  if (!std::holds_alternative<Response>(event)) return;
                                                  const std::lock_guard lock(mutex);
                                                  order.push_back(i);
                                                  ++ended;
                                                }});
  }
  for (int i = 0; i < 2000 && ended < 60; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ASSERT_EQ(ended, 60);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(Decoupled, AnswersThenTheFinalFlagAlone) {
  RepositoryHarness repository;
  repository.model("m", std::string(kIdentity) +
                            "model_transaction_policy { decoupled: true } parameters { key: \"response_count\" value { "
                            "string_value: \"3\" } }");
  repository.model("none", std::string(kIdentity) +
                               "model_transaction_policy { decoupled: true } parameters { key: \"response_count\" "
                               "value { string_value: \"0\" } }");
  ASSERT_TRUE(repository.start().ok());
  Waiter waiter;
  repository.submit("m", floats({7}), waiter);
  ASSERT_TRUE(waiter.wait());
  ASSERT_EQ(waiter.answers.size(), 3u);
  for (const TensorResult& answer : waiter.answers) EXPECT_THAT(values_of(answer.outputs.at(0)), ElementsAre(7));
  EXPECT_TRUE(std::get<TensorResult>(waiter.end.outcome).empty);
  Waiter none;
  repository.submit("none", floats({7}), none);
  ASSERT_TRUE(none.wait());
  EXPECT_TRUE(none.answers.empty());
  EXPECT_EQ(statistics(repository, "m").response_stats().at("3").empty_response().count(), 1u);
}

TEST(OptionalInputs, AnAbsentOneGivesNoOutput) {
  RepositoryHarness repository;
  repository.model("m", R"(backend: "identity" max_batch_size: 4
input [ { name: "A" data_type: TYPE_FP32 dims: [ -1 ] }, { name: "B" data_type: TYPE_FP32 dims: [ -1 ] optional: true } ]
output [ { name: "A_OUT" data_type: TYPE_FP32 dims: [ -1 ] }, { name: "B_OUT" data_type: TYPE_FP32 dims: [ -1 ] } ])");
  ASSERT_TRUE(repository.start().ok());
  const Response response = repository.infer("m", floats({1}, "A"));
  ASSERT_TRUE(response.status.ok());
  ASSERT_EQ(std::get<TensorResult>(response.outcome).outputs.size(), 1u);
  EXPECT_THAT(repository.infer("m", floats({1}, "B")).status.message(),
              HasSubstr("expected number of inputs between 1 and 2 but got 1 inputs for model 'm'. Got input(s) ['B'], "
                        "but missing required input(s) ['A']."));
}

TEST(Classification, TheBestWithTheirLabels) {
  RepositoryHarness repository;
  std::string config = kIdentity;
  config.insert(config.rfind("} ]"), " label_filename: \"labels.txt\" ");
  repository.model("m", config);
  repository.write("m/labels.txt", "犬\r\n猫\n");
  ASSERT_TRUE(repository.start().ok());
  TensorInference inference = floats({0.5f, 2, -1});
  inference.outputs = {{.name = "OUT", .classification = 2}};
  const Response response = repository.infer("m", inference);
  ASSERT_TRUE(response.status.ok()) << response.status.message();
  const NamedTensor& best = std::get<TensorResult>(response.outcome).outputs.at(0);
  EXPECT_EQ(best.type, DataType::bytes);
  EXPECT_THAT(best.shape, ElementsAre(1, 2));
  EXPECT_THAT(split_bytes(best.data.view(), 2).value(), ElementsAre("2.000000:1:猫", "0.500000:0:犬"));
  inference.outputs[0].classification = 9;
  const Response all = repository.infer("m", inference);
  EXPECT_THAT(split_bytes(std::get<TensorResult>(all.outcome).outputs.at(0).data.view(), 3).value().at(2),
              "-1.000000:2");  // no third label
  repository.write("m/labels.txt", "");
}

TEST(Cache, HitsAreEqualAndNothingThatDiffersHits) {
  RepositoryHarness repository;
  repository.options.loader.cache = std::make_shared<ResponseCache>(1 << 20);
  repository.model("m", R"(backend: "identity" response_cache { enable: true }
input [ { name: "IN" data_type: TYPE_FP32 dims: [ -1, -1 ] } ] output [ { name: "OUT" data_type: TYPE_FP32 dims: [ -1, -1 ] } ])");
  ASSERT_TRUE(repository.start().ok());
  const auto ask = [&](std::vector<int64_t> shape, const ParameterMap& parameters = {}) {
    TensorInference inference;
    inference.inputs = {make_tensor<float>("IN", DataType::fp32, std::move(shape), {1, 2, 3, 4, 5, 6})};
    inference.parameters = parameters;
    return std::get<TensorResult>(repository.infer("m", inference).outcome).outputs.at(0).shape;
  };
  const auto hits = [&] { return statistics(repository, "m").inference_stats().cache_hit().count(); };
  EXPECT_THAT(ask({2, 3}), ElementsAre(2, 3));
  EXPECT_THAT(ask({3, 2}), ElementsAre(3, 2));
  EXPECT_EQ(hits(), 0u);
  EXPECT_THAT(ask({2, 3}), ElementsAre(2, 3));
  EXPECT_EQ(hits(), 1u);
  EXPECT_THAT(ask({2, 3}, {{"k", int64_t{1}}}), ElementsAre(2, 3));
  EXPECT_THAT(ask({2, 3}, {{"k", true}}), ElementsAre(2, 3));
  EXPECT_EQ(hits(), 1u);
  const auto seen = statistics(repository, "m");
  EXPECT_EQ(seen.inference_stats().success().count(), 5u);
  EXPECT_EQ(seen.inference_count(), 4u);  // hits are not inferences
  EXPECT_EQ(seen.inference_stats().cache_miss().count(), 4u);
}

TEST(Cache, TheLeastRecentlyUsedGoes) {
  ResponseCache cache(4000);
  TensorResult result;
  result.outputs.push_back({"o", DataType::uint8, {1000}, std::string(1000, 'x')});
  for (const char* key : {"a", "b"}) cache.insert(key, result);
  EXPECT_TRUE(cache.find("a"));
  cache.insert("c", result);
  EXPECT_TRUE(cache.find("a"));
  EXPECT_FALSE(cache.find("b"));
  EXPECT_LE(cache.bytes(), 4000u);
  result.outputs[0].data = std::string(5000, 'x');
  cache.insert("d", result);
  EXPECT_FALSE(cache.find("d"));
  EXPECT_TRUE(cache.find("c"));
}

TEST(Sequences, ThroughTheWholeServer) {
  for (const char* strategy : {"direct { }", "oldest { max_candidate_sequences: 4 }"}) {
    RepositoryHarness repository;
    repository.model(
        "m",
        std::string(kIdentity) + "sequence_batching { " + strategy +
            R"( control_input [ { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] }, { name: "ID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] } ] })");
    ASSERT_TRUE(repository.start().ok());
    TensorInference one = floats({1});
    EXPECT_THAT(repository.infer("m", one).status.message(), HasSubstr("non-zero or non-empty correlation ID"));
    one.sequence = uint64_t{42};
    EXPECT_THAT(repository.infer("m", one).status.message(),
                HasSubstr("sequence 42 to model 'm' must specify the START flag"));
    one.sequence = std::string("abc");
    EXPECT_THAT(repository.infer("m", one).status.message(), HasSubstr("must be an integer"));
    one.sequence = uint64_t{42};
    one.sequence_start = true;
    EXPECT_TRUE(repository.infer("m", one).status.ok());
    one.sequence_start = false;
    EXPECT_TRUE(repository.infer("m", one).status.ok());
    one.sequence_end = true;
    EXPECT_TRUE(repository.infer("m", one).status.ok());
    one.sequence_end = false;
    EXPECT_FALSE(repository.infer("m", one).status.ok());
    one.sequence_start = true;
    one.inputs[0] = make_tensor<float>("IN", DataType::fp32, {2, 1}, {1, 2});
    EXPECT_THAT(repository.infer("m", one).status.message(), HasSubstr("batch-size 1"));
  }
}

constexpr const char* kEnsemble = R"(platform: "ensemble" max_batch_size: 8
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] } ]
ensemble_scheduling { step [
  { model_name: "second" model_version: -1 input_map { key: "IN" value: "between" } output_map { key: "OUT" value: "Y" } },
  { model_name: "first" model_version: -1 input_map { key: "IN" value: "X" } output_map { key: "OUT" value: "between" } } ] })";

TEST(Ensembles, DataFlowsThroughTheSteps) {
  RepositoryHarness repository;
  repository.options.mode = ControlMode::explicit_;
  repository.options.load_models = {"whole"};
  repository.model("first", slow("", 1));
  repository.model("second", kIdentity);
  repository.model("whole", kEnsemble);
  const Status started = repository.start();
  ASSERT_TRUE(started.ok()) << started.message();  // loads its parts
  const Response response = repository.infer("whole", floats({1, 2}, "X"));
  ASSERT_TRUE(response.status.ok()) << response.status.message();
  const auto& result = std::get<TensorResult>(response.outcome);
  EXPECT_EQ(result.model_name, "whole");
  EXPECT_THAT(values_of(result.outputs.at(0)), ElementsAre(1, 2));
  EXPECT_EQ(result.outputs.at(0).name, "Y");
  EXPECT_EQ(statistics(repository, "first").inference_count(), 1u);
  EXPECT_EQ(statistics(repository, "whole").inference_count(), 1u);
  // Without a part it cannot serve.
  ASSERT_TRUE(repository.core.unload("first", false).ok());
  EXPECT_FALSE(repository.infer("whole", floats({1}, "X")).status.ok());
  ASSERT_TRUE(repository.core.load("whole", {}).ok());
  EXPECT_TRUE(repository.infer("whole", floats({1}, "X")).status.ok());
  // With its dependents: the parts that came only with it go too.
  ASSERT_TRUE(repository.core.unload("whole", true).ok());
  EXPECT_TRUE(repository.core.ready_versions("second").empty());
}

TEST(Ensembles, GraphsThatCannotWorkAreRefused) {
  const std::tuple<const char*, const char*, const char*> kCases[] = {
      {"value: \"X\"", "value: \"Z\"", "comes from nowhere"},
      {"key: \"OUT\" value: \"Y\"", "key: \"OUT\" value: \"W\"", "comes from no step"},
      {"model_name: \"first\"", "model_name: \"absent\"", "absent"},
      {"key: \"IN\" value: \"X\"", "key: \"INN\" value: \"X\"", "maps input 'INN'"},
      {"key: \"IN\" value: \"X\"", "key: \"IN\" value: \"Y\"", "circle"},
      {"name: \"X\" data_type: TYPE_FP32", "name: \"X\" data_type: TYPE_INT32", "INT32"},
      {"name: \"Y\" data_type: TYPE_FP32 dims: [ -1 ]", "name: \"Y\" data_type: TYPE_FP32 dims: [ -1, 2 ]", "shape"},
      {"model_name: \"second\"", "model_name: \"whole\"", "itself"},
  };
  for (const auto& [from, to, wanted] : kCases) {
    RepositoryHarness repository;
    repository.model("first", kIdentity);
    repository.model("second", kIdentity);
    std::string config = kEnsemble;
    config.replace(config.find(from), std::string_view(from).size(), to);
    repository.model("whole", config);
    EXPECT_THAT(repository.start().message(), HasSubstr(wanted)) << to;
  }
}

TEST(Warmup, RunsBeforeReadyAndOutsideStatistics) {
  RepositoryHarness repository;
  repository.model(
      "m",
      std::string(kIdentity) +
          R"(model_warmup [ { name: "zeros" batch_size: 2 inputs { key: "IN" value { data_type: TYPE_FP32 dims: [ 3 ] zero_data: true } } } ])");
  ASSERT_TRUE(repository.start().ok());
  EXPECT_EQ(statistics(repository, "m").inference_count(), 0u);
  RepositoryHarness bad;
  bad.model(
      "m",
      std::string(kIdentity) +
          R"(model_warmup [ { name: "wrong" batch_size: 9 inputs { key: "IN" value { data_type: TYPE_FP32 dims: [ 3 ] random_data: true } } } ])");
  EXPECT_THAT(bad.start().message(), HasSubstr("model_warmup 'wrong'"));
  RepositoryHarness file;
  file.model(
      "m",
      std::string(kIdentity) +
          R"(model_warmup [ { name: "f" batch_size: 1 inputs { key: "IN" value { data_type: TYPE_FP32 dims: [ 2 ] input_data_file: "raw" } } } ])");
  file.write("m/warmup/raw", std::string(8, '\0'));
  EXPECT_TRUE(file.start().ok());
}

TEST(Cancellation, AQueuedRequestLeaves) {
  RepositoryHarness repository;
  repository.model("m", slow("dynamic_batching { preferred_batch_size: [ 1 ] max_queue_delay_microseconds: 1 }", 60));
  ASSERT_TRUE(repository.start().ok());
  Waiter running, waiting;
  repository.submit("m", floats({1}), running);
  const auto cancel = std::make_shared<std::atomic<bool>>(false);
  std::this_thread::sleep_for(std::chrono::milliseconds(15));
  repository.submit("m", floats({1}), waiting, cancel);
  *cancel = true;
  ASSERT_TRUE(waiting.wait());
  EXPECT_EQ(waiting.end.status.code(), StatusCode::cancelled);
  ASSERT_TRUE(running.wait());
  EXPECT_TRUE(running.end.status.ok());
}

TEST(EveryDatatype, GoesThroughTheIdentity) {
  for (int number = 1; number <= 14; ++number) {
    const auto type = static_cast<DataType>(number);
    RepositoryHarness repository;
    const std::string name = type == DataType::bytes ? "TYPE_STRING" : "TYPE_" + std::string(wire_name(type));
    repository.model("m", fmt::format("backend: \"identity\" input [ {{ name: \"I\" data_type: {0} dims: [ 2, -1 ] }} "
                                      "] output [ {{ name: \"O\" data_type: {0} dims: [ 2, -1 ] }} ]",
                                      name));
    ASSERT_TRUE(repository.start().ok()) << name;
    TensorInference inference;
    const std::string data =
        type == DataType::bytes ? join_bytes({"a", "日本", "", "🙂"}) : std::string(4 * element_size(type), '\1');
    inference.inputs = {{"I", type, {2, 2}, data}};
    Response response = repository.infer("m", inference);
    ASSERT_TRUE(response.status.ok()) << name << response.status.message();
    EXPECT_EQ(std::get<TensorResult>(response.outcome).outputs.at(0).data.view(), data) << name;
    inference.inputs = {{"I", type, {2, 0}, std::string()}};
    response = repository.infer("m", inference);
    ASSERT_TRUE(response.status.ok()) << name;
    EXPECT_EQ(std::get<TensorResult>(response.outcome).outputs.at(0).data.size(), 0u);
  }
}

TEST(Metrics, HaveTritonsNamesAndMeanings) {
  RepositoryHarness repository;
  repository.model("m", kIdentity, {1, 4});
  ASSERT_TRUE(repository.start().ok());
  TensorInference two;
  two.inputs = {make_tensor<float>("IN", DataType::fp32, {2, 1}, {1, 2})};
  ASSERT_TRUE(repository.infer("m", two).status.ok());
  ASSERT_FALSE(repository.infer("m", floats({1}, "no")).status.ok());
  const std::string text = repository.core.metrics().text(*repository.core.repository().snapshot());
  EXPECT_THAT(text, HasSubstr("nv_inference_request_success{model=\"m\",version=\"4\"} 1"));
  EXPECT_THAT(text, HasSubstr("nv_inference_count{model=\"m\",version=\"4\"} 2"));
  EXPECT_THAT(text, HasSubstr("nv_inference_exec_count{model=\"m\",version=\"4\"} 1"));
  EXPECT_THAT(text, HasSubstr("nv_inference_pending_request_count{model=\"m\",version=\"4\"} 0"));
  for (const char* reason : {"REJECTED", "CANCELED", "BACKEND", "OTHER"})
    EXPECT_THAT(text, HasSubstr(fmt::format("reason=\"{}\"", reason)));
}

}  // namespace
}  // namespace inazuma::test
