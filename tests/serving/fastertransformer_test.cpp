// `backend: "fastertransformer"` on real (tiny) checkpoints: what padded tensors bring back is what transformers
// generated, whatever shares the batch.

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <model_config.pb.h>

#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <mutex>

#include "base/json_file.h"
#include "serving/fastertransformer/program.h"

namespace inazuma {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using Ints = std::vector<int32_t>;

const fs::path kCases = fs::path(INAZUMA_SOURCE_DIR) / "tests/golden/cases";

struct Heard : TensorJob::Listener {
  void on_answer(TensorJob&, TensorResult result) override {
    const std::lock_guard lock(mutex);
    answers.push_back(std::move(result));
  }
  void on_end(TensorJob&, Status how, TensorResult result) override {
    const std::lock_guard lock(mutex);
    status = std::move(how);
    final = std::move(result);
    ended = true;
    changed.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(60), [&] { return ended; }));
  }
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<TensorResult> answers;
  TensorResult final;
  Status status;
  bool ended = false;
};

Ints ids_of(const TensorResult& result, std::string_view name) {
  for (const NamedTensor& tensor : result.outputs) {
    if (tensor.name != name) continue;
    Ints out(tensor.data.size() / sizeof(int32_t));
    std::memcpy(out.data(), tensor.data.data(), tensor.data.size());
    return out;
  }
  ADD_FAILURE() << name << " is not among the outputs";
  return {};
}

struct Served {
  explicit Served(const fs::path& version_directory, const std::string& config_text) {
    inference::ModelConfig config;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(config_text, &config));
    const BackendKind kind = fastertransformer_backend();
    kind.complete(config, version_directory.parent_path(), version_directory);
    context.model = std::make_shared<const TensorModel>(
        make_tensor_model(std::make_shared<const inference::ModelConfig>(config), 1));
    context.model_directory = version_directory.parent_path();
    context.version_directory = version_directory;
    program = kind.load(context);
  }
  std::shared_ptr<Heard> ask(TensorInference inference, int batch) {
    auto heard = std::make_shared<Heard>();
    auto job = std::make_unique<TensorJob>(std::move(inference), heard);
    job->batch = batch;
    job->cancel = std::make_shared<std::atomic<bool>>(false);
    TensorJobs jobs;
    jobs.push_back(std::move(job));
    program->execute(jobs);
    return heard;
  }
  ProgramContext context;
  std::shared_ptr<TensorProgram> program;
};

/// All greedy runs of a case as one padded request; those that need eos lists or penalties of their own are left out.
struct Prompts {
  Prompts(const json& golden, bool encoder_decoder) {
    for (const json& generation : golden.at("generations")) {
      if (generation.value("repetition_penalty", 1.0) != 1.0 || generation.value("min_new_tokens", 0) != 0) continue;
      const auto ends = generation.value("eos_token_id", Ints());
      if (ends.size() > 1) continue;
      prompts.push_back(golden.at("sequences").at(generation.at("prompt").get<size_t>()).at("ids").get<Ints>());
      expected.push_back(generation.at("tokens").get<Ints>());
      end_ids.push_back(ends.empty() ? -1 : ends[0]);
      limits.push_back(generation.at("max_new_tokens").get<int32_t>());
      padded = std::max(padded, prompts.back().size());
    }
    padded = (padded + 7) / 8 * 8;
    two_sided = encoder_decoder;
  }
  int count() const { return static_cast<int>(prompts.size()); }
  TensorInference request(size_t begin, size_t end) const {
    const auto rows = static_cast<int64_t>(end - begin);
    Ints ids, lengths, most, ends;
    for (size_t i = begin; i < end; ++i) {
      ids.insert(ids.end(), prompts[i].begin(), prompts[i].end());
      ids.resize((i - begin + 1) * padded, 3);
      lengths.push_back(static_cast<int32_t>(prompts[i].size()));
      most.push_back(limits[i]);
      ends.push_back(std::max(end_ids[i], 0));
    }
    const auto tensor = [&](const char* name, std::vector<int64_t> shape, const Ints& values) {
      return make_tensor(name, DataType::uint32, std::move(shape), values);
    };
    TensorInference out;
    out.inputs = {tensor("input_ids", {rows, static_cast<int64_t>(padded)}, ids),
                  tensor(two_sided ? "sequence_length" : "input_lengths", {rows, 1}, lengths),
                  tensor(two_sided ? "max_output_len" : "request_output_len", {rows, 1}, most),
                  tensor("end_id", {rows, 1}, ends)};
    return out;
  }
  std::vector<Ints> prompts, expected;
  Ints end_ids, limits;
  size_t padded = 0;
  bool two_sided = false;
};

class FasterTransformerCase : public testing::TestWithParam<const char*> {};

TEST_P(FasterTransformerCase, PaddedRowsGetWhatTransformersGenerated) {
  const fs::path folder = kCases / GetParam();
  const bool two_sided = fs::path(GetParam()).string().find("t5") != std::string::npos;
  Served served(folder, two_sided ? R"(name: "m" parameters { key: "model_type" value { string_value: "T5" } })"
                                  : R"(name: "m" parameters { key: "model_type" value { string_value: "GPT" } })");
  const Prompts prompts(read_json_file(folder / "golden.json"), two_sided);
  ASSERT_GT(prompts.count(), 0);
  // Runs without an end token cannot be said in this interface: rows that have none go alone, and are cut at the first
  // 0.
  const auto heard = served.ask(prompts.request(0, prompts.prompts.size()), prompts.count());
  heard->wait();
  ASSERT_TRUE(heard->status.ok()) << heard->status.message();
  const Ints ids = ids_of(heard->final, "output_ids");
  const Ints lengths = ids_of(heard->final, "sequence_length");
  const size_t width = ids.size() / prompts.prompts.size();
  for (size_t i = 0; i < prompts.prompts.size(); ++i) {
    Ints expected = prompts.expected[i];
    const int32_t end = std::max(prompts.end_ids[i], 0);
    if (const auto found = std::find(expected.begin(), expected.end(), end); found != expected.end())
      expected.erase(found + 1, expected.end());
    const size_t before = two_sided ? 0 : prompts.prompts[i].size();
    const Ints row(ids.begin() + static_cast<std::ptrdiff_t>(i * width),
                   ids.begin() + static_cast<std::ptrdiff_t>((i + 1) * width));
    EXPECT_EQ(Ints(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(before)),
              before == 0 ? Ints() : prompts.prompts[i]);
    EXPECT_EQ(Ints(row.begin() + static_cast<std::ptrdiff_t>(before),
                   row.begin() + static_cast<std::ptrdiff_t>(before + expected.size())),
              expected)
        << GetParam() << " row " << i;
    EXPECT_EQ(static_cast<size_t>(lengths[i]), expected.size() + (two_sided ? 0 : prompts.padded))
        << GetParam() << " row " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(All, FasterTransformerCase,
                         testing::Values("ft-gpt2-ranks", "ft-gpt2-untied", "ft-t5", "ft-t5-ranks"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(FasterTransformer, StopWordsEndARowAlone) {
  const fs::path folder = kCases / "ft-gpt2-ranks";
  Served served(folder, R"(name: "m")");
  const Prompts prompts(read_json_file(folder / "golden.json"), false);
  const Ints& tokens = prompts.expected[0];
  ASSERT_GT(tokens.size(), 4u);
  TensorInference inference = prompts.request(0, 1);
  const size_t first = static_cast<size_t>(
      std::search(tokens.begin(), tokens.end(), tokens.begin() + 2, tokens.begin() + 4) - tokens.begin());
  inference.inputs.push_back(
      make_tensor("stop_words_list", DataType::int32, {1, 2, 2}, Ints{tokens[2], tokens[3], 2, -1}));
  const auto heard = served.ask(std::move(inference), 1);
  heard->wait();
  ASSERT_TRUE(heard->status.ok()) << heard->status.message();
  EXPECT_EQ(static_cast<size_t>(ids_of(heard->final, "sequence_length")[0]), prompts.padded + first + 2)
      << "the word stays in the output";
}

/// The searches of tests/golden/beams that this interface can ask for: FasterTransformer's end, and nothing on the
/// scores, which it would change before log-softmax and transformers behind it.
std::vector<json> searches(const char* name, const std::function<bool(const json&)>& wanted) {
  const json golden =
      read_json_file(fs::path(INAZUMA_SOURCE_DIR) / "tests/golden/beams" / (std::string(name) + ".json"));
  std::vector<json> out;
  for (json run : golden.at("runs")) {
    for (const char* other : {"repetition_penalty", "no_repeat_ngram_size", "bad_words_ids", "suppress_tokens",
                              "forced_eos_token_id", "forced_bos_token_id", "min_new_tokens", "endings"})
      if (run.contains(other)) run["eos_token_id"] = nullptr;
    if (!run.contains("eos_token_id") || !run["eos_token_id"].is_number() || !wanted(run)) continue;
    run["ids"] = golden.at("prompts").at(run.at("prompt").get<size_t>());
    out.push_back(std::move(run));
  }
  return out;
}

/// All of them as one padded request, and what came of it: rows of different widths beside one another.
void expect_searches(const char* folder, const std::vector<json>& runs, bool two_sided) {
  ASSERT_GT(runs.size(), 4u);
  Served served(kCases / folder, R"(name: "m")");
  Ints ids, lengths, most, ends, widths;
  std::vector<float> penalties;
  size_t padded = 0, beams = 0, longest = 0;
  for (const json& run : runs) padded = std::max(padded, run["ids"].size());
  for (const json& run : runs) {
    const auto prompt = run["ids"].get<Ints>();
    ids.insert(ids.end(), prompt.begin(), prompt.end());
    ids.resize(ids.size() + padded - prompt.size(), 3);
    lengths.push_back(static_cast<int32_t>(prompt.size()));
    most.push_back(run["max_new_tokens"].get<int32_t>());
    ends.push_back(run["eos_token_id"].get<int32_t>());
    widths.push_back(run["num_beams"].get<int32_t>());
    penalties.push_back(run.value("length_penalty", 1.0f));
    beams = std::max(beams, static_cast<size_t>(widths.back()));
    longest = std::max(longest, static_cast<size_t>(most.back()));
  }
  const auto rows = static_cast<int64_t>(runs.size());
  const auto tensor = [&](const char* name, const Ints& values) {
    return make_tensor(name, DataType::uint32, {rows, 1}, values);
  };
  TensorInference inference;
  inference.inputs = {
      make_tensor("input_ids", DataType::uint32, {rows, static_cast<int64_t>(padded)}, ids),
      tensor(two_sided ? "sequence_length" : "input_lengths", lengths),
      tensor(two_sided ? "max_output_len" : "request_output_len", most),
      tensor("end_id", ends),
      tensor("beam_width", widths),
      make_tensor("len_penalty", DataType::fp32, {rows, 1}, penalties),
      make_tensor("is_return_log_probs", DataType::boolean, {rows, 1}, std::vector<uint8_t>(runs.size(), 1))};
  const auto heard = served.ask(std::move(inference), static_cast<int>(rows));
  heard->wait();
  ASSERT_TRUE(heard->status.ok()) << heard->status.message();
  const Ints out = ids_of(heard->final, "output_ids"), told = ids_of(heard->final, "sequence_length");
  const Ints bits = ids_of(heard->final, "cum_log_probs");
  const size_t width = longest + (two_sided ? 0 : padded);
  ASSERT_EQ(out.size(), runs.size() * beams * width);
  for (size_t r = 0; r < runs.size(); ++r)
    for (size_t b = 0; b < beams; ++b) {
      const size_t at = r * beams + b;
      const json& found = runs[r].at("hypotheses");
      if (b >= found.size()) {
        EXPECT_EQ(told[at], 0);
        continue;
      }
      Ints expected = two_sided ? Ints() : runs[r]["ids"].get<Ints>();
      const auto tokens = found[b]["ids"].get<Ints>();
      expected.insert(expected.end(), tokens.begin(), tokens.end());
      const auto begin = out.begin() + static_cast<std::ptrdiff_t>(at * width);
      EXPECT_EQ(Ints(begin, begin + static_cast<std::ptrdiff_t>(expected.size())), expected)
          << folder << " row " << r << " beam " << b;
      EXPECT_EQ(static_cast<size_t>(told[at]), tokens.size() + (two_sided ? 0 : padded));
      float sum = 0, cumulative = 0;
      for (const json& one : found[b]["logprobs"]) sum += one.get<float>();
      std::memcpy(&cumulative, &bits[at], sizeof cumulative);
      EXPECT_NEAR(cumulative, sum, 1e-3f);
    }
}

TEST(FasterTransformer, T5BeamsAreThoseOfTransformersThatStopEarly) {
  expect_searches(
      "ft-t5", searches("t5", [](const json& run) { return run.value("early_stopping", json(false)) == json(true); }),
      true);
}

TEST(FasterTransformer, GptKeepsEndedTextsAmongItsBeams) {
  const json golden = read_json_file(fs::path(INAZUMA_SOURCE_DIR) / "tests/golden/beams/gpt2.json");
  std::vector<json> runs;
  for (json run : golden.at("keeping_ended")) {
    run["ids"] = golden.at("prompts").at(run.at("prompt").get<size_t>());
    run["length_penalty"] = 2.5f;  // which all beams share
    runs.push_back(std::move(run));
  }
  expect_searches("ft-gpt2-ranks", runs, false);
}

TEST(FasterTransformer, DecoupledModelsAnswerTokenByToken) {
  const fs::path folder = kCases / "ft-t5";
  Served served(folder, R"(name: "m" model_transaction_policy { decoupled: true })");
  const Prompts prompts(read_json_file(folder / "golden.json"), true);
  const auto heard = served.ask(prompts.request(0, 2), 2);
  heard->wait();
  ASSERT_TRUE(heard->status.ok()) << heard->status.message();
  const Ints lengths = ids_of(heard->final, "sequence_length");
  ASSERT_EQ(heard->answers.size(), static_cast<size_t>(std::max(lengths[0], lengths[1])));
  for (size_t i = 0; i < heard->answers.size(); ++i) {
    const Ints so_far = ids_of(heard->answers[i], "sequence_length");
    EXPECT_EQ(so_far[0], std::min<int32_t>(lengths[0], static_cast<int32_t>(i) + 1));
    EXPECT_EQ(so_far[1], std::min<int32_t>(lengths[1], static_cast<int32_t>(i) + 1));
  }
  EXPECT_EQ(ids_of(heard->answers.back(), "output_ids"), ids_of(heard->final, "output_ids"));
}

TEST(FasterTransformer, BertGivesHiddenStatesWithoutEmbeddings) {
  const fs::path folder = kCases / "ft-bert-beside";
  Served served(
      folder,
      R"(name: "m" parameters { key: "data_type" value { string_value: "fp32" } } parameters { key: "model_type" value { string_value: "bert" } })");
  const auto ask = [&](int64_t batch, int64_t padded, const Ints& lengths) {
    std::vector<float> states;
    for (int64_t row = 0; row < batch; ++row)
      for (int64_t i = 0; i < padded * 24; ++i) states.push_back(static_cast<float>((i * 7 + 3) % 11) * 0.1f);
    TensorInference inference;
    inference.inputs = {make_tensor("input_hidden_state", DataType::fp32, {batch, padded, 24}, states),
                        make_tensor("sequence_lengths", DataType::int32, {batch, 1}, lengths)};
    const auto heard = served.ask(std::move(inference), static_cast<int>(batch));
    heard->wait();
    EXPECT_TRUE(heard->status.ok()) << heard->status.message();
    std::vector<float> out(heard->final.outputs.at(0).data.size() / sizeof(float));
    std::memcpy(out.data(), heard->final.outputs[0].data.data(), out.size() * sizeof(float));
    return out;
  };
  const std::vector<float> alone = ask(1, 5, {5});
  const std::vector<float> together = ask(2, 8, {5, 8});
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin())) << "padding and neighbours change nothing";
  EXPECT_TRUE(
      std::all_of(together.begin() + 5 * 24, together.begin() + 8 * 24, [](float value) { return value == 0.0f; }));
  EXPECT_NE(together[8 * 24 + 7 * 24], 0.0f);
}

TEST(FasterTransformer, BadRequestsFailByNameAndOthersGoOn) {
  const fs::path folder = kCases / "ft-gpt2-ranks";
  Served served(folder, R"(name: "m")");
  const Prompts prompts(read_json_file(folder / "golden.json"), false);
  TensorInference decay = prompts.request(0, 1);
  decay.inputs.push_back(make_tensor("top_p_decay", DataType::fp32, {1, 1}, std::vector<float>{0.5f}));
  const auto refused = served.ask(std::move(decay), 1);
  refused->wait();
  EXPECT_EQ(refused->status.code(), StatusCode::unsupported);
  EXPECT_THAT(refused->status.message(), HasSubstr("top_p_decay[0] is not supported"));
  TensorInference endless = prompts.request(0, 1);
  endless.inputs[2] = make_tensor("request_output_len", DataType::uint32, {1, 1}, Ints{5000});
  const auto too_long = served.ask(std::move(endless), 1);
  too_long->wait();
  EXPECT_EQ(too_long->status.code(), StatusCode::too_long);
  const auto good = served.ask(prompts.request(0, 1), 1);
  good->wait();
  EXPECT_TRUE(good->status.ok());
}

TEST(FasterTransformer, WhatCannotBeServedIsRefusedAtLoad) {
  const auto message = [](const char* name, const std::string& config) {
    return capture([&] { Served served(kCases / name, config); }).message();
  };
  EXPECT_THAT(message("ft-t5", R"(name: "m" parameters { key: "model_type" value { string_value: "GPT" } })"),
              HasSubstr("model_type is 'GPT', the checkpoint is of type T5"));
  EXPECT_THAT(
      message("ft-t5",
              R"(name: "m" parameters { key: "model_checkpoint_path" value { string_value: "/nowhere/1-gpu" } })"),
      HasSubstr("no config.ini there"));
  EXPECT_THAT(message("gpt2", R"(name: "m")"), HasSubstr("no FasterTransformer checkpoint"));
  EXPECT_THAT(message("ft-gpt2-f16", R"(name: "m" parameters { key: "int8_mode" value { string_value: "1" } })"),
              HasSubstr("int8_mode is '1'"));
}

}  // namespace
}  // namespace inazuma
