// Datatypes, raw BYTES, and what a request is told when it does not fit the model.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <model_config.pb.h>

#include "serving/config/tensor_model.h"

namespace inazuma {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(DataTypes, NumbersAreThoseOfTheConfiguration) {
  for (int number = inference::DataType_MIN; number <= inference::DataType_MAX; ++number) {
    const auto type = static_cast<DataType>(number);
    std::string config_name = "TYPE_" + std::string(wire_name(type));
    if (type == DataType::bytes) config_name = "TYPE_STRING";
    EXPECT_EQ(inference::DataType_Name(number), config_name);
    if (number > 0) EXPECT_EQ(parse_data_type(wire_name(type)), type);
  }
  EXPECT_FALSE(parse_data_type("STRING"));
  EXPECT_FALSE(parse_data_type("INVALID"));
}

TEST(Shapes, Count) {
  EXPECT_EQ(element_count({}).value(), 1);
  EXPECT_EQ(element_count({2, 3}).value(), 6);
  EXPECT_EQ(element_count({0, 8}).value(), 0);
  EXPECT_FALSE(element_count({0, int64_t{1} << 61, 8}).ok());
  EXPECT_FALSE(element_count({2, -1}).ok());
  EXPECT_FALSE(element_count({int64_t{1} << 40, int64_t{1} << 40}).ok());
}

TEST(RawBytes, RoundTripAndDamage) {
  const std::string raw = join_bytes({"", "日本語", std::string("\0x", 2)});
  EXPECT_THAT(split_bytes(raw, 3).value(), ElementsAre("", "日本語", std::string("\0x", 2)));
  EXPECT_THAT(split_bytes(raw, 2).status().message(), HasSubstr("more than the expected 2"));
  EXPECT_THAT(split_bytes(raw, 4).status().message(), HasSubstr("expected 4 string elements, got 3"));
  for (size_t cut = 1; cut < raw.size(); ++cut)
    EXPECT_FALSE(split_bytes(std::string_view(raw).substr(0, cut), 3).ok()) << cut;
  EXPECT_TRUE(split_bytes("", 0).ok());
}

class CheckInference : public testing::Test {
 protected:
  CheckInference() {
    auto config = std::make_shared<inference::ModelConfig>();
    config->set_name("m");
    config->set_max_batch_size(4);
    for (const auto& [name, type] : {std::pair{"A", inference::TYPE_FP32}, {"B", inference::TYPE_STRING}}) {
      auto* input = config->add_input();
      input->set_name(name);
      input->set_data_type(type);
      input->add_dims(std::string_view(name) == "A" ? -1 : 1);
      auto* output = config->add_output();
      output->set_name(std::string(name) + "_OUT");
      output->set_data_type(type);
      output->add_dims(-1);
    }
    model_ = make_tensor_model(config, 3);
    good_.inputs = {make_tensor<float>("A", DataType::fp32, {2, 2}, {1, 2, 3, 4}),
                    {"B", DataType::bytes, {2, 1}, join_bytes({"x", "y"})}};
  }
  std::string complaint(const TensorInference& inference) const {
    const auto checked = check_inference(model_, inference);
    if (checked.ok()) return "";
    EXPECT_EQ(checked.status().code(), StatusCode::invalid);
    return checked.status().message();
  }
  TensorModel model_;
  TensorInference good_;
};

TEST_F(CheckInference, AGoodRequestHasItsBatchSize) {
  EXPECT_EQ(check_inference(model_, good_).value(), 2);
}

TEST_F(CheckInference, EveryMisfitIsNamed) {
  TensorInference bad = good_;
  bad.id = "r1";
  bad.inputs[0].type = DataType::int32;
  EXPECT_EQ(complaint(bad), "[request id: r1] inference input 'A' data-type is 'INT32', but model 'm' expects 'FP32'");
  bad = good_;
  bad.inputs[1].shape = {2, 2};
  EXPECT_THAT(
      complaint(bad),
      HasSubstr(
          "[request id: <id_unknown>] unexpected shape for input 'B' for model 'm'. Expected [-1,1], got [2,2]."));
  bad = good_;
  bad.inputs[0].shape = {2, 3};
  EXPECT_THAT(complaint(bad), HasSubstr("input byte size mismatch for input 'A' for model 'm'. Expected 24, got 16"));
  bad = good_;
  bad.inputs[0].shape = {2, int64_t{1} << 60};
  EXPECT_THAT(complaint(bad), HasSubstr("byte size mismatch"));
  bad = good_;
  bad.inputs[0].shape = {5, 1};
  bad.inputs[0].data = std::string(20, '\0');
  bad.inputs[1] = {"B", DataType::bytes, {5, 1}, join_bytes({"", "", "", "", ""})};
  EXPECT_THAT(complaint(bad), HasSubstr("inference request batch-size must be <= 4 for 'm'"));
  bad = good_;
  bad.inputs[0].shape = {1, 4};
  EXPECT_THAT(complaint(bad), HasSubstr("batch size does not match"));
  bad = good_;
  bad.inputs.pop_back();
  EXPECT_THAT(complaint(bad), HasSubstr("expected 2 inputs but got 1 inputs for model 'm'. Got input(s) ['A'], but "
                                        "missing required input(s) ['B']."));
  bad = good_;
  bad.inputs[0].name = "Z";
  EXPECT_THAT(complaint(bad), HasSubstr("unexpected inference input 'Z' for model 'm'"));
  bad = good_;
  bad.inputs.push_back(bad.inputs[0]);
  EXPECT_THAT(complaint(bad), HasSubstr("input 'A' already exists in request"));
  bad = good_;
  bad.outputs = {{.name = "A"}};
  EXPECT_THAT(complaint(bad), HasSubstr("unexpected inference output 'A' for model 'm'"));
  bad = good_;
  bad.inputs[0].shape = {0, 2};
  bad.inputs[0].data = std::string();
  bad.inputs[1] = {"B", DataType::bytes, {0, 1}, std::string()};
  EXPECT_THAT(complaint(bad), HasSubstr("batch-size must be >= 1"));
}

}  // namespace
}  // namespace inazuma
