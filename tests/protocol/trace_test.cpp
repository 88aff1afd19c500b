#include "frontends/kserve/trace.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

namespace inazuma::kserve {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Traces : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / ("inazuma_trace_test." + std::to_string(getpid()));
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }
  std::string path() const { return directory_ / "trace.json"; }
  TraceValues start(TraceValues more = {}) const {
    more.insert({{"trace_file", {path()}}, {"trace_rate", {"1"}}, {"trace_level", {"TIMESTAMPS"}}});
    return more;
  }
  static json read(const fs::path& file) {
    std::ifstream stream(file);
    std::stringstream text;
    text << stream.rdbuf();
    return json::parse(text.str());
  }
  static std::vector<uint64_t> ids(const json& entries) {
    std::vector<uint64_t> out;
    for (const json& entry : entries)
      if (entry.contains("model_name")) out.push_back(entry["id"]);
    return out;
  }
  // Requests of `model`, of which a letter each: traced or not.
  static std::string requests(Tracer& tracer, int count, const std::string& model = "m") {
    std::string out;
    for (int i = 0; i < count; ++i) {
      const auto trace = tracer.begin(model);
      out += trace ? 'T' : '-';
      if (trace) trace->begin(model, 1, "");
    }
    return out;
  }
  fs::path directory_;
};

TEST_F(Traces, NothingIsTracedUnlessAsked) {
  Tracer off;
  EXPECT_EQ(requests(off, 3), "---");
  Tracer quiet({{"trace_file", {path()}}, {"trace_rate", {"1"}}});
  EXPECT_EQ(requests(quiet, 3), "---");
  EXPECT_EQ(read(path()), json::array());
}

TEST_F(Traces, EveryNthUntilTheCountIsUsedUp) {
  Tracer tracer(start({{"trace_rate", {"3"}}, {"trace_count", {"2"}}}));
  EXPECT_EQ(requests(tracer, 12), "--T--T------");
  EXPECT_THAT(tracer.get("")["trace_count"], ElementsAre("0"));
  ASSERT_TRUE(tracer.update("", {{"trace_count", {"-1"}}, {"trace_rate", {"2"}}}).ok());
  EXPECT_EQ(requests(tracer, 5), "-T-T-");
  EXPECT_THAT(tracer.get("")["trace_count"], ElementsAre("-1"));
}

TEST_F(Traces, AModelHasItsOwnSettings) {
  Tracer tracer(start({{"trace_rate", {"2"}}}));
  ASSERT_TRUE(tracer.update("own", {{"trace_rate", {"1"}}, {"trace_count", {"1"}}}).ok());
  EXPECT_EQ(requests(tracer, 3, "own"), "T--");
  EXPECT_EQ(requests(tracer, 4), "-T-T");
  EXPECT_THAT(tracer.get("own")["trace_count"], ElementsAre("0"));
  EXPECT_THAT(tracer.get("m")["trace_count"], ElementsAre("-1"));
  ASSERT_TRUE(tracer.update("own", {{"trace_rate", {}}, {"trace_count", {}}}).ok());
  EXPECT_EQ(tracer.get("own"), tracer.get(""));
  ASSERT_TRUE(tracer.update("own", {{"trace_level", {"OFF"}}}).ok());
  EXPECT_EQ(requests(tracer, 4, "own"), "----");
  ASSERT_TRUE(tracer.update("", {{"trace_level", {"OFF"}}}).ok());
  ASSERT_TRUE(tracer.update("own", {{"trace_level", {"TENSORS"}}}).ok());
  EXPECT_EQ(requests(tracer, 2), "--");
  EXPECT_EQ(requests(tracer, 2, "own"), "-T");
}

TEST_F(Traces, AGlobalCountIsSharedAndOtherSettingsLeaveItAlone) {
  Tracer tracer(start({{"trace_count", {"5"}}}));
  EXPECT_EQ(requests(tracer, 1), "T");
  ASSERT_TRUE(tracer.update("own", {{"trace_rate", {"2"}}}).ok());
  EXPECT_EQ(requests(tracer, 2, "own"), "-T");
  ASSERT_TRUE(tracer.update("", {{"trace_rate", {"1"}}}).ok());
  EXPECT_THAT(tracer.get("")["trace_count"], ElementsAre("3"));
  EXPECT_THAT(tracer.get("own")["trace_count"], ElementsAre("3"));
  EXPECT_EQ(requests(tracer, 5), "TTT--");
  EXPECT_EQ(requests(tracer, 4, "own"), "----");
}

TEST_F(Traces, ManyThreadsUseUpACountOnceWhileSettingsChange) {
  constexpr int kThreads = 4, kCount = 300;
  Tracer tracer(start({{"trace_count", {std::to_string(kCount)}}}));
  std::atomic<int> traced = 0;
  std::atomic<bool> over = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&, i] {
      for (int k = 0; k < kCount; ++k)
        if (const auto trace = tracer.begin(i % 2 == 0 ? "m" : "own")) ++traced;
    });
  std::thread settings([&] {
    for (int k = 0; !over; ++k) EXPECT_TRUE(tracer.update("own", {{"log_frequency", {std::to_string(k % 3)}}}).ok());
  });
  for (std::thread& thread : threads) thread.join();
  over = true;
  settings.join();
  EXPECT_EQ(traced, kCount);
  EXPECT_THAT(tracer.get("")["trace_count"], ElementsAre("0"));
}

TEST_F(Traces, FilesAreWholeAfterEachTrace) {
  Tracer tracer(start());
  requests(tracer, 1);
  EXPECT_THAT(ids(read(path())), ElementsAre(1));
  requests(tracer, 2);
  EXPECT_THAT(ids(read(path())), ElementsAre(1, 2, 3));
  ASSERT_TRUE(tracer.update("", {{"log_frequency", {"2"}}}).ok());
  requests(tracer, 3);
  EXPECT_THAT(ids(read(path() + ".0")), ElementsAre(4, 5));
  EXPECT_THAT(ids(read(path() + ".1")), ElementsAre(6));
  ASSERT_TRUE(tracer.update("", {{"log_frequency", {}}}).ok());
  requests(tracer, 1);
  EXPECT_THAT(ids(read(path())), ElementsAre(1, 2, 3, 7));
}

TEST_F(Traces, EntriesAsTheReferenceWritesThem) {
  Tracer tracer(start({{"trace_level", {"TIMESTAMPS", "TENSORS"}}}));
  {
    const auto trace = tracer.begin("m");
    ASSERT_TRUE(trace);
    trace->begin("m", 2, "r");
    stamp(trace, "QUEUE_START", Clock::time_point(std::chrono::nanoseconds(1234)));
    const float values[] = {1.5f, -4.0f};
    NamedTensor tensor{.name = "IN", .type = DataType::fp32, .shape = {1, 2}};
    tensor.data = SharedBytes(std::string(reinterpret_cast<const char*>(values), sizeof values));
    trace->tensor("TENSOR_QUEUE_INPUT", tensor);
    NamedTensor text{.name = "T", .type = DataType::bytes, .shape = {2}};
    text.data = SharedBytes(join_bytes(std::vector<std::string>{"a\"b", "日本"}));
    trace->tensor("TENSOR_QUEUE_INPUT", text);
    const auto child = trace->child();
    child->begin("step", 1, "r");
    stamp(child, "INFER_RESPONSE_COMPLETE");  // the step's answer is no answer to the client
  }
  const json entries = read(path());
  const json expected = json::parse(R"([
    {"id": 2, "model_name": "step", "model_version": 1, "request_id": "r", "parent_id": 1},
    {"id": 1, "model_name": "m", "model_version": 2, "request_id": "r"},
    {"id": 1, "timestamps": [{"name": "QUEUE_START", "ns": 1234}]},
    {"id": 1, "activity": "TENSOR_QUEUE_INPUT", "tensor": {"name": "IN", "data": "1.5,-4", "shape": "1,2", "dtype": "FP32"}},
    {"id": 1, "activity": "TENSOR_QUEUE_INPUT", "tensor": {"name": "T", "data": "\"a\\\"b\",\"日本\"", "shape": "2", "dtype": "BYTES"}}
  ])");
  EXPECT_EQ(entries, expected) << entries.dump(1);
}

TEST_F(Traces, RefusesWhatCannotBe) {
  Tracer without;
  EXPECT_THAT(without.update("", {{"trace_level", {"TENSORS"}}}).message(), HasSubstr("--trace-config triton,file="));
  Tracer tracer(start());
  for (const auto& [values, message] :
       std::vector<std::pair<TraceValues, std::string>>{{{{"trace_file", {"elsewhere"}}}, "can not be updated"},
                                                        {{{"trace_level", {"OFF", "TENSORS"}}}, "OFF cannot be used"},
                                                        {{{"trace_level", {"MOST"}}}, "'MOST' is not known"},
                                                        {{{"trace_rate", {"0"}}}, "must be a whole number in [1,"},
                                                        {{{"trace_rate", {"1", "2"}}}, "takes one value"},
                                                        {{{"trace_count", {"-2"}}}, "must be a whole number in [-1,"},
                                                        {{{"log_frequency", {"x"}}}, "must be a whole number"},
                                                        {{{"trace_mode", {"triton"}}}, "'trace_mode' is not known"}}) {
    const Status status = tracer.update("", values);
    EXPECT_THAT(status.message(), HasSubstr(message));
  }
  // All or nothing.
  EXPECT_FALSE(tracer.update("", {{"log_frequency", {"7"}}, {"trace_rate", {"x"}}}).ok());
  EXPECT_THAT(tracer.get("")["log_frequency"], ElementsAre("0"));
  EXPECT_EQ(capture([] { Tracer(TraceValues{{"trace_level", {"TENSORS"}}}); }).code(), StatusCode::invalid);
  EXPECT_EQ(capture([] {
              Tracer(TraceValues{{"trace_file", {"/nowhere/at/all.json"}}});
            }).code(),
            StatusCode::unavailable);
}

}  // namespace
}  // namespace inazuma::kserve
