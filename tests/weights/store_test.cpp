// Which files of a directory are read, and how shards fit together.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>

#include "weights/files.h"

namespace inazuma::testing {
namespace {

using ::testing::HasSubstr;

std::string with_value(std::string_view tensor, float value) {
  std::string data(sizeof value, '\0');
  std::memcpy(data.data(), &value, sizeof value);
  return safetensors(fmt::format(R"({{"{}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}})", tensor), data);
}

std::string bin_with_value() {
  using pickled::dictionary, pickled::number, pickled::program, pickled::storage, pickled::tensor;
  return torch_zip(program(dictionary({{"x", tensor(storage("FloatStorage", "0", number(6)), number(5), {1}, {1})}})));
}

float value_of(const std::filesystem::path& directory) {
  const auto store = WeightStore::open(directory);
  return store.value()->find("x").as<float>()[0];
}

TEST(WeightStore, PrefersFilesAsTransformersDoes) {
  const ScratchDirectory scratch;
  scratch.write("training_args.bin", "never opened");
  scratch.write("optimizer.pt", "never opened");
  EXPECT_EQ(read_all(scratch.path()).code(), StatusCode::not_found);
  scratch.write("pytorch_model-00001-of-00001.bin", bin_with_value());
  scratch.write("pytorch_model.bin.index.json", R"({"weight_map":{"x":"pytorch_model-00001-of-00001.bin"}})");
  EXPECT_EQ(value_of(scratch.path()), 5.0f);
  scratch.write("pytorch_model.bin",
                torch_zip(pickled::program(pickled::dictionary(
                    {{"x", pickled::tensor(pickled::storage("FloatStorage", "0", pickled::number(6)),
                                           pickled::number(4), {1}, {1})}}))));
  EXPECT_EQ(value_of(scratch.path()), 4.0f);
  scratch.write("model.safetensors.index.json", R"({"weight_map":{"x":"model-1.safetensors"}})");
  scratch.write("model-1.safetensors", with_value("x", 30));
  EXPECT_EQ(value_of(scratch.path()), 30.0f);
  scratch.write("model.safetensors", with_value("x", 20));
  EXPECT_EQ(value_of(scratch.path()), 20.0f);
}

TEST(WeightStore, SaysWhatItLookedFor) {
  const ScratchDirectory scratch;
  const Status empty = read_all(scratch.path());
  EXPECT_EQ(empty.code(), StatusCode::not_found);
  for (const char* name :
       {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"})
    EXPECT_THAT(empty.message(), HasSubstr(name));
  const Status absent = read_all(scratch.path() / "absent");
  EXPECT_EQ(absent.code(), StatusCode::not_found);
  EXPECT_THAT(absent.message(), HasSubstr("no such directory"));
}

TEST(WeightStore, RefusesWhatIsNoFile) {
  const ScratchDirectory pipe;
  ASSERT_EQ(mkfifo((pipe.path() / "model.safetensors").c_str(), 0600), 0);
  EXPECT_THAT(read_all(pipe.path()).message(), HasSubstr("not a regular file"));
  const ScratchDirectory folder;
  std::filesystem::create_directory(folder.path() / "pytorch_model.bin");
  EXPECT_EQ(read_all(folder.path()).code(), StatusCode::invalid);
}

TEST(WeightStore, FollowsLinksAsModelCachesUseThem) {
  const ScratchDirectory blobs, snapshot;
  blobs.write("0123abcd", with_value("x", 7));
  std::filesystem::create_symlink(blobs.path() / "0123abcd", snapshot.path() / "model.safetensors");
  EXPECT_EQ(value_of(snapshot.path()), 7.0f);
}

TEST(WeightStore, KnowsOnlyStoredNames) {
  const auto store = WeightStore::open(data_directory() / "safetensors");
  EXPECT_FALSE(store.value()->find("float32.matri").defined());
  EXPECT_FALSE(store.value()->find("").defined());
  EXPECT_FALSE(store.value()->find("zzz").defined());
  EXPECT_TRUE(store.value()->find("名前.重み").defined());
}

TEST(WeightStore, RefusesTwoTensorsForOneModernName) {
  const ScratchDirectory scratch;
  scratch.write(
      "model.safetensors",
      safetensors(
          R"({"a.LayerNorm.gamma":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"a.LayerNorm.weight":{"dtype":"U8","shape":[],"data_offsets":[1,2]}})",
          "ab"));
  const Status status = read_all(scratch.path());
  EXPECT_EQ(status.code(), StatusCode::malformed);
  EXPECT_THAT(status.message(), HasSubstr("both stand for 'a.LayerNorm.weight'"));
}

TEST(WeightStore, FindRefusesRanksThatViewsCannotHave) {
  const ScratchDirectory scratch;
  scratch.write("model.safetensors",
                safetensors(R"({"x":{"dtype":"U8","shape":[1,1,1,1,1,1,1],"data_offsets":[0,1]}})", "a"));
  const auto store = WeightStore::open(scratch.path());
  ASSERT_TRUE(store.ok());
  EXPECT_EQ(store.value()->tensors()[0].shape.size(), 7u);
  EXPECT_THROW((*store)->find("x"), Error);
}

struct BrokenIndex {
  const char* name;
  std::string index;
  StatusCode code;
  std::vector<std::string> fragments;
};

std::string map_to(std::string_view shard) {
  return fmt::format(R"({{"weight_map":{{"x":"{}"}}}})", shard);
}

class BrokenShards : public ::testing::TestWithParam<BrokenIndex> {};

TEST_P(BrokenShards, AreRefusedByName) {
  const ScratchDirectory scratch;
  scratch.write("good.safetensors", with_value("x", 1));
  scratch.write("bad.safetensors", "123");
  scratch.write("pointer.safetensors", "version https://git-lfs.github.com/spec/v1\n");
  scratch.write("model.safetensors.index.json", GetParam().index);
  const Status status = read_all(scratch.path());
  EXPECT_EQ(status.code(), GetParam().code) << status.message();
  EXPECT_THAT(status.message(), HasSubstr("model.safetensors.index.json"));
  for (const std::string& fragment : GetParam().fragments) EXPECT_THAT(status.message(), HasSubstr(fragment));
}

INSTANTIATE_TEST_SUITE_P(
    Index, BrokenShards,
    ::testing::Values(
        BrokenIndex{"empty", "", StatusCode::malformed, {"not valid JSON"}},
        BrokenIndex{"half", R"({"weight_map":{)", StatusCode::malformed, {"not valid JSON"}},
        BrokenIndex{"nul",
                    std::string("{\"weight_map\":{\"x\":\"good.safetensors\"}}\0!", 41),
                    StatusCode::malformed,
                    {"NUL byte"}},
        BrokenIndex{"list", "[]", StatusCode::malformed, {"weight_map"}},
        BrokenIndex{"no_map", "{}", StatusCode::malformed, {"weight_map"}},
        BrokenIndex{"map_is_list", R"({"weight_map":[]})", StatusCode::malformed, {"weight_map"}},
        BrokenIndex{"empty_map", R"({"weight_map":{}})", StatusCode::malformed, {"weight_map is empty"}},
        BrokenIndex{"number", R"({"weight_map":{"x":1}})", StatusCode::malformed, {"'x'", "file name"}},
        BrokenIndex{"twice",
                    R"({"weight_map":{"x":"good.safetensors","x":"bad.safetensors"}})",
                    StatusCode::malformed,
                    {"duplicate key 'x'"}},
        BrokenIndex{"absolute", map_to("/etc/passwd"), StatusCode::malformed, {"'x'", "plain file name"}},
        BrokenIndex{"parent", map_to(".."), StatusCode::malformed, {"plain file name"}},
        BrokenIndex{"dots", map_to("a..b"), StatusCode::malformed, {"plain file name"}},
        BrokenIndex{"folder", map_to("a/b"), StatusCode::malformed, {"plain file name"}},
        BrokenIndex{"backslash", map_to("a\\\\b"), StatusCode::malformed, {"plain file name"}},
        BrokenIndex{"nul_in_name", map_to("good.safetensors\\u0000"), StatusCode::malformed, {"plain file name"}},
        BrokenIndex{"nameless", map_to(""), StatusCode::malformed, {"plain file name"}},
        BrokenIndex{"absent_shard",
                    map_to("gone.safetensors"),
                    StatusCode::not_found,
                    {"gone.safetensors", "cannot be opened"}},
        BrokenIndex{
            "bad_shard", map_to("bad.safetensors"), StatusCode::malformed, {"bad.safetensors", "header too small"}},
        BrokenIndex{
            "pointer_shard", map_to("pointer.safetensors"), StatusCode::malformed, {"pointer.safetensors", "Git LFS"}},
        BrokenIndex{"pointer", "version https://git-lfs.github.com/spec/v1\n", StatusCode::malformed, {"Git LFS"}},
        BrokenIndex{"absent_tensor",
                    R"({"weight_map":{"x":"good.safetensors","y":"good.safetensors"}})",
                    StatusCode::malformed,
                    {"good.safetensors", "'y' should be here"}}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST(WeightStore, PassesOverShardTensorsThatTheIndexDoesNotName) {
  const ScratchDirectory scratch;
  scratch.write("a.safetensors", with_value("x", 1));
  scratch.write(
      "b.safetensors",
      safetensors(
          R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
          std::string(8, '\0')));
  scratch.write("model.safetensors.index.json", R"({"weight_map":{"x":"a.safetensors","y":"b.safetensors"}})");
  const auto store = WeightStore::open(scratch.path());
  ASSERT_TRUE(store.ok()) << store.status().message();
  EXPECT_EQ((*store)->tensors().size(), 2u);
  EXPECT_EQ((*store)->find("x").as<float>()[0], 1.0f);
  EXPECT_EQ((*store)->format(), "safetensors, 2 shards");
}

}  // namespace
}  // namespace inazuma::testing
