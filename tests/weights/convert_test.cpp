// What convert writes is, byte for byte, what an independent writer made of the same checkpoint (tools/golden/
// make_fastertransformer.py), and what cannot be written is refused before a file appears.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/json_file.h"
#include "weights/converted/fastertransformer.h"
#include "weights/files.h"

namespace inazuma::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const fs::path kCases = fs::path(INAZUMA_SOURCE_DIR) / "tests/golden/cases";

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> out;
  for (const auto& file : fs::directory_iterator(folder)) out.insert(file.path().filename().string());
  return out;
}

Result<Conversion> convert_case(const std::string& name, const fs::path& to, const ConvertOptions& options) {
  return capture([&] {
    return convert(*WeightStore::open(kCases / name).value(), read_json_file(kCases / name / "config.json"), to,
                   options);
  });
}

struct Pair {
  const char* source;
  const char* converted;
  ConvertOptions options;
  bool same_ini;
};

class Convert : public ::testing::TestWithParam<Pair> {};

TEST_P(Convert, WritesTheSameBytes) {
  const auto& [source, converted, options, same_ini] = GetParam();
  const ScratchDirectory scratch;
  const Result<Conversion> done = convert_case(source, scratch.path(), options);
  ASSERT_TRUE(done.ok()) << done.status().message();
  const fs::path expected = kCases / converted / fmt::format("{}-gpu", options.ranks);
  EXPECT_EQ(names_in(done->folder), names_in(expected));
  EXPECT_EQ(static_cast<size_t>(done->files) + 1, names_in(expected).size());
  for (const std::string& file : names_in(expected)) {
    if (file == "config.ini" && !same_ini) continue;
    EXPECT_EQ(read_bytes(done->folder / file), read_bytes(expected / file)) << file;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Convert,
                         ::testing::Values(Pair{"bert-ner", "ft-bert-ner", {1, DType::f32}, true},
                                           Pair{"bert-base", "ft-bert-base", {1, DType::f32}, true},
                                           Pair{"bert-act-relu", "ft-bert-ranks", {2, DType::f32}, true},
                                           Pair{"gpt2", "ft-gpt2-ranks", {3, DType::f32}, true},
                                           Pair{"gpt2-f16", "ft-gpt2-f16", {1, DType::f16}, true},
                                           Pair{"gpt2-untied", "ft-gpt2-untied", {1, DType::f32}, true},
                                           Pair{"t5", "ft-t5", {1, DType::f32}, false},
                                           Pair{"t5-v11-f16", "ft-t5-ranks", {3, DType::f16}, false},
                                           Pair{"t5-deep-decoder", "ft-t5-deep-decoder", {1, DType::f32}, false}),
                         [](const auto& test) {
                           std::string name = test.param.converted;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(ConvertFrom, WhatIsReadBackIsTheCheckpoint) {
  for (const char* name : {"bert-classify", "gpt2-inner-relu", "gpt2-odd", "t5-gated-silu", "mt5", "t5-few-buckets"}) {
    const ScratchDirectory scratch;
    const Result<Conversion> done = convert_case(name, scratch.path(), {});
    ASSERT_TRUE(done.ok()) << name << ": " << done.status().message();
    const auto original = WeightStore::open(kCases / name).value();
    const auto converted = WeightStore::open(scratch.path()).value();
    for (const StoredTensor& tensor : original->tensors()) {
      std::string bare = tensor.name;
      for (const std::string prefix : {"bert.", "transformer."})
        if (bare.starts_with(prefix)) bare = bare.substr(prefix.size());
      const Tensor a = original->find(tensor.name), b = converted->find(bare);
      ASSERT_TRUE(b.defined()) << name << ": " << tensor.name;
      ASSERT_EQ(a.shape(), b.shape()) << tensor.name;
      EXPECT_TRUE(std::equal(a.as<float>(), a.as<float>() + a.elements(), b.as<float>())) << tensor.name;
    }
  }
}

TEST(ConvertFrom, HalfPrecisionSaysWhatBecomesInfinite) {
  const ScratchDirectory source, destination;
  std::string bytes = read_bytes(kCases / "gpt2/model.safetensors");
  bytes.replace(bytes.size() - 4, 4, little_endian(0x47800000, 4));  // 65536 in place of the last element
  source.write("model.safetensors", bytes);
  const nlohmann::json config = read_json_file(kCases / "gpt2/config.json");
  const Conversion done =
      convert(*WeightStore::open(source.path()).value(), config, destination.path(), {1, DType::f16});
  ASSERT_EQ(done.notes.size(), 1u);
  EXPECT_THAT(done.notes[0], HasSubstr("1 value beyond the range of float16 became infinite"));
}

TEST(ConvertFrom, NothingStaysOfAFailure) {
  const ScratchDirectory scratch;
  scratch.write("model.safetensors", safetensors(R"({"wte.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}})",
                                                 std::string(8, '\0')));
  const Status status = capture([&] {
    (void)convert(*WeightStore::open(scratch.path()).value(), {{"model_type", "gpt2"}}, scratch.path(), {});
  });
  EXPECT_EQ(status.code(), StatusCode::not_found);
  EXPECT_THAT(status.message(), HasSubstr("wpe.weight"));
  EXPECT_EQ(names_in(scratch.path()), std::set<std::string>{"model.safetensors"});
}

TEST(ConvertFrom, RefusesBeforeItWrites) {
  const ScratchDirectory scratch;
  const auto message = [&](const std::string& name, const ConvertOptions& options) {
    return convert_case(name, scratch.path(), options).status().message();
  };
  EXPECT_THAT(message("gpt2", {2, DType::f32}), HasSubstr("3 attention heads cannot be divided over 2 ranks"));
  EXPECT_THAT(message("gpt2-by-layer", {}), HasSubstr("scale_attn_by_inverse_layer_idx true"));
  EXPECT_TRUE(names_in(scratch.path()).empty());
  ASSERT_TRUE(convert_case("gpt2", scratch.path(), {}).ok());
  EXPECT_THAT(message("gpt2", {}), HasSubstr("1-gpu' exists"));
}

}  // namespace
}  // namespace inazuma::testing
