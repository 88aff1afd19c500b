// config.pbtxt: what is read, what is refused and with which line, and how it is shown.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "harness.h"
#include "serving/config/complete.h"
#include "serving/config/config_text.h"
#include "source_dir.h"

namespace inazuma {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string text_error(const std::string& text) {
  const auto parsed = parse_config_text(text, "m/config.pbtxt");
  return parsed.ok() ? "" : parsed.status().message();
}

TEST(ConfigText, UnknownFieldsAreNamedWithTheirLine) {
  EXPECT_THAT(text_error("name: \"m\"\nmax_batch_sizes: 3\n"),
              testing::AllOf(StartsWith("m/config.pbtxt:2:"), HasSubstr("max_batch_sizes")));
  EXPECT_THAT(text_error("name: \"m\"\n\n  input [ { name: \"x\" color: 3 } ]"),
              testing::AllOf(StartsWith("m/config.pbtxt:3:"), HasSubstr("color")));
  EXPECT_THAT(text_error("max_batch_size: \"three\""), StartsWith("m/config.pbtxt:1:"));
  EXPECT_THAT(text_error("input [ { name: "), StartsWith("m/config.pbtxt:1:"));
  EXPECT_THAT(text_error("dynamic_batching { }\nsequence_batching { }"), StartsWith("m/config.pbtxt:2:"));
}

TEST(ConfigText, FieldsThatCannotBeHonouredAreNamedWithTheirLine) {
  EXPECT_THAT(
      text_error("name: \"m\"\nmodel_repository_agents { agents [ { name: \"checksum\" } ] }"),
      testing::AllOf(StartsWith("m/config.pbtxt:2:1: "), HasSubstr("model_repository_agents is not supported")));
  EXPECT_THAT(text_error("input [ { name: \"x\"\n is_shape_tensor: true } ]"),
              testing::AllOf(StartsWith("m/config.pbtxt:2:"), HasSubstr("input.is_shape_tensor")));
  EXPECT_EQ(parse_config_text("batch_input [ { kind: BATCH_ITEM_SHAPE } ]", "c").status().code(),
            StatusCode::unsupported);
}

TEST(ConfigText, JsonIsWrittenAsTritonWritesIt) {
  const auto config = parse_config_text(
                          "name: \"m\" max_batch_size: 4 input [ { name: \"x\" data_type: TYPE_STRING dims: [ -1 ] } ] "
                          "version_policy { specific { versions: [ 1, 3 ] } } "
                          "dynamic_batching { max_queue_delay_microseconds: 100 } parameters { key: \"k\" value { "
                          "string_value: \"v\" } }",
                          "c")
                          .value();
  const auto json = nlohmann::json::parse(to_json(config));
  EXPECT_EQ(json["input"][0]["dims"][0], -1);  // a number, not a string
  EXPECT_EQ(json["input"][0]["data_type"], "TYPE_STRING");
  EXPECT_EQ(json["input"][0]["optional"], false);      // primitives always
  EXPECT_FALSE(json["input"][0].contains("reshape"));  // unset messages never
  EXPECT_EQ(json["version_policy"]["specific"]["versions"], (std::vector<int>{1, 3}));
  EXPECT_TRUE(json["dynamic_batching"]["max_queue_delay_microseconds"].is_number());
  EXPECT_EQ(json["parameters"]["k"]["string_value"], "v");
  EXPECT_FALSE(json.contains("sequence_batching"));
  // And it is a config override.
  const auto again = parse_config_json(to_json(config));
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(to_json(*again), to_json(config));
  EXPECT_THAT(parse_config_json("{\"nam\": 3}").status().message(), StartsWith("Invalid config override: "));
}

TEST(ConfigRules, EveryRuleNamesItsField) {
  const std::string tensors =
      "input [ { name: \"x\" data_type: TYPE_FP32 dims: [ 1 ] } ] output [ { name: \"y\" data_type: TYPE_FP32 dims: [ "
      "1 ] } ] ";
  const std::pair<const char*, const char*> kCases[] = {
      {"name: \"other\"", "directory"},
      {"max_batch_size: -1", "max_batch_size is -1"},
      {"max_batch_size: 4 dynamic_batching { preferred_batch_size: [ 8 ] }", "preferred_batch_size holds 8"},
      {"max_batch_size: 4 dynamic_batching { priority_levels: 2 }", "default_priority_level is 0"},
      {"max_batch_size: 4 dynamic_batching { priority_levels: 2 default_priority_level: 1 preserve_ordering: true }",
       "preserve_ordering"},
      {"dynamic_batching { preserve_ordering: true default_queue_policy { timeout_action: DELAY "
       "default_timeout_microseconds: 5 } }",
       "preserve_ordering"},
      {"max_batch_size: 4 dynamic_batching { priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: "
       "3 value { } } }",
       "level 3"},
      {"sequence_batching { direct { minimum_slot_utilization: 2 } }", "minimum_slot_utilization"},
      {"sequence_batching { oldest { } }", "max_candidate_sequences"},
      {"response_cache { enable: true } sequence_batching { }", "response_cache"},
      {"response_cache { enable: true } model_transaction_policy { decoupled: true }", "response_cache"},
      {"instance_group [ { kind: KIND_GPU } ]", "no GPU"},
      {"instance_group [ { kind: KIND_CPU gpus: [ 0 ] } ]", "takes no gpus"},
      {"instance_group [ { kind: KIND_CPU count: 2000000000 } ]", "count is 2000000000, must be at most 1024"},
      {"input [ { name: \"z\" data_type: TYPE_FP32 } ]", "dims are missing"},
      {"input [ { name: \"z\" data_type: TYPE_FP32 dims: [ 0 ] } ]", "dims hold 0"},
      {"input [ { name: \"z\" dims: [ 1 ] } ]", "data_type is missing"},
      {"input [ { name: \"x\" data_type: TYPE_FP32 dims: [ 1 ] } ]", "two inputs"},
      {"input [ { name: \"z\" data_type: TYPE_FP32 dims: [ 4 ] reshape { shape: [ 3 ] } } ]", "reshape"},
      {"version_policy { specific { versions: [ 0 ] } }", "version 0"},
      {"ensemble_scheduling { step [ { model_name: \"x\" } ] }", "platform"},
  };
  for (const auto& [text, wanted] : kCases) {
    auto config = parse_config_text(std::string(text) + " backend: \"identity\" " + tensors, "c").value();
    if (config.name().empty()) config.set_name("m");
    fill_defaults(config, 0);
    const Status status = validate(config, "m", 0);
    EXPECT_EQ(status.code(), StatusCode::invalid) << text;
    EXPECT_THAT(status.message(), HasSubstr(wanted)) << text;
  }
}

TEST(ConfigRules, WhatHasNoEffectIsNamed) {
  const auto named = [](const std::string& text) {
    return fields_without_effect(parse_config_text(text, "c").value());
  };
  EXPECT_THAT(named("backend: \"identity\" optimization { input_pinned_memory { enable: true } } dynamic_batching { } "
                    "instance_group { count: 2 }"),
              testing::IsEmpty());
  EXPECT_THAT(
      named(
          "backend: \"identity\" default_model_filename: \"model.pt\" optimization { graph { level: 1 } cuda { graphs: "
          "true } eager_batching: true priority: PRIORITY_MAX gather_kernel_buffer_threshold: 3 output_pinned_memory "
          "{ enable: false } } input { name: \"a\" format: FORMAT_NCHW } input { name: \"b\" format: FORMAT_NHWC }"),
      testing::UnorderedElementsAre("default_model_filename", "optimization.graph", "optimization.cuda",
                                    "optimization.eager_batching", "optimization.priority",
                                    "optimization.gather_kernel_buffer_threshold", "optimization.output_pinned_memory",
                                    "input.format"));
  EXPECT_THAT(named("backend: \"fastertransformer\" default_model_filename: \"1-gpu\""), testing::IsEmpty());
}

// Every field of the schema has an effect, a warning or an error of its own; one that is added to the schema has to be
// put into one of these lists, and into the table of docs/KSERVE.md.
TEST(ConfigRules, EveryFieldOfTheSchemaIsAccountedFor) {
  std::ifstream file(source_dir() / "docs/KSERVE.md");
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  ASSERT_FALSE(page.empty());
  const auto* root = inference::ModelConfig::descriptor();
  for (int i = 0; i < root->field_count(); ++i)
    EXPECT_THAT(page, HasSubstr("`" + root->field(i)->name() + "`")) << "docs/KSERVE.md does not speak of the field";
  const std::pair<const char*, const google::protobuf::Descriptor*> kMessages[] = {
      {"instance_group", inference::ModelInstanceGroup::descriptor()},
      {"input", inference::ModelInput::descriptor()},
      {"output", inference::ModelOutput::descriptor()},
      {"optimization", inference::ModelOptimizationPolicy::descriptor()},
      {"dynamic_batching", inference::ModelDynamicBatching::descriptor()},
      {"default_queue_policy", inference::ModelQueuePolicy::descriptor()},
      {"sequence_batching", inference::ModelSequenceBatching::descriptor()},
      {"ensemble_scheduling", inference::ModelEnsembling::descriptor()},
      {"step", inference::ModelEnsembling::Step::descriptor()},
      {"model_warmup", inference::ModelWarmup::descriptor()}};
  for (const auto& [name, message] : kMessages)
    for (int i = 0; i < message->field_count(); ++i)
      EXPECT_TRUE(page.find("`" + message->field(i)->name() + "`") != std::string::npos)
          << "docs/KSERVE.md does not speak of " << name << "." << message->field(i)->name();
}

// The article's repositories (article-setup: three for the FasterTransformer back end, one for TorchScript).
constexpr const char* kArticleBert = R"(
name: "ft_bert"
backend: "fastertransformer"
default_model_filename: "bert"
max_batch_size: 16
input [
  { name: "input_hidden_state" data_type: TYPE_FP16 dims: [ -1, -1 ] },
  { name: "sequence_lengths" data_type: TYPE_INT32 dims: [ 1 ] reshape: { shape: [ ] } }
]
output [ { name: "output_hidden_state" data_type: TYPE_FP16 dims: [ -1, -1 ] } ]
instance_group [ { count: 1 kind : KIND_CPU } ]
version_policy: { specific { versions: [ 1 ] } }
dynamic_batching { }
parameters { key: "tensor_para_size" value: { string_value: "1" } }
parameters { key: "data_type" value: { string_value: "fp16" } }
parameters { key: "model_type" value: { string_value: "bert" } }
parameters { key: "is_remove_padding" value: { string_value: "1" } }
)";
constexpr const char* kArticleTorch = R"(
name: "trt_bert"
platform: "pytorch_libtorch"
max_batch_size: 0
input [ { name: "input_ids__0" data_type: TYPE_INT32 dims: [ 1, 40 ] }, { name: "attention_mask__1" data_type: TYPE_INT32 dims: [ 1, 40 ] } ]
output [ { name: "probs__0" data_type: TYPE_FP32 dims: [ 1, 180 ] } ]
instance_group [ { count: 8 } ]
)";

TEST(ArticleConfigs, BertOfFasterTransformerIsValid) {
  auto config = parse_config_text(kArticleBert, "ft_bert/config.pbtxt").value();
  fill_defaults(config, 0);
  EXPECT_TRUE(validate(config, "ft_bert", 0).ok());
  EXPECT_EQ(config.dynamic_batching().preferred_batch_size(0), 16);
}

TEST(ArticleConfigs, TorchScriptParsesAndSaysWhatItLacks) {
  ASSERT_TRUE(parse_config_text(kArticleTorch, "c").ok());
  test::RepositoryHarness repository;
  repository.model("trt_bert", kArticleTorch);
  const Status status = repository.start();
  EXPECT_THAT(status.message(), testing::AllOf(HasSubstr("backend 'pytorch'"), HasSubstr("Hugging Face directory")));
}

}  // namespace
}  // namespace inazuma
