// Every rule of the safetensors format, broken once.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "weights/files.h"

namespace inazuma::testing {
namespace {

struct Broken {
  const char* name;
  std::string bytes;
  StatusCode code;
  std::vector<std::string> fragments;  ///< that the message must hold
};

const std::string kFour(4, '\0');
const std::string kEight(8, '\0');

std::string one(std::string_view entry, std::string_view data = kFour) {
  return safetensors(fmt::format(R"({{"x.w":{}}})", entry), data);
}

std::vector<Broken> broken_files() {
  const auto bad = StatusCode::malformed;
  return {
      {"empty_file", "", bad, {"header too small", "0 bytes"}},
      {"seven_bytes", "1234567", bad, {"header too small", "7 bytes"}},
      {"huge_header", little_endian(100'000'001, 8) + "{}", bad, {"header too large", "100000001"}},
      {"header_length_overflows", std::string(8, '\xff') + "{}", bad, {"header too large"}},
      {"header_past_end", little_endian(3, 8) + "{}", bad, {"invalid header length", "3 bytes"}},
      {"no_header", little_endian(0, 8), bad, {"does not begin with '{'"}},
      {"not_utf8", safetensors("{\"\xff\":1}", ""), bad, {"not valid UTF-8"}},
      {"overlong_utf8", safetensors("{\"\xc0\xaf\":1}", ""), bad, {"not valid UTF-8"}},
      {"leading_blank", safetensors(" {}", ""), bad, {"does not begin with '{'"}},
      {"array", safetensors("[]", ""), bad, {"does not begin with '{'"}},
      {"half_json", safetensors("{\"x\":", ""), bad, {"not valid JSON"}},
      {"json_and_more", safetensors("{}{}", ""), bad, {"not valid JSON"}},
      {"nul_padding", safetensors(std::string("{}\0\0", 4), ""), bad, {"not valid JSON"}},
      {"metadata_number",
       safetensors(R"({"__metadata__":{"a":1}})", ""),
       bad,
       {"__metadata__", "must be strings", "found 1"}},
      {"metadata_nested", safetensors(R"({"__metadata__":{"a":{}}})", ""), bad, {"__metadata__", "must be strings"}},
      {"metadata_list", safetensors(R"({"__metadata__":[]})", ""), bad, {"__metadata__", "object of strings"}},
      {"metadata_twice", safetensors(R"({"__metadata__":{},"__metadata__":{}})", ""), bad, {"twice", "__metadata__"}},
      {"metadata_key_twice", safetensors(R"({"__metadata__":{"a":"","a":""}})", ""), bad, {"duplicate key 'a'"}},
      {"tensor_number", one("1"), bad, {"'x.w'", "must be an object", "found 1"}},
      {"tensor_list", one(R"(["F32",[],[0,4]])"), bad, {"'x.w'", "must be an object"}},
      {"tensor_twice",
       safetensors(
           R"({"x":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[],"data_offsets":[4,8]}})",
           kEight),
       bad,
       {"'x'", "twice"}},
      {"field_twice",
       one(R"({"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]})"),
       bad,
       {"'x.w'", "duplicate key 'dtype'"}},
      {"escaped_name_twice",
       safetensors(
           R"({"x":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"\u0078":{"dtype":"F32","shape":[],"data_offsets":[4,8]}})",
           kEight),
       bad,
       {"'x'", "twice"}},
      {"no_dtype", one(R"({"shape":[],"data_offsets":[0,4]})"), bad, {"'x.w'", "no dtype"}},
      {"no_shape", one(R"({"dtype":"F32","data_offsets":[0,4]})"), bad, {"'x.w'", "no shape"}},
      {"no_offsets", one(R"({"dtype":"F32","shape":[]})"), bad, {"'x.w'", "no data_offsets"}},
      {"dtype_number",
       one(R"({"dtype":32,"shape":[],"data_offsets":[0,4]})"),
       bad,
       {"'x.w'", "dtype must be a string", "found 32"}},
      {"dtype_unknown",
       one(R"({"dtype":"f32","shape":[],"data_offsets":[0,4]})"),
       bad,
       {"'x.w'", "unknown dtype 'f32'"}},
      {"dtype_unsupported",
       one(R"({"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]})"),
       StatusCode::unsupported,
       {"'x.w'", "F8_E4M3", "save the model as"}},
      {"shape_negative",
       one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})"),
       bad,
       {"'x.w'", "unsigned", "found -1"}},
      {"shape_real",
       one(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})"),
       bad,
       {"'x.w'", "unsigned", "found 1.0"}},
      {"shape_past_64_bits",
       one(R"({"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]})"),
       bad,
       {"'x.w'", "unsigned"}},
      {"shape_text",
       one(R"({"dtype":"F32","shape":["1"],"data_offsets":[0,4]})"),
       bad,
       {"'x.w'", "shape must be", "a string"}},
      {"shape_nested",
       one(R"({"dtype":"F32","shape":[[1]],"data_offsets":[0,4]})"),
       bad,
       {"'x.w'", "shape must be", "an array"}},
      {"shape_number", one(R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})"), bad, {"'x.w'", "shape must be"}},
      {"shape_null",
       one(R"({"dtype":"F32","shape":null,"data_offsets":[0,4]})"),
       bad,
       {"'x.w'", "shape must be", "null"}},
      {"offsets_three",
       one(R"({"dtype":"F32","shape":[],"data_offsets":[0,4,8]})"),
       bad,
       {"'x.w'", "two unsigned", "3 of them"}},
      {"offsets_one", one(R"({"dtype":"F32","shape":[],"data_offsets":[4]})"), bad, {"'x.w'", "two unsigned"}},
      {"offsets_negative",
       one(R"({"dtype":"F32","shape":[],"data_offsets":[-4,0]})"),
       bad,
       {"'x.w'", "two unsigned", "found -4"}},
      {"offsets_reversed",
       one(R"({"dtype":"F32","shape":[],"data_offsets":[4,0]})"),
       bad,
       {"'x.w'", "end before they begin"}},
      {"hole_at_start",
       one(R"({"dtype":"F32","shape":[],"data_offsets":[4,8]})", kEight),
       bad,
       {"'x.w'", "begin at 4", "hole"}},
      {"hole_between",
       safetensors(
           R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
           "abc"),
       bad,
       {"'y'", "begin at 2", "ends at 1", "hole"}},
      {"overlap",
       safetensors(
           R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
           "abc"),
       bad,
       {"'y'", "overlap"}},
      {"shared",
       safetensors(
           R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
           "ab"),
       bad,
       {"'y'", "overlap"}},
      {"elements_overflow",
       one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]})"),
       bad,
       {"'x.w'", "overflows"}},
      {"bits_overflow",
       one(R"({"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4]})"),
       bad,
       {"'x.w'", "overflows"}},
      {"part_of_a_byte",
       one(R"({"dtype":"F4","shape":[3],"data_offsets":[0,2]})", "ab"),
       bad,
       {"'x.w'", "whole bytes"}},
      {"extent_too_large",
       one(R"({"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]})", ""),
       bad,
       {"'x.w'", "too large"}},
      {"size_differs",
       one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})"),
       bad,
       {"'x.w'", "takes 8 bytes", "span 4"}},
      {"cut_short",
       one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})"),
       bad,
       {"'x.w'", "byte 8", "only 4", "cut short"}},
      {"bytes_after", one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})", kEight), bad, {"4 bytes follow"}},
      {"bytes_without_tensors", safetensors("{}", kFour), bad, {"4 bytes follow"}},
      {"lfs_pointer",
       "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
       bad,
       {"Git LFS pointer", "fetch the real file"}},
      {"control_bytes_in_name", safetensors("{\"a\\u001b[2J\":1}", ""), bad, {"'a\\x1b[2J'"}},
  };
}

class BrokenSafetensors : public ::testing::TestWithParam<Broken> {};

TEST_P(BrokenSafetensors, IsRefusedByName) {
  const Status status = read_all("model.safetensors", GetParam().bytes);
  EXPECT_EQ(status.code(), GetParam().code) << status.message();
  EXPECT_THAT(status.message(), ::testing::HasSubstr("model.safetensors: "));
  for (const std::string& fragment : GetParam().fragments)
    EXPECT_THAT(status.message(), ::testing::HasSubstr(fragment));
}

INSTANTIATE_TEST_SUITE_P(Rules, BrokenSafetensors, ::testing::ValuesIn(broken_files()),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(Safetensors, LetsPassWhatTheReferenceReaderLetsPass) {
  const std::vector<std::string> files{
      safetensors("{}", ""),
      safetensors("{}      ", ""),
      safetensors("{}\n\t ", ""),
      one(R"({"dtype":"F32","shape":[],"data_offsets":[0,4],"note":{"a":[1,-2,3.5,null,true,"x",{"shape":[1]}]},"other":[[7]]})"),
      safetensors(
          R"({"x":{"dtype":"F32","shape":[2,0],"data_offsets":[0,0]},"y":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"z":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})",
          "a"),
      safetensors(
          R"({"y":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"__metadata__":{"format":"pt"},"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
          "ab"),
  };
  for (const std::string& file : files)
    EXPECT_TRUE(read_all("model.safetensors", file).ok()) << read_all("model.safetensors", file).message();
}

TEST(Safetensors, DeepUnknownValuesDoNotExhaustTheStack) {
  const std::string deep = std::string(1'000'000, '[') + std::string(1'000'000, ']');
  EXPECT_TRUE(
      read_all("model.safetensors", one(R"({"dtype":"F32","shape":[],"data_offsets":[0,4],"note":)" + deep + "}"))
          .ok());
}

TEST(Safetensors, EveryPrefixIsAnError) {
  const ScratchDirectory scratch;
  const std::string whole = read_bytes(data_directory() / "safetensors_unaligned/model.safetensors");
  for (size_t size = 0; size < whole.size(); ++size) {
    scratch.write("model.safetensors", whole.substr(0, size));
    EXPECT_EQ(read_all(scratch.path()).code(), StatusCode::malformed) << size;
  }
}

}  // namespace
}  // namespace inazuma::testing
