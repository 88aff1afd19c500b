// Decoupled steps in ensembles: the steps' models are played by the test, answer by answer, so that every order can be
// had; and the same over a repository, through the server's door.

#include <gmock/gmock.h>
#include <model_config.pb.h>

#include "harness.h"
#include "serving/backends/program.h"
#include "serving/config/config_text.h"

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace inazuma::test {
namespace {

// What a step's model says of itself; what is asked of it goes to the test instead.
class Described : public Backend {
 public:
  explicit Described(TensorModel model) : model_(std::make_shared<const TensorModel>(std::move(model))) {}
  const BackendInfo& info() const override { return info_; }
  void submit(Request, Receiver) override {}
  EngineStats stats() const override { return {}; }
  std::shared_ptr<const TensorModel> tensor_model() const override { return model_; }
  bool drain(Clock::time_point) override { return true; }

 private:
  BackendInfo info_;
  std::shared_ptr<const TensorModel> model_;
};

class Client : public TensorJob::Listener {
 public:
  void on_answer(TensorJob&, TensorResult result) override { said.push_back(shown(result)); }
  void on_end(TensorJob&, Status status, TensorResult result) override {
    said.push_back(!status.ok() ? "error: " + status.message() : result.empty ? "end" : shown(result) + " end");
  }
  std::vector<std::string> said;

 private:
  static std::string shown(const TensorResult& result) {
    std::string out;
    for (const NamedTensor& tensor : result.outputs)
      out += (out.empty() ? "" : " ") + fmt::format("{}={}", tensor.name, values_of(tensor).at(0));
    return out;
  }
};

class Play {
 public:
  /// `steps`: of ensemble_scheduling. Models whose names begin with "many" are decoupled; all have A, A2 -> B, B2.
  explicit Play(const std::string& steps, const std::string& outputs = "Y", const std::string& more = "") {
    std::string text = "name: \"e\" platform: \"ensemble\" input { name: \"X\" data_type: TYPE_FP32 dims: [ 1 ] } ";
    for (const char output : outputs)
      text += fmt::format("output {{ name: \"{}\" data_type: TYPE_FP32 dims: [ 1 ] }} ", output);
    text += "ensemble_scheduling { " + more + " " + steps + " }";
    const auto config = std::make_shared<const inference::ModelConfig>(parse_config_text(text, "config.pbtxt").value());
    auto model = std::make_shared<TensorModel>(make_tensor_model(config, 1));
    ProgramContext context{
        .model = model,
        .model_directory = {},
        .version_directory = {},
        .options = {},
        .dialect = {},
        .find_model = [](const std::string& name, int64_t) -> Result<std::shared_ptr<Backend>> {
          TensorModel step;
          step.name = name;
          step.decoupled = name.starts_with("many");
          step.single_answer = !step.decoupled;
          for (const char* input : {"A", "A2"})
            step.inputs.push_back({.name = input, .type = DataType::fp32, .dims = {1}, .optional = true});
          for (const char* output : {"B", "B2"})
            step.outputs.push_back({.name = output, .type = DataType::fp32, .dims = {1}});
          return std::shared_ptr<Backend>(std::make_shared<Described>(std::move(step)));
        },
        .submit =
            [this](Request request, Receiver receiver) {
              asked.push_back({std::move(request), std::move(receiver)});
            }};
    const BackendKind kind = ensemble_backend();
    kind.prepare(context, *model);
    decoupled = model->decoupled;
    single_answer = model->single_answer;
    shown_decoupled = model->config->model_transaction_policy().decoupled();
    program = kind.load(context);
  }

  Client& ask(float value) {
    auto client = std::make_shared<Client>();
    TensorInference inference;
    inference.inputs.push_back(make_tensor<float>("X", DataType::fp32, {1}, {value}));
    TensorJobs jobs;
    jobs.push_back(std::make_unique<TensorJob>(std::move(inference), client));
    jobs.front()->cancel = cancel;
    program->execute(jobs);
    clients.push_back(client);
    return *client;
  }

  /// Open questions to the steps, as "model(input)".
  std::vector<std::string> open() const {
    std::vector<std::string> out;
    for (const Asked& one : asked)
      if (!one.ended) out.push_back(fmt::format("{}({})", one.request.model, input(one)));
    return out;
  }
  void answer(size_t which, float value) { asked.at(which).receiver.on_event(TensorEvent{result(value)}); }
  /// Ends question `which`: with an answer, alone, or with an error.
  void end(size_t which, float value) { end(which, Status(), result(value)); }
  void end_empty(size_t which) {
    TensorResult empty;
    empty.empty = true;
    end(which, Status(), std::move(empty));
  }
  void fail(size_t which) { end(which, Status(StatusCode::internal, "broken"), {}); }

  struct Asked {
    Request request;
    Receiver receiver;
    bool ended = false;
  };
  std::deque<Asked> asked;
  std::vector<std::shared_ptr<Client>> clients;
  CancelFlag cancel = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<TensorProgram> program;
  bool decoupled = false, single_answer = false, shown_decoupled = false;

 private:
  static float input(const Asked& one) {
    return values_of(std::get<TensorInference>(one.request.work).inputs.at(0)).at(0);
  }
  static TensorResult result(float value) {
    TensorResult out;
    for (const char* name : {"B", "B2"}) out.outputs.push_back(make_tensor<float>(name, DataType::fp32, {1}, {value}));
    return out;
  }
  void end(size_t which, Status status, TensorResult outcome) {
    asked.at(which).ended = true;
    asked.at(which).receiver.on_event(Response{std::move(status), std::move(outcome), {}});
  }
};

std::string step(const std::string& model, const std::string& inputs, const std::string& outputs) {
  return fmt::format("step {{ model_name: \"{}\" model_version: -1 {} {} }} ", model, inputs, outputs);
}
std::string in(const std::string& tensor, const std::string& name = "A") {
  return fmt::format("input_map {{ key: \"{}\" value: \"{}\" }} ", name, tensor);
}
std::string out(const std::string& tensor, const std::string& name = "B") {
  return fmt::format("output_map {{ key: \"{}\" value: \"{}\" }} ", name, tensor);
}

TEST(DecoupledSteps, EachAnswerRunsOnAndLeavesInOrder) {
  Play play(step("many", in("X"), out("t")) + step("one", in("t"), out("Y")));
  EXPECT_TRUE(play.decoupled && play.shown_decoupled && !play.single_answer);
  Client& client = play.ask(7);
  ASSERT_THAT(play.open(), ElementsAre("many(7)"));
  play.answer(0, 1);
  play.answer(0, 2);
  play.answer(0, 3);
  EXPECT_THAT(play.open(), ElementsAre("many(7)", "one(1)", "one(2)", "one(3)"));
  play.end(2, 20);
  play.end(3, 30);
  EXPECT_THAT(client.said, IsEmpty());  // the first is still on its way
  play.end(1, 10);
  EXPECT_THAT(client.said, ElementsAre("Y=10", "Y=20", "Y=30"));
  play.end_empty(0);
  EXPECT_THAT(client.said, ElementsAre("Y=10", "Y=20", "Y=30", "end"));
}

TEST(DecoupledSteps, TheFinalFlagGoesWithTheLastAnswerWhereItCan) {
  Play play(step("many", in("X"), out("t")) + step("one", in("t"), out("Y")));
  Client& client = play.ask(7);
  play.answer(0, 1);
  play.end(0, 2);  // the last answer and the end in one
  play.end(1, 10);
  EXPECT_THAT(client.said, ElementsAre("Y=10"));
  play.end(2, 20);
  EXPECT_THAT(client.said, ElementsAre("Y=10", "Y=20 end"));

  Client& none = play.ask(8);
  play.end_empty(3);
  EXPECT_THAT(none.said, ElementsAre("end"));
}

TEST(DecoupledSteps, SeveralInARow) {
  Play play(step("one", in("X"), out("s")) + step("many1", in("s"), out("t")) + step("many2", in("t"), out("Y")));
  Client& client = play.ask(7);
  play.end(0, 8);
  ASSERT_THAT(play.open(), ElementsAre("many1(8)"));
  play.answer(1, 1);
  play.answer(1, 2);
  ASSERT_THAT(play.open(), ElementsAre("many1(8)", "many2(1)", "many2(2)"));
  play.answer(3, 21);  // of the second: after all of the first
  play.answer(2, 11);
  play.answer(2, 12);
  EXPECT_THAT(client.said, ElementsAre("Y=11", "Y=12"));
  play.end_empty(2);
  EXPECT_THAT(client.said, ElementsAre("Y=11", "Y=12", "Y=21"));
  play.answer(3, 22);
  EXPECT_THAT(client.said, ElementsAre("Y=11", "Y=12", "Y=21", "Y=22"));
  play.end_empty(3);
  play.end_empty(1);
  EXPECT_THAT(client.said, ElementsAre("Y=11", "Y=12", "Y=21", "Y=22", "end"));
}

TEST(DecoupledSteps, BranchesOfOneAnswerMeetAgain) {
  Play play(step("many", in("X"), out("t") + out("u", "B2")) + step("one", in("t"), out("v")) +
                step("two", in("v") + in("u", "A2"), out("Y") + out("Z", "B2")),
            "YZ");
  Client& client = play.ask(7);
  play.answer(0, 1);
  play.answer(0, 2);
  play.end(2, 20);  // one(2)
  play.end(1, 10);  // one(1)
  ASSERT_THAT(play.open(), ElementsAre("many(7)", "two(20)", "two(10)"));
  // Each meets the tensor of its own answer.
  EXPECT_THAT(values_of(std::get<TensorInference>(play.asked[3].request.work).inputs.at(1)), ElementsAre(2));
  play.end(3, 200);
  play.end(4, 100);
  play.end_empty(0);
  EXPECT_THAT(client.said, ElementsAre("Y=100 Z=100", "Y=200 Z=200", "end"));
}

TEST(DecoupledSteps, TheFirstErrorEndsTheRequest) {
  Play play(step("many", in("X"), out("t")) + step("one", in("t"), out("Y")));
  Client& client = play.ask(7);
  play.answer(0, 1);
  play.end(1, 10);
  play.answer(0, 2);
  play.fail(2);
  EXPECT_THAT(client.said, ElementsAre("Y=10", "error: in ensemble 'e': broken"));
  play.answer(0, 3);
  play.end_empty(0);
  EXPECT_THAT(play.open(), IsEmpty());  // nothing was begun after it
  EXPECT_EQ(client.said.size(), 2u);

  Client& first = play.ask(8);
  play.answer(3, 1);
  play.fail(3);
  play.end(4, 10);
  EXPECT_THAT(first.said, ElementsAre("error: in ensemble 'e': broken"));
}

TEST(DecoupledSteps, ACancelledRequestBeginsNothingMore) {
  Play play(step("many", in("X"), out("t")) + step("one", in("t"), out("Y")));
  Client& client = play.ask(7);
  play.answer(0, 1);
  EXPECT_EQ(play.asked[1].request.cancelled, play.cancel);  // whoever works it hears of it too
  *play.cancel = true;
  play.answer(0, 2);
  EXPECT_EQ(play.asked.size(), 2u);
  EXPECT_THAT(client.said, ElementsAre(HasSubstr("cancelled")));
  play.end(1, 10);
  play.fail(0);
  EXPECT_EQ(client.said.size(), 1u);
}

TEST(DecoupledSteps, AStepNobodyWaitsForMakesNoStream) {
  Play play(step("many", in("X"), out("t")) + step("one", in("X"), out("Y")) + step("two", in("t"), out("u")));
  EXPECT_FALSE(play.decoupled || play.shown_decoupled);
  Client& client = play.ask(7);
  play.end(1, 10);
  play.answer(0, 1);
  play.end_empty(0);
  EXPECT_THAT(client.said, IsEmpty());
  play.end(2, 5);
  EXPECT_THAT(client.said, ElementsAre("Y=10 end"));
}

TEST(DecoupledSteps, AModelThatBecameDecoupledIsNamed) {
  Play play(step("one", in("X"), out("Y")));
  Client& client = play.ask(7);
  play.answer(0, 1);
  play.end_empty(0);
  EXPECT_THAT(client.said, ElementsAre(HasSubstr("load the ensemble again")));
}

TEST(DecoupledSteps, TensorsOfDifferentDecoupledStepsDoNotMeet) {
  const auto refused = [](const std::string& steps, const std::string& outputs) {
    return capture([&] { Play play(steps, outputs); }).message();
  };
  const std::string many = step("many", in("X"), out("t"));
  EXPECT_THAT(refused(many + step("two", in("t") + in("X", "A2"), out("Y")), "Y"), HasSubstr("'two'"));
  EXPECT_THAT(refused(many + step("many2", in("X"), out("u")) + step("two", in("t") + in("u", "A2"), out("Y")), "Y"),
              HasSubstr("different decoupled models"));
  EXPECT_THAT(refused(step("many", in("X"), out("Y")) + step("one", in("X"), out("Z")), "YZ"),
              HasSubstr("its outputs originated"));
  EXPECT_THAT(refused(many + step("many2", in("t"), out("Y")) + step("one", in("t"), out("Z")), "YZ"),
              HasSubstr("its outputs originated"));
}

TEST(DecoupledSteps, NoMoreOfAStepRunThanTheGateLetsThrough) {
  Play play(step("many", in("X"), out("t")) + step("one", in("t"), out("Y")), "Y", "max_inflight_requests: 2");
  Client& client = play.ask(7);
  for (const float value : {1.F, 2.F, 3.F, 4.F}) play.answer(0, value);
  EXPECT_THAT(play.open(), ElementsAre("many(7)", "one(1)", "one(2)"));
  play.end(2, 20);
  EXPECT_THAT(play.open(), ElementsAre("many(7)", "one(1)", "one(3)"));
  play.end(1, 10);
  play.end(3, 30);
  play.end(4, 40);
  play.end_empty(0);
  EXPECT_THAT(client.said, ElementsAre("Y=10", "Y=20", "Y=30", "Y=40", "end"));
}

constexpr const char* kStream = R"(platform: "ensemble"
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1, -1 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ -1, -1 ] } ]
ensemble_scheduling { step [
  { model_name: "many" model_version: -1 input_map { key: "IN" value: "X" } output_map { key: "OUT" value: "t" } },
  { model_name: "one" model_version: -1 input_map { key: "IN" value: "t" } output_map { key: "OUT" value: "Y" } } ] })";

std::string identity(const std::string& more, const std::string& dims = "[ -1, -1 ]") {
  return fmt::format(
      "backend: \"identity\" input {{ name: \"IN\" data_type: TYPE_FP32 dims: {} }} output {{ name: \"OUT\" data_type: "
      "TYPE_FP32 dims: {} }} {}",
      dims, dims, more);
}
const std::string kMany =
    "model_transaction_policy { decoupled: true } parameters { key: \"response_count\" value { string_value: \"5\" } }";

TEST(DecoupledSteps, ThroughTheServer) {
  RepositoryHarness repository;
  repository.model("many", identity(kMany));
  repository.model("one", identity("instance_group { count: 3 kind: KIND_CPU }"));
  repository.model("narrow", identity("", "[ -1, 2 ]"));
  repository.model("whole", kStream);
  std::string config = kStream;
  config.replace(config.find("\"one\""), 5, "\"narrow\"");
  repository.model("breaks", config);
  config = kStream;
  config.replace(config.find("\"many\""), 6, "\"whole\"");
  config.replace(config.find("\"IN\" value: \"X\""), 4, "\"X\"");
  config.replace(config.find("\"OUT\" value: \"t\""), 5, "\"Y\"");
  repository.model("around", config);
  const Status started = repository.start();
  ASSERT_TRUE(started.ok()) << started.message();
  for (const char* name : {"whole", "around"}) {
    EXPECT_TRUE((*repository.core.tensor_backend(name, -1))->tensor_model()->decoupled);
    Waiter waiter;
    repository.submit(name, floats({1, 2}, "X"), waiter);
    ASSERT_TRUE(waiter.wait());
    ASSERT_TRUE(waiter.end.status.ok()) << waiter.end.status.message();
    const bool alone = std::get<TensorResult>(waiter.end.outcome).empty;
    EXPECT_EQ(waiter.answers.size() + (alone ? 0 : 1), 5u);
    for (const TensorResult& answer : waiter.answers) {
      EXPECT_EQ(answer.model_name, name);
      EXPECT_THAT(values_of(answer.outputs.at(0)), ElementsAre(1, 2));
    }
  }
  const Response broken = repository.infer("breaks", floats({1, 2, 3}, "X"));
  EXPECT_THAT(broken.status.message(), HasSubstr("in ensemble 'breaks'"));
}

TEST(DecoupledSteps, AnEnsembleFollowsItsModels) {
  RepositoryHarness repository;
  repository.options.mode = ControlMode::explicit_;
  repository.options.load_models = {"outer"};
  repository.model("many", identity("max_batch_size: 0"));
  repository.model("one", identity(""));
  repository.model("whole", kStream);
  std::string around = kStream;  // an ensemble of an ensemble
  around.replace(around.find("many"), 4, "whole");
  around.replace(around.find("IN"), 2, "X").replace(around.find("OUT"), 3, "Y");
  repository.model("outer", around);
  ASSERT_TRUE(repository.start().ok());
  const auto decoupled = [&] { return (*repository.core.tensor_backend("whole", -1))->tensor_model()->decoupled; };
  EXPECT_FALSE(decoupled());
  repository.model("many", identity(kMany));
  ASSERT_TRUE(repository.core.load("many", {}).ok());
  EXPECT_TRUE(decoupled());
  // One that does not fit any more does not serve until it does.
  std::string config = identity(kMany);
  for (size_t at; (at = config.find("FP32")) != std::string::npos;) config.replace(at, 4, "INT8");
  repository.model("many", config);
  ASSERT_TRUE(repository.core.load("many", {}).ok());
  for (const char* ensemble : {"whole", "outer"}) {
    EXPECT_FALSE(repository.core.model_ready(ensemble, -1)) << ensemble;
    EXPECT_FALSE(repository.infer(ensemble, floats({1, 2}, "X")).status.ok()) << ensemble;
  }
  for (const IndexEntry& entry : repository.core.index(false))
    if (entry.name == "whole")
      EXPECT_EQ(
          entry.reason,
          "Invalid argument: ensemble tensor 'X': the ensemble's input gives FP32, input 'IN' of 'many' takes INT8");
  repository.model("many", identity("max_batch_size: 0"));
  ASSERT_TRUE(repository.core.load("many", {}).ok());
  EXPECT_FALSE(decoupled());
  for (const char* ensemble : {"whole", "outer"})
    EXPECT_TRUE(repository.infer(ensemble, floats({1, 2}, "X")).status.ok()) << ensemble;
}

TEST(DecoupledSteps, DoNotGoWithACache) {
  RepositoryHarness repository;
  repository.model("many", identity(kMany));
  repository.model("one", identity(""));
  repository.model("whole", std::string(kStream) + " response_cache { enable: true }");
  EXPECT_THAT(repository.start().message(), HasSubstr("response_cache"));
}

}  // namespace
}  // namespace inazuma::test
