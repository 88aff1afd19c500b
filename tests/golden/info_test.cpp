// What a loaded model says of itself, what a load reports, and the small parsers of the room.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "golden/driver.h"
#include "golden/golden_case.h"
#include "models/blocks.h"
#include "models/config.h"

namespace inazuma::golden {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

TEST(Goldens, AreThere) {
  EXPECT_GE(case_names().size(), 80u) << "run tools/golden/make_golden.py";
}

class CaseInfo : public testing::TestWithParam<std::string> {};

TEST_P(CaseInfo, IsWhatTheFilesSay) {
  const GoldenCase& golden = golden_case(GetParam());
  const Result<LoadedModel> loaded = load_model(golden.directory, home("reference"), golden.options);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  const ModelInfo& info = loaded->model->info();
  const nlohmann::json& facts = golden.facts;
  EXPECT_EQ(name(info.task), facts.at("task").get<std::string>());
  if (facts.contains("labels")) {
    EXPECT_EQ(info.labels, facts["labels"].get<std::vector<std::string>>());
  }
  if (facts.contains("pooling")) {
    EXPECT_EQ(names_of(info.poolings), facts["pooling"].get<std::string>());
  }
  if (facts.contains("problem_type")) {
    EXPECT_EQ(info.problem_type, facts["problem_type"].get<std::string>());
  }
  EXPECT_EQ(name(info.stored_dtype), facts.value("stored_dtype", "float32"));
  EXPECT_EQ(info.has_decoder, golden.kind != "encoder");
  EXPECT_EQ(info.has_encoder, golden.kind != "decoder");
  EXPECT_EQ(info.decoder_start >= 0, golden.kind == "encoder-decoder");
  EXPECT_EQ(info.parameters, facts.at("parameters").get<int64_t>());
  EXPECT_GE(info.weight_bytes, static_cast<size_t>(info.parameters) * sizeof(float));
  EXPECT_THAT(loaded->report.missing, IsEmpty());
  EXPECT_THAT(loaded->report.misshapen, IsEmpty());
  EXPECT_EQ(loaded->report.unused, facts.at("unused").get<std::vector<std::string>>());
}

TEST_P(CaseInfo, DryRunSaysTheSame) {
  const GoldenCase& golden = golden_case(GetParam());
  LoadOptions options = golden.options;
  options.dry_run = true;
  const Result<LoadedModel> dry = load_model(golden.directory, home("reference"), options);
  ASSERT_TRUE(dry.ok()) << dry.status().message();
  const std::shared_ptr<const Model> real = load(golden, home("reference"));
  EXPECT_EQ(dry->model->info().parameters, real->info().parameters);
  EXPECT_EQ(dry->model->info().architecture, real->info().architecture);
  EXPECT_EQ(dry->model->info().weight_bytes, 0u);
  EXPECT_THAT(dry->report.missing, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(All, CaseInfo, testing::ValuesIn(case_names()),
                         [](const auto& test) { return printable(test.param); });

TEST(Tasks, NamesGoBothWays) {
  for (const Task task :
       {Task::token_classification, Task::text_classification, Task::question_answering, Task::fill_mask,
        Task::feature_extraction, Task::text_generation, Task::text2text_generation}) {
    EXPECT_EQ(parse_task(name(task)).value(), task);
  }
  EXPECT_EQ(parse_task("ner").value(), Task::token_classification);
  EXPECT_EQ(parse_task("sentiment-analysis").value(), Task::text_classification);
  EXPECT_EQ(parse_task("summarization").value(), Task::text2text_generation);
  EXPECT_EQ(parse_task("translation_en_to_de").value(), Task::text2text_generation);
  EXPECT_EQ(parse_task("embeddings").value(), Task::feature_extraction);
  const Status unknown = parse_task("Ner\n").status();
  EXPECT_EQ(unknown.code(), StatusCode::invalid);
  EXPECT_THAT(unknown.message(), HasSubstr("token-classification"));
}

TEST(Tasks, ComeFromClassNames) {
  EXPECT_EQ(task_of_class("BertForTokenClassification"), Task::token_classification);
  EXPECT_EQ(task_of_class("MT5ForConditionalGeneration"), Task::text2text_generation);
  EXPECT_EQ(task_of_class("GPT2LMHeadModel"), Task::text_generation);
  EXPECT_EQ(task_of_class("BertModel"), std::nullopt);
  EXPECT_EQ(task_of_class("BertForMultipleChoice"), std::nullopt);
  EXPECT_EQ(task_of_class(""), std::nullopt);
}

TEST(Labels, ComeInOrderOfTheirIds) {
  using Names = std::vector<std::string>;
  const nlohmann::json ids{{"10", "k"}, {"2", "c"}, {"1", 7}, {"0", "a"}};
  nlohmann::json eleven{{"id2label", ids}};
  for (int id = 3; id < 10; ++id) eleven["id2label"][std::to_string(id)] = "x";
  EXPECT_EQ(labels_of(eleven), (Names{"a", "7", "c", "x", "x", "x", "x", "x", "x", "x", "k"}));
  EXPECT_EQ(labels_of({{"num_labels", 3}}), (Names{"LABEL_0", "LABEL_1", "LABEL_2"}));
  EXPECT_EQ(labels_of({{"num_labels", 3}, {"id2label", {{"0", "only"}}}}), Names{"only"});
  EXPECT_EQ(labels_of(nlohmann::json::object()), (Names{"LABEL_0", "LABEL_1"}));
}

TEST(PythonJson, TakesWhatPythonWrites) {
  const nlohmann::json json =
      parse_python_json(R"({"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" Infinity", "e\\": -1})", "x");
  EXPECT_EQ(json["a"], "NaN");
  EXPECT_EQ(json["b"], nlohmann::json({"-Infinity", "Infinity"}));
  EXPECT_EQ(json["c"], "NaN \" Infinity");
}

TEST(Distances, SaturateBeyondTheFarthest) {
  const DistanceBuckets encoder{32, 128, true};
  const DistanceBuckets decoder{32, 128, false};
  // First distance of each bucket, from T5Attention._relative_position_bucket of transformers.
  const std::vector<std::pair<int, int>> encoder_starts{{0, 0},    {-8, 8},   {-12, 9},  {-16, 10},
                                                        {-23, 11}, {-32, 12}, {-46, 13}, {-64, 14},
                                                        {-91, 15}, {1, 17},   {8, 24},   {91, 31}};
  for (const auto& [distance, bucket] : encoder_starts) EXPECT_EQ(encoder.of(distance), bucket) << distance;
  EXPECT_EQ(encoder.of(-90), 14);
  const std::vector<std::pair<int, int>> decoder_starts{{0, 0},    {5, 0},    {-16, 16}, {-19, 17}, {-21, 18},
                                                        {-24, 19}, {-31, 21}, {-59, 26}, {-99, 30}, {-113, 31}};
  for (const auto& [distance, bucket] : decoder_starts) EXPECT_EQ(decoder.of(distance), bucket) << distance;
  EXPECT_EQ(decoder.of(-112), 30);
  for (const int far : {128, 129, 1000, 100000}) {
    EXPECT_EQ(encoder.of(-far), 15);
    EXPECT_EQ(encoder.of(far), 31);
    EXPECT_EQ(decoder.of(-far), 31);
  }
}

TEST(Bert, TakesTheEmbeddingLayersOutputFromTheCaller) {
  // With no encoder layer between, what goes in at EncoderLane::inputs comes out of a plain encoder's rows: so feed the
  // output of the embedding layer, computed here, and expect what ids give.
  const GoldenCase& golden = golden_case("bert-base");
  Ops& ops = home("reference");
  const std::shared_ptr<const Model> model = load(golden, ops);
  const Sequence& sequence = golden.sequences.back();
  const auto count = static_cast<int64_t>(sequence.ids.size());
  Driver driver(ops, *model);
  const auto store = WeightStore::open(golden.directory).value();
  const auto table = [&](const std::string& path) { return store->find("embeddings." + path).as<float>(); };
  const int64_t hidden = model->info().hidden;
  std::vector<float> inputs(static_cast<size_t>(count * hidden));
  for (int64_t t = 0; t < count; ++t) {
    std::vector<double> row(static_cast<size_t>(hidden));
    double mean = 0, square = 0;
    for (int64_t c = 0; c < hidden; ++c) {
      const auto i = static_cast<size_t>(t);
      row[static_cast<size_t>(c)] = static_cast<double>(table("word_embeddings.weight")[sequence.ids[i] * hidden + c]) +
                                    table("token_type_embeddings.weight")[sequence.types[i] * hidden + c] +
                                    table("position_embeddings.weight")[t * hidden + c];
      mean += row[static_cast<size_t>(c)] / static_cast<double>(hidden);
    }
    for (const double value : row) square += (value - mean) * (value - mean) / static_cast<double>(hidden);
    for (int64_t c = 0; c < hidden; ++c) {
      const double normed = (row[static_cast<size_t>(c)] - mean) / std::sqrt(square + 1e-12);
      inputs[static_cast<size_t>(t * hidden + c)] =
          static_cast<float>(normed * table("LayerNorm.weight")[c] + table("LayerNorm.bias")[c]);
    }
  }
  const std::vector<float> given = inputs;
  std::vector<int> rows(sequence.ids.size());
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int>(i);
  Batch batch;
  batch.encoder = {.tokens = static_cast<int>(count), .sequences = 1, .max_length = static_cast<int>(count)};
  batch.encoder.offsets = driver.ints({0, static_cast<int>(count)}, {2});
  batch.encoder.rows = driver.ints(rows, {count});
  batch.encoder.inputs = Tensor(inputs.data(), DType::f32, {count, hidden});
  KvView none;
  Arena arena;
  const Output out = model->forward(ops, batch, none, arena);
  const float* values = out.rows.as<float>();
  const std::string last = "rows." + std::to_string(golden.sequences.size() - 1);
  expect_near({values, values + out.rows.elements()}, golden.expected.at(last), "rows of given embeddings");
  EXPECT_EQ(inputs, given) << "the caller's memory must stay as it is";
}

}  // namespace
}  // namespace inazuma::golden
