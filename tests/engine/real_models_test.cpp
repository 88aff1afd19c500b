// Tiny real models (tests/golden/cases): sixteen threads at once hear what transformers generated, and what they hear
// alone.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "fakes.h"
#include "source_dir.h"

namespace inazuma::test {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr int kThreads = 16;

struct Asked {
  SequenceRequest row;
  std::vector<int32_t> tokens;  // what transformers generated; empty for encoders
};

SequenceRequest generation_row(const json& generation, const json& sequences) {
  const json& sequence = sequences.at(generation.at("prompt").get<size_t>());
  SequenceRequest row;
  row.ids = sequence.at("ids").get<std::vector<int32_t>>();
  GenerationOptions& g = row.generation;
  g.max_new_tokens = generation.at("max_new_tokens").get<int>();
  g.eos = generation.value("eos_token_id", std::vector<int32_t>());
  g.min_new_tokens = generation.value("min_new_tokens", 0);
  g.repetition_penalty = generation.value("repetition_penalty", 1.0f);
  return row;
}

SequenceRequest encoder_row(const json& sequence, const ModelInfo& info) {
  SequenceRequest row;
  row.ids = sequence.at("ids").get<std::vector<int32_t>>();
  row.type_ids = sequence.value("types", std::vector<int32_t>());
  if (info.type_vocab < 2) row.type_ids.clear();
  row.rows = info.row_width > 0 ? SequenceRequest::Wanted::all : SequenceRequest::Wanted::none;
  row.pooled = info.pooled_width > 0;
  return row;
}

std::vector<Asked> questions(const json& golden, const ModelInfo& info) {
  std::vector<Asked> out;
  if (info.has_decoder) {
    for (const json& generation : golden.at("generations"))
      out.push_back(
          {generation_row(generation, golden.at("sequences")), generation.at("tokens").get<std::vector<int32_t>>()});
  } else {
    for (const json& sequence : golden.at("sequences")) out.push_back({encoder_row(sequence, info), {}});
  }
  return out;
}

std::vector<Told> ask_alone(Engine& engine, const std::vector<Asked>& questions) {
  std::vector<Told> out;
  for (const Asked& asked : questions) {
    const auto sink = std::make_shared<Collector>();
    SequenceRequest row = asked.row;
    row.sink = sink;
    accept(engine, std::move(row));
    EXPECT_TRUE(sink->wait(1));
    out.push_back(sink->row(0));
  }
  return out;
}

/// How company may change an answer: not its ids, and its numbers by `rows` of their size.
struct Closeness {
  float rows = 1e-5f;
  bool as_transformers = true;  ///< ids are those of the golden; else those heard alone
};

void expect_close(const Rows& got, const Rows& alone, const Closeness& close, const std::string& where) {
  ASSERT_EQ(got.values.size(), alone.values.size()) << where;
  for (size_t i = 0; i < got.values.size(); ++i)
    ASSERT_NEAR(got.values[i], alone.values[i], close.rows * std::max(1.0f, std::abs(alone.values[i])))
        << where << " value " << i;
}

/// Each thread asks everything, from another place on.
void ask_together(Engine& engine, const std::vector<Asked>& asked, const std::vector<Told>& alone,
                  const Closeness& close, const std::string& name) {
  const auto sink = std::make_shared<Collector>();
  const int count = static_cast<int>(asked.size());
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread)
    threads.emplace_back([&, thread] {
      for (int i = 0; i < count; ++i) {
        SequenceRequest row = asked[static_cast<size_t>((i + thread) % count)].row;
        row.index = thread * count + (i + thread) % count;
        row.sink = sink;
        accept(engine, std::move(row));
      }
    });
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(sink->wait(kThreads * count)) << name;
  for (int index = 0; index < kThreads * count; ++index) {
    const Told told = sink->row(index);
    const std::string where = name + " question " + std::to_string(index % count);
    ASSERT_TRUE(told.failed.ok()) << where << ": " << told.failed.message();
    const Told& by_itself = alone[static_cast<size_t>(index % count)];
    const auto& wanted = close.as_transformers ? asked[static_cast<size_t>(index % count)].tokens : by_itself.tokens;
    EXPECT_EQ(told.tokens, wanted) << where;
    expect_close(told.rows, by_itself.rows, close, where);
    expect_close(told.pooled, by_itself.pooled, close, where);
  }
}

void check_case(const fs::path& folder, const std::function<std::unique_ptr<Ops>()>& home, const EngineOptions& options,
                const Closeness& close = {}) {
  std::unique_ptr<Ops> ops = home();
  const json golden = json::parse(std::ifstream(folder / "golden.json"));
  const std::shared_ptr<const Model> model = load_model(folder, *ops).value().model;
  const auto engine = Engine::start(model, std::move(ops), options).value();
  const std::vector<Asked> asked = questions(golden, model->info());
  ask_together(*engine, asked, ask_alone(*engine, asked), close, folder.filename().string());
  EXPECT_TRUE(engine->drain(Clock::now() + std::chrono::seconds(90)));
  EXPECT_EQ(engine->stats().kv_blocks_used, 0);
}

const fs::path kCases = source_dir() / "tests/golden/cases";

class RealModel : public testing::TestWithParam<std::string> {};

TEST_P(RealModel, SixteenThreadsHearTheSameOnTheCpu) {
  const auto cpu = [] { return make_cpu_ops().value(); };
  check_case(kCases / GetParam(), cpu, {});
  check_case(kCases / GetParam(), cpu, {.max_sequences = 5, .max_batch_tokens = 7, .block_tokens = 3});
}

TEST_P(RealModel, AndOnTheReference) {
  check_case(kCases / GetParam(), make_reference_ops, {.max_sequences = 7, .max_batch_tokens = 11, .block_tokens = 5});
}

/// Steps come in so many shapes here, again and again, that most are replayed.
TEST_P(RealModel, AndOnTheGpu) {
  if (const Status found = make_cuda_ops({}).status(); !found.ok()) GTEST_SKIP() << found.message();
  const EngineOptions options{.max_sequences = 12, .max_batch_tokens = 64, .block_tokens = 4};
  const auto full = [] { return make_cuda_ops({.dtype = DType::f32}).value(); };
  check_case(kCases / GetParam(), full, options, {.rows = 1e-4f});
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const auto invariant = [dtype] { return make_cuda_ops({.dtype = dtype, .invariant = true}).value(); };
    check_case(kCases / GetParam(), invariant, options, {.rows = 0.0f, .as_transformers = false});
  }
}

TEST(HiddenStates, GoThroughTheEngineAsIdsDo) {
  // A FasterTransformer folder without embeddings: what the embedding layer of the same model gives goes in. With no
  // layer to compute them here, the states are any numbers, and the judge is the model itself, run on each row alone.
  const fs::path folder = kCases / "ft-bert-beside" / "1-gpu";
  std::unique_ptr<Ops> ops = make_cpu_ops().value();
  const std::shared_ptr<const Model> model = load_model(folder, *ops).value().model;
  ASSERT_EQ(model->info().vocab, 0);
  const int width = model->info().hidden;
  std::vector<std::vector<float>> states;
  for (const int length : {1, 7, 3, 20}) {
    std::vector<float>& values = states.emplace_back(static_cast<size_t>(length * width));
    for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i + states.size()) * 0.7f);
  }
  const auto row_of = [&](size_t i) {
    SequenceRequest row;
    row.hidden = states[i];
    row.rows = SequenceRequest::Wanted::all;
    row.index = static_cast<int32_t>(i);
    return row;
  };
  std::vector<std::vector<float>> expected;
  for (const std::vector<float>& values : states) {
    std::vector<float> input = values;
    const int length = static_cast<int>(values.size()) / width;
    std::vector<int32_t> offsets{0, length}, rows(static_cast<size_t>(length));
    for (int i = 0; i < length; ++i) rows[static_cast<size_t>(i)] = i;
    Batch batch;
    batch.encoder = {.tokens = length, .sequences = 1, .max_length = length};
    batch.encoder.offsets = Tensor(offsets.data(), DType::i32, {2});
    batch.encoder.rows = Tensor(rows.data(), DType::i32, {length});
    batch.encoder.inputs = Tensor(input.data(), DType::f32, {length, width});
    KvView none;
    Arena arena;
    const Tensor out = model->forward(*ops, batch, none, arena).rows;
    expected.emplace_back(out.as<float>(), out.as<float>() + out.elements());
  }
  const auto engine = Engine::start(model, std::move(ops), {}).value();
  const auto sink = std::make_shared<Collector>();
  std::vector<SequenceRequest> rows;
  for (size_t i = 0; i < states.size(); ++i) {
    rows.push_back(row_of(i));
    rows.back().sink = sink;
  }
  ASSERT_TRUE(engine->submit(std::move(rows)).ok());
  ASSERT_TRUE(sink->wait(static_cast<int>(states.size())));
  for (size_t i = 0; i < states.size(); ++i) EXPECT_EQ(sink->row(static_cast<int>(i)).rows.values, expected[i]) << i;

  const auto refused = [&](SequenceRequest row) {
    row.sink = sink;
    std::vector<SequenceRequest> one;
    one.push_back(std::move(row));
    return engine->submit(std::move(one)).message();
  };
  SequenceRequest ids = row_of(0), broken = row_of(0);
  ids.hidden.clear();
  ids.ids = {1, 2};
  broken.hidden.pop_back();
  EXPECT_NE(refused(std::move(ids)).find("takes hidden states"), std::string::npos);
  EXPECT_NE(refused(std::move(broken)).find("multiple of the width"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Golden, RealModel,
                         testing::Values("bert-ner", "bert-classify", "bert-pool-mean", "gpt2", "gpt2-untied", "t5",
                                         "mt5", "t5-gated-silu", "t5-v11"),
                         [](const auto& name) {
                           std::string out = name.param;
                           std::replace(out.begin(), out.end(), '-', '_');
                           return out;
                         });

}  // namespace
}  // namespace inazuma::test
