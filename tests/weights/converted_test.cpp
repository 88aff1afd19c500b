// FasterTransformer folders: config.ini as people have it, and everything that can be wrong with the files beside it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "weights/converted/config_ini.h"
#include "weights/converted/fastertransformer.h"
#include "weights/files.h"

namespace inazuma::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

/// A copy of a golden case's folder, to be spoiled.
struct Copy {
  explicit Copy(const std::string& name, const std::string& folder) : path(scratch.path() / folder) {
    fs::copy(fs::path(INAZUMA_SOURCE_DIR) / "tests/golden/cases" / name / folder, path);
  }
  Status open() const { return WeightStore::open(scratch.path()).status(); }
  void resize(const std::string& file, uintmax_t bytes) const { fs::resize_file(path / file, bytes); }
  /// Replaces a line "key = ..." of config.ini; an empty value takes the line out.
  void set(const std::string& key, const std::string& value) const {
    std::string text = read_bytes(path / "config.ini");
    const size_t begin = text.find("\n" + key + " = ") + 1;
    ASSERT_NE(begin, 0u) << key;
    const size_t end = text.find('\n', begin);
    text.replace(begin, end - begin + 1, value.empty() ? "" : key + " = " + value + "\n");
    scratch.write(path.filename().string() + "/config.ini", text);
  }
  ScratchDirectory scratch;
  fs::path path;
};

TEST(ConfigIni, ReadsWhatConfigparserWritesAndPeopleEdit) {
  const ConfigIni ini(
      "x",
      "; comment\n# another\n\n[BERT]\nNum_Layer = 12\nname: 日本語 ; why\npath = a;b\nlong = {'a': 1,\n"
      "  'b': 2}\nnothing = None\nempty =\nyes = True\r\nno = Off\neps = 1e-12\nbroken line\n[gpt]\nx=1\n");
  EXPECT_EQ(ini.integer("bert", "num_layer", 0, 100), 12);
  EXPECT_EQ(ini.text("bert", "name"), "日本語");
  EXPECT_EQ(ini.text("bert", "path"), "a;b");
  EXPECT_EQ(ini.text("bert", "long"), "{'a': 1,\n'b': 2}");
  EXPECT_EQ(ini.text("bert", "nothing"), std::nullopt);
  EXPECT_EQ(ini.text("bert", "empty"), std::nullopt);
  EXPECT_EQ(ini.flag("bert", "yes"), true);
  EXPECT_EQ(ini.flag("bert", "no"), false);
  EXPECT_EQ(ini.positive("bert", "eps"), 1e-12);
  EXPECT_EQ(ini.integer("gpt", "x", 0, 1), 1);
  EXPECT_FALSE(ini.has_section("t5"));
}

TEST(ConfigIni, NamesWhatIsWrong) {
  const ConfigIni ini("1-gpu/config.ini", "[gpt]\nhead_num = twelve\nflag = maybe\neps = -1\n");
  const auto message = [](auto&& work) { return capture(work).status().message(); };
  EXPECT_THAT(message([&] { return ini.integer("gpt", "head_num", 1, 9); }),
              HasSubstr("1-gpu/config.ini: head_num of [gpt] is 'twelve', must be an integer in [1, 9]"));
  EXPECT_THAT(message([&] { return ini.required_integer("gpt", "num_layer", 1, 9); }), HasSubstr("lacks num_layer"));
  EXPECT_THAT(message([&] { return ini.flag("gpt", "flag"); }), HasSubstr("'maybe', must be true or false"));
  EXPECT_THAT(message([&] { return ini.positive("gpt", "eps"); }), HasSubstr("greater than 0"));
  EXPECT_EQ(capture([] { return ConfigIni("x", "key = value\n"); }).status().code(), StatusCode::malformed);
}

TEST(Converted, MissingFilesAreNamed) {
  const Copy copy("ft-gpt2-ranks", "3-gpu");
  fs::remove(copy.path / "model.layers.1.mlp.dense_h_to_4h.weight.2.bin");
  fs::remove(copy.path / "model.wpe.bin");
  const Status status = copy.open();
  EXPECT_EQ(status.code(), StatusCode::not_found);
  EXPECT_THAT(status.message(), HasSubstr("model.layers.1.mlp.dense_h_to_4h.weight.2.bin is missing"));
  EXPECT_THAT(status.message(), HasSubstr("model.wpe.bin is missing"));
}

TEST(Converted, ShortAndLongFilesAreNamedWithBothSizes) {
  for (const uintmax_t bytes : {uintmax_t{0}, uintmax_t{92}, uintmax_t{100}, uintmax_t{192}}) {
    const Copy copy("ft-t5", "1-gpu");
    copy.resize("encoder.final_layer_norm.weight.bin", bytes);
    const Status status = copy.open();
    EXPECT_EQ(status.code(), StatusCode::malformed);
    EXPECT_THAT(status.message(),
                HasSubstr(fmt::format("encoder.final_layer_norm.weight.bin has {} bytes, expected 80 (float32 of [20])",
                                      bytes)));
  }
}

TEST(Converted, TheWrongElementTypeShows) {
  const Copy copy("ft-gpt2-f16", "1-gpu");
  copy.set("weight_data_type", "fp32");
  EXPECT_THAT(copy.open().message(), HasSubstr("model.wte.bin has 4656 bytes, expected 9312 (float32 of [97, 24])"));
  copy.set("weight_data_type", "int3");
  EXPECT_THAT(copy.open().message(), HasSubstr("must be fp32, fp16 or bf16"));
}

TEST(Converted, MissingShardsAndOtherCountsAreNamed) {
  const Copy copy("ft-gpt2-ranks", "3-gpu");
  fs::remove(copy.path / "model.layers.0.attention.query_key_value.weight.1.bin");
  EXPECT_THAT(copy.open().message(),
              HasSubstr("query_key_value.weight.1.bin is missing; the folder's name says 3 shards"));
  const Copy more("ft-gpt2-ranks", "3-gpu");
  fs::rename(more.path, more.scratch.path() / "2-gpu");
  EXPECT_THAT(more.open().message(),
              HasSubstr("says 2 shards, but model.layers.0.attention.query_key_value.weight.2.bin"));
}

TEST(Converted, AnyNameOfTheFolderWillDo) {
  const Copy copy("ft-gpt2-ranks", "3-gpu");
  const fs::path elsewhere = copy.scratch.path() / "checkpoint";
  fs::rename(copy.path, elsewhere);
  EXPECT_EQ(copy.open().code(), StatusCode::not_found);  // not found by itself,
  const auto store = WeightStore::open(elsewhere);       // but when named
  ASSERT_TRUE(store.ok()) << store.status().message();
  EXPECT_EQ((*store)->format(), "FasterTransformer, 3 ranks");
  EXPECT_TRUE(WeightStore::open(elsewhere.string() + "/").ok()) << "a trailing slash changes nothing";
}

TEST(Converted, VariantsThatComputeSomethingElseAreRefused) {
  for (const auto& [key, value] : {std::pair("use_attention_linear_bias", "1"), std::pair("has_adapters", "true"),
                                   std::pair("layernorm_type", "post_layernorm")}) {
    const Copy copy("ft-gpt2-f16", "1-gpu");
    copy.set("tensor_para_size", fmt::format("1\n{} = {}", key, value));
    const Status status = copy.open();
    EXPECT_EQ(status.code(), StatusCode::unsupported);
    EXPECT_THAT(status.message(), HasSubstr(key));
  }
}

TEST(Converted, SizesAreNeeded) {
  const Copy copy("ft-gpt2-f16", "1-gpu");
  copy.set("size_per_head", "");
  EXPECT_THAT(copy.open().message(), HasSubstr("1-gpu/config.ini: [gpt] lacks size_per_head"));
}

TEST(Converted, FilesNobodyKnowsAreListed) {
  const Copy copy("ft-gpt2-f16", "1-gpu");
  copy.scratch.write("1-gpu/model.prompt_table.news.weight.bin", std::string(48, '\0'));
  const auto store = WeightStore::open(copy.scratch.path()).value();
  WeightReader reader(store);
  EXPECT_FALSE(reader.finish().ok() && reader.report().unused.empty());
  EXPECT_THAT(reader.report().unused, ::testing::Contains("model.prompt_table.news.weight.bin"));
}

TEST(Converted, ABertWithoutTablesSaysSo) {
  const Copy copy("ft-bert-base", "1-gpu");
  EXPECT_FALSE(WeightStore::open(copy.scratch.path()).value()->encoder_only());
  for (const auto& file : fs::directory_iterator(copy.path))
    if (file.path().filename().string().starts_with("model.embeddings.")) fs::remove(file.path());
  EXPECT_TRUE(WeightStore::open(copy.scratch.path()).value()->encoder_only());
}

TEST(Converted, OwnTensorsGoBeforeThoseBeside) {
  const fs::path directory = fs::path(INAZUMA_SOURCE_DIR) / "tests/golden/cases/ft-bert-beside";
  const std::string name = "encoder.layer.0.attention.self.query.weight";
  const auto store = WeightStore::open(directory, directory / "1-gpu").value();
  EXPECT_TRUE(store->find("bert." + name).data() == nullptr) << "two tensors of one meaning";
  EXPECT_NE(store->find(name).as<float>()[0], 0.0f);
  EXPECT_TRUE(store->find("bert.embeddings.word_embeddings.weight").defined());
  EXPECT_THAT(WeightStore::open(directory).value()->format(), Not(HasSubstr("FasterTransformer")));
}

}  // namespace
}  // namespace inazuma::testing
