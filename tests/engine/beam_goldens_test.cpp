// Beam search against transformers (tests/golden/beams, made by tools/golden/make_beams.py): the same ids, scores and
// log-probabilities, all searches and some greedy rows at once, on engines of many sizes.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "fakes.h"
#include "source_dir.h"

namespace inazuma::test {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

const fs::path kGolden = source_dir() / "tests/golden";

Ids one_or_more(const json& value) {
  return value.is_array() ? value.get<Ids>() : Ids{value.get<int32_t>()};
}

EarlyStopping early_stopping(const json& run) {
  const json value = run.value("early_stopping", json(false));
  if (value.is_string()) return EarlyStopping::never;
  return value.get<bool>() ? EarlyStopping::full : EarlyStopping::heuristic;
}

GenerationOptions options_of(const json& run) {
  GenerationOptions g;
  g.num_beams = run.at("num_beams").get<int>();
  g.num_return_sequences = run.at("num_return_sequences").get<int>();
  g.max_new_tokens = run.at("max_new_tokens").get<int>();
  g.min_new_tokens = run.value("min_new_tokens", 0);
  g.length_penalty = run.value("length_penalty", 1.0f);
  g.early_stopping = early_stopping(run);
  g.beams_keep_ended = run.value("keeps_ended", false);
  g.repetition_penalty = run.value("repetition_penalty", 1.0f);
  g.no_repeat_ngram = run.value("no_repeat_ngram_size", 0);
  if (run.contains("eos_token_id")) g.eos = one_or_more(run["eos_token_id"]);
  g.suppress = run.value("suppress_tokens", Ids());
  g.bad_words = run.value("bad_words_ids", std::vector<Ids>());
  if (run.contains("forced_eos_token_id")) g.forced_eos = run["forced_eos_token_id"].get<int32_t>();
  if (run.contains("forced_bos_token_id")) g.forced_bos = run["forced_bos_token_id"].get<int32_t>();
  return g;
}

/// The newest ids are one of `endings`.
HypothesisEnd ends_with(std::vector<Ids> endings) {
  if (endings.empty()) return {};
  return [endings = std::move(endings)](std::span<const int32_t> ids, int) {
    return std::any_of(endings.begin(), endings.end(), [&](const Ids& ending) {
      return ids.size() >= ending.size() &&
             std::equal(ending.begin(), ending.end(), ids.end() - static_cast<std::ptrdiff_t>(ending.size()));
    });
  };
}

void expect_hypotheses(const Told& told, const json& run, const std::string& where) {
  ASSERT_TRUE(told.failed.ok()) << where << told.failed.message();
  const json& wanted = run.at("hypotheses");
  ASSERT_EQ(told.hypotheses.size(), wanted.size()) << where;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const Hypothesis& got = told.hypotheses[i];
    ASSERT_EQ(got.ids, wanted[i].at("ids").get<Ids>()) << where << " hypothesis " << i;
    const auto score = wanted[i].at("score").get<float>();
    EXPECT_NEAR(got.score, score, 1e-4f * std::max(1.0f, std::abs(score))) << where << " hypothesis " << i;
    const auto logprobs = wanted[i].at("logprobs").get<std::vector<float>>();
    ASSERT_EQ(got.logprobs.size(), logprobs.size());
    for (size_t k = 0; k < logprobs.size(); ++k)
      EXPECT_NEAR(got.logprobs[k], logprobs[k], 2e-4f) << where << " token " << k;
  }
}

struct Home {
  std::string name;
  std::function<std::unique_ptr<Ops>()> make;
};

/// Everything at once, every seventh row greedy; and afterwards nothing is held.
void search_all(const std::string& name, const Home& home, const EngineOptions& options) {
  const json golden = json::parse(std::ifstream(kGolden / "beams" / (name + ".json")));
  const json greedy = json::parse(std::ifstream(kGolden / "cases" / name / "golden.json"));
  std::unique_ptr<Ops> ops = home.make();
  const std::shared_ptr<const Model> model = load_model(kGolden / "cases" / name, *ops).value().model;
  const auto engine = Engine::start(model, std::move(ops), options).value();
  const auto sink = std::make_shared<Collector>();
  json runs = golden.at("runs");
  for (json run : golden.at("keeping_ended")) {  // FasterTransformer's rule for GPT, by a few lines of Python
    run["num_return_sequences"] = run["num_beams"];
    run["length_penalty"] = 0.0f;
    run["keeps_ended"] = true;
    runs.push_back(std::move(run));
  }
  const json& plain = greedy.at("generations").at(1);
  int count = 0;
  for (const json& run : runs) {
    SequenceRequest row;
    row.ids = golden.at("prompts").at(run.at("prompt").get<size_t>()).get<Ids>();
    row.generation = options_of(run);
    row.hypothesis_end = ends_with(run.value("endings", std::vector<Ids>()));
    row.index = count++;
    row.sink = sink;
    accept(*engine, std::move(row));
    if (count % 7 != 0) continue;
    SequenceRequest beside;
    beside.ids = greedy.at("sequences").at(plain.at("prompt").get<size_t>()).at("ids").get<Ids>();
    beside.generation.max_new_tokens = plain.at("max_new_tokens").get<int>();
    beside.index = 10000 + count;
    beside.sink = sink;
    accept(*engine, std::move(beside));
  }
  ASSERT_TRUE(sink->wait(count + count / 7));
  for (int i = 0; i < count; ++i) {
    json shown = runs[static_cast<size_t>(i)];
    shown.erase("hypotheses");
    expect_hypotheses(sink->row(i), runs[static_cast<size_t>(i)], home.name + " " + shown.dump() + ": ");
    if (i % 7 != 6) continue;
    EXPECT_EQ(sink->row(10001 + i).tokens, plain.at("tokens").get<Ids>());
  }
  EXPECT_TRUE(engine->drain(Clock::now() + std::chrono::seconds(90)));
  EXPECT_EQ(engine->stats().kv_blocks_used, 0);
}

class Beams : public testing::TestWithParam<std::string> {};

TEST_P(Beams, ChooseAsTransformersDoes) {
  const Home cpu{"cpu", [] { return make_cpu_ops().value(); }};
  search_all(GetParam(), cpu, {});
  search_all(GetParam(), cpu,
             {.max_sequences = 11, .max_batch_tokens = 13, .block_tokens = 3, .kv_tokens = 1200, .max_context = 96});
}

TEST_P(Beams, AndOnTheReference) {
  search_all(GetParam(), {"reference", make_reference_ops},
             {.max_sequences = 9, .max_batch_tokens = 20, .block_tokens = 5});
}

TEST_P(Beams, AndOnTheGpu) {
  if (const Status found = make_cuda_ops({}).status(); !found.ok()) GTEST_SKIP() << found.message();
  const Home gpu{"cuda", [] { return make_cuda_ops({.dtype = DType::f32}).value(); }};
  search_all(GetParam(), gpu, {.max_sequences = 40, .max_batch_tokens = 64, .block_tokens = 4});
}

std::vector<std::string> names() {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(kGolden / "beams")) out.push_back(entry.path().stem().string());
  std::sort(out.begin(), out.end());
  return out;
}

INSTANTIATE_TEST_SUITE_P(Golden, Beams, testing::ValuesIn(names()), [](const auto& name) {
  std::string out = name.param;
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
});

}  // namespace
}  // namespace inazuma::test
