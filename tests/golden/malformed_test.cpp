// Directories that must not load: each gets an error that says what, where and why. Made from good cases by one change.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "golden/driver.h"
#include "golden/golden_case.h"
#include "models/config.h"

namespace inazuma::golden {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// A copy of a case's directory that the test may break; removed afterwards.
class Broken {
 public:
  explicit Broken(const std::string& case_name) {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    path_ = fs::temp_directory_path() / printable("inazuma " + std::string(test->name()) + std::to_string(getpid()));
    fs::remove_all(path_);
    fs::copy(case_directory(case_name), path_, fs::copy_options::recursive);
  }
  ~Broken() { fs::remove_all(path_); }
  Broken(const Broken&) = delete;
  Broken& operator=(const Broken&) = delete;

  void write(const fs::path& file, const std::string& text) const {
    fs::create_directories((path_ / file).parent_path());
    std::ofstream(path_ / file) << text;
  }
  void set(const nlohmann::json& changes) const {
    nlohmann::json config = read_json_file(path_ / "config.json");
    config.update(changes);
    write("config.json", config.dump());
  }
  Result<LoadedModel> load(const LoadOptions& options = {}) const {
    return load_model(path_, home("reference"), options);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

void expect_error(const Result<LoadedModel>& loaded, StatusCode code, const std::string& part) {
  ASSERT_FALSE(loaded.ok()) << "expected: " << part;
  EXPECT_EQ(name(loaded.status().code()), name(code)) << loaded.status().message();
  EXPECT_THAT(loaded.status().message(), HasSubstr(part));
}

struct BadConfig {
  std::string label;
  std::string from;
  nlohmann::json changes;
  StatusCode code;
  std::string message;
};
void PrintTo(const BadConfig& bad, std::ostream* out) {
  *out << bad.label;
}

class BadConfigs : public testing::TestWithParam<BadConfig> {};

TEST_P(BadConfigs, AreRefusedByName) {
  const Broken directory(GetParam().from);
  directory.set(GetParam().changes);
  expect_error(directory.load(), GetParam().code, GetParam().message);
}

constexpr StatusCode kInvalid = StatusCode::invalid;
constexpr StatusCode kUnsupported = StatusCode::unsupported;

INSTANTIATE_TEST_SUITE_P(
    All, BadConfigs,
    testing::Values(
        BadConfig{"unknown type", "bert-ner", {{"model_type", "llama"}}, kUnsupported, "'llama'"},
        BadConfig{"known types are listed", "bert-ner", {{"model_type", "llama"}}, kUnsupported, "bert, gpt2, mt5, t5"},
        BadConfig{"type is no text", "bert-ner", {{"model_type", 3}}, kInvalid, "model_type is"},
        BadConfig{
            "classes are no list", "bert-ner", {{"architectures", "Bert"}}, kInvalid, "architectures must be a list"},
        BadConfig{"unknown head",
                  "bert-ner",
                  {{"architectures", {"BertForMultipleChoice"}}},
                  kUnsupported,
                  "BertForMultipleChoice"},
        BadConfig{"head of another task",
                  "gpt2",
                  {{"architectures", {"GPT2ForSequenceClassification"}}},
                  kUnsupported,
                  "GPT2ForSequenceClassification"},
        BadConfig{"bert as decoder", "bert-mlm", {{"is_decoder", true}}, kUnsupported, "is_decoder"},
        BadConfig{"relative positions",
                  "bert-ner",
                  {{"position_embedding_type", "relative_key_query"}},
                  kUnsupported,
                  "position_embedding_type 'relative_key_query'"},
        BadConfig{"cross attention", "gpt2", {{"add_cross_attention", true}}, kUnsupported, "add_cross_attention"},
        BadConfig{"vocabulary of text", "bert-ner", {{"vocab_size", "many"}}, kInvalid, "vocab_size is"},
        BadConfig{"vocabulary beyond integers", "bert-ner", {{"vocab_size", 1e30}}, kInvalid, "vocab_size is"},
        BadConfig{
            "vocabulary unsigned", "bert-ner", {{"vocab_size", 18446744073709551615u}}, kInvalid, "vocab_size is"},
        BadConfig{"negative layers", "bert-ner", {{"num_hidden_layers", -1}}, kInvalid, "num_hidden_layers is"},
        BadConfig{"too many layers", "t5", {{"num_layers", 2000000000}}, kInvalid, "num_layers is"},
        BadConfig{"half a head", "bert-ner", {{"num_attention_heads", 2.5}}, kInvalid, "num_attention_heads is"},
        BadConfig{"bert heads do not divide",
                  "bert-ner",
                  {{"num_attention_heads", 5}},
                  kInvalid,
                  "hidden_size 24 is not a multiple of num_attention_heads 5"},
        BadConfig{
            "gpt2 heads do not divide", "gpt2", {{"n_head", 7}}, kInvalid, "n_embd 24 is not a multiple of n_head 7"},
        BadConfig{"no heads", "gpt2", {{"n_head", 0}}, kInvalid, "n_head is"},
        BadConfig{"unknown activation", "bert-ner", {{"hidden_act", "swoosh"}}, kInvalid, "hidden_act"},
        BadConfig{
            "unknown t5 activation", "t5", {{"feed_forward_proj", "gated-swoosh"}}, kInvalid, "feed_forward_proj"},
        BadConfig{"half gated", "t5", {{"feed_forward_proj", "relu-gated"}}, kInvalid, "feed_forward_proj"},
        BadConfig{"epsilon of NaN", "bert-ner", {{"layer_norm_eps", "NaN"}}, kInvalid, "layer_norm_eps is"},
        BadConfig{"epsilon of zero", "gpt2", {{"layer_norm_epsilon", 0}}, kInvalid, "layer_norm_epsilon is 0"},
        BadConfig{
            "no buckets", "t5", {{"relative_attention_num_buckets", 2}}, kInvalid, "relative_attention_num_buckets is"},
        BadConfig{"distances too near",
                  "t5",
                  {{"relative_attention_max_distance", 16}},
                  kInvalid,
                  "relative_attention_max_distance is"},
        BadConfig{"start beyond the vocabulary",
                  "t5",
                  {{"decoder_start_token_id", 96}},
                  kInvalid,
                  "decoder_start_token_id is"},
        BadConfig{"flag of text", "t5", {{"tie_word_embeddings", "yes"}}, kInvalid, "tie_word_embeddings is"},
        BadConfig{
            "label beyond the labels", "bert-ner", {{"id2label", {{"0", "O"}, {"7", "X"}}}}, kInvalid, "id2label has"},
        BadConfig{"label without number", "bert-ner", {{"id2label", {{"zero", "O"}}}}, kInvalid, "id2label has"},
        BadConfig{
            "no labels", "bert-ner", {{"id2label", nlohmann::json::object()}}, kInvalid, "id2label names no label"},
        BadConfig{"labels as list", "bert-ner", {{"id2label", {"O"}}}, kInvalid, "id2label must be an object"},
        BadConfig{"vocabulary of another file",
                  "gpt2",
                  {{"vocab_size", 98}},
                  kInvalid,
                  "transformer.wte.weight: expected [98, 24], file has [97, 24]"},
        BadConfig{"positions of another file",
                  "bert-ner",
                  {{"max_position_embeddings", 512}},
                  kInvalid,
                  "position_embeddings.weight: expected [512, 24], file has [40, 24]"},
        BadConfig{"more layers than the file",
                  "bert-ner",
                  {{"num_hidden_layers", 3}},
                  kInvalid,
                  "encoder.layer.2.attention.self.query.weight [24, 24]"},
        BadConfig{"labels of another file",
                  "bert-ner",
                  {{"id2label", {{"0", "O"}, {"1", "X"}}}},
                  kInvalid,
                  "classifier.weight: expected [2, 24], file has [7, 24]"},
        BadConfig{"untied without a head", "gpt2", {{"tie_word_embeddings", false}}, kInvalid, "lm_head.weight"},
        BadConfig{"untied t5 without a head", "t5", {{"tie_word_embeddings", false}}, kInvalid, "lm_head.weight"},
        BadConfig{
            "gate the file lacks", "t5", {{"feed_forward_proj", "gated-gelu"}}, kInvalid, "DenseReluDense.wi_0.weight"},
        BadConfig{"pooler the file lacks",
                  "bert-ner",
                  {{"architectures", {"BertForSequenceClassification"}}},
                  kInvalid,
                  "pooler.dense.weight"}),
    [](const auto& test) { return printable(test.param.label); });

TEST(Malformed, NoDirectory) {
  expect_error(load_model("/nowhere/at all", home("reference")), StatusCode::not_found, "no such directory: ");
}

TEST(Malformed, NoConfig) {
  const Broken directory("bert-ner");
  fs::remove(directory.path() / "config.json");
  expect_error(directory.load(), StatusCode::not_found, "config.json");
}

TEST(Malformed, ConfigIsNotJson) {
  const Broken directory("bert-ner");
  for (const std::string text : {"", "{", "{\"model_type\": NaN", "{\"a\": \"", "[1, 2", "\xff\xfe{}"}) {
    directory.write("config.json", text);
    expect_error(directory.load(), StatusCode::malformed, "not valid JSON");
  }
  for (const std::string text : {"[]", "3", "NaN"}) {
    directory.write("config.json", text);
    expect_error(directory.load(), StatusCode::malformed, "must be an object");
  }
}

TEST(Malformed, ConfigIsDeep) {
  const Broken directory("bert-ner");
  const std::string deep = std::string(300000, '[') + std::string(300000, ']');
  for (const std::string& text : {deep, "{\"vocab_size\": " + deep + "}"}) {
    directory.write("config.json", text);
    expect_error(directory.load(), StatusCode::malformed, "nested deeper than 100");
  }
  directory.write("config.json", R"({"model_type": "bert", "vocab_size": [[]]})");
  expect_error(directory.load(), StatusCode::invalid, "vocab_size is");
}

TEST(Malformed, ConfigIsHuge) {
  const Broken directory("bert-ner");
  directory.write("config.json", "{\"a\": \"" + std::string(17u << 20, 'x') + "\"}");
  expect_error(directory.load(), StatusCode::too_large, "config.json");
}

TEST(Malformed, NoWeights) {
  const Broken directory("bert-ner");
  fs::remove(directory.path() / "model.safetensors");
  expect_error(directory.load(), StatusCode::not_found, "model.safetensors");
}

TEST(Malformed, WeightsCutShort) {
  const Broken directory("bert-ner");
  fs::resize_file(directory.path() / "model.safetensors", 20000);
  expect_error(directory.load(), StatusCode::malformed, "model.safetensors");
}

TEST(Malformed, EveryMissingTensorIsNamedAtOnce) {
  const Broken directory("t5");
  directory.set({{"num_layers", 3}, {"num_decoder_layers", 3}});
  const Result<LoadedModel> loaded = directory.load();
  expect_error(loaded, StatusCode::invalid, "encoder.block.2.layer.0.SelfAttention.q.weight [18, 20]");
  expect_error(loaded, StatusCode::invalid, "decoder.block.2.layer.2.DenseReluDense.wo.weight [20, 36]");
}

TEST(Malformed, DryRunReportsInsteadOfFailing) {
  const Broken directory("bert-ner");
  directory.set({{"num_hidden_layers", 3}, {"id2label", {{"0", "O"}}}});
  const Result<LoadedModel> loaded = directory.load({.dry_run = true});
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ(loaded->report.missing.size(), 16u);
  EXPECT_EQ(loaded->report.misshapen.size(), 2u);
  EXPECT_EQ(loaded->model->info().weight_bytes, 0u);
}

// What sentence-transformers 5.7 writes.
TEST(Poolings, ByName) {
  const std::pair<const char*, Pooling> names[] = {{R"("cls")", Pooling::cls},
                                                   {R"("mean")", Pooling::mean},
                                                   {R"("max")", Pooling::max},
                                                   {R"("mean_sqrt_len_tokens")", Pooling::mean_sqrt_len},
                                                   {R"("weightedmean")", Pooling::weighted_mean},
                                                   {R"("lasttoken")", Pooling::last},
                                                   {R"(["max"])", Pooling::max}};
  const Broken directory("bert-pool-cls");
  for (const auto& [text, pooling] : names) {
    directory.write("1_Pooling/config.json",
                    fmt::format(R"({{"embedding_dimension": 24, "pooling_mode": {}, "include_prompt": false,
                                    "pooling_mode_cls_token": true}})",
                                text));
    const Result<LoadedModel> loaded = directory.load();
    ASSERT_TRUE(loaded.ok()) << text << ": " << loaded.status().message();
    EXPECT_THAT(loaded->model->info().poolings, testing::ElementsAre(pooling)) << text;
  }
  directory.write("config_sentence_transformers.json", R"({"prompts": {"query": "", "document": ""}})");
  EXPECT_TRUE(directory.load().ok()) << "empty prompts are none";
  directory.write("config_sentence_transformers.json", R"({"prompts": {"query": "q: "}})");
  expect_error(directory.load(), kUnsupported, "include_prompt is false");
}

struct BadPooling {
  std::string label, file, text;
  StatusCode code;
  std::string message;
};
void PrintTo(const BadPooling& bad, std::ostream* out) {
  *out << bad.label;
}
class BadPoolings : public testing::TestWithParam<BadPooling> {};

TEST_P(BadPoolings, AreRefusedByName) {
  const Broken directory("bert-pool-cls");
  directory.write(GetParam().file, GetParam().text);
  expect_error(directory.load(), GetParam().code, GetParam().message);
  // The choice of the caller needs no file.
  const Result<LoadedModel> chosen = directory.load({.pooling = Pooling::max});
  ASSERT_TRUE(chosen.ok()) << chosen.status().message();
  EXPECT_THAT(chosen->model->info().poolings, testing::ElementsAre(Pooling::max));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadPoolings,
    testing::Values(
        BadPooling{"not json", "modules.json", "[", StatusCode::malformed, "modules.json"},
        BadPooling{"not a list", "modules.json", "{}", StatusCode::malformed, "must be a list"},
        BadPooling{"module without type", "modules.json", R"([{"path": ""}])", StatusCode::malformed, "needs a type"},
        BadPooling{"dense layer", "modules.json",
                   R"([{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}])", kUnsupported,
                   "module 'Dense' is not supported here"},
        BadPooling{"dense layer behind the norm", "modules.json",
                   R"([{"path": "1_Pooling", "type": "a.Pooling"}, {"type": "a.Normalize"}, {"type": "a.Dense"}])",
                   kUnsupported, "module 'Dense' is not supported here"},
        BadPooling{"another module", "modules.json", R"([{"type": "sentence_transformers.models.WordWeights"}])",
                   kUnsupported, "module 'WordWeights' is not supported here"},
        BadPooling{"path outside", "modules.json", R"([{"path": "../x", "type": "a.Pooling"}])", kInvalid,
                   "leaves the model"},
        BadPooling{"absolute path", "modules.json", R"([{"path": "/etc", "type": "a.Pooling"}])", kInvalid,
                   "leaves the model"},
        BadPooling{"pooling without file", "modules.json", R"([{"path": "9_Pooling", "type": "a.Pooling"}])",
                   StatusCode::not_found, "9_Pooling"},
        BadPooling{"unknown name", "1_Pooling/config.json", R"({"pooling_mode": "attention"})", kUnsupported,
                   "attention"}),
    [](const auto& test) { return printable(test.param.label); });

struct BadTask {
  std::string from;
  Task task;
  std::string message;
};
void PrintTo(const BadTask& bad, std::ostream* out) {
  *out << bad.from << " as " << name(bad.task);
}
class BadTasks : public testing::TestWithParam<BadTask> {};

TEST_P(BadTasks, AreRefusedByName) {
  const BadTask& bad = GetParam();
  expect_error(load_model(case_directory(bad.from), home("reference"), {.task = bad.task}), StatusCode::wrong_task,
               bad.message);
}

INSTANTIATE_TEST_SUITE_P(
    All, BadTasks,
    testing::Values(
        BadTask{"gpt2", Task::fill_mask, "GPT2LMHeadModel cannot do fill-mask; its architecture does: text-generation"},
        BadTask{"t5", Task::text_generation, "text2text-generation, feature-extraction"},
        BadTask{"bert-ner", Task::text_generation, "BertForTokenClassification cannot do text-generation"},
        BadTask{"bert-ner", Task::fill_mask, "no head for fill-mask: cls.predictions.transform.dense.weight"},
        BadTask{"bert-base", Task::question_answering, "no head for question-answering: qa_outputs.weight"},
        BadTask{"bert-mlm", Task::token_classification, "no head for token-classification: classifier.weight"},
        BadTask{"bert-ner", Task::text_classification, "its classifier was trained for token-classification"},
        BadTask{"bert-classify", Task::token_classification, "its classifier was trained for text-classification"}),
    [](const auto& test) { return printable(test.param.from + " " + std::string(name(test.param.task))); });

}  // namespace
}  // namespace inazuma::golden
