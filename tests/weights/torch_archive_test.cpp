// Torch archives that are damaged, hostile, or of kinds that are refused.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "weights/files.h"

namespace inazuma::testing {
namespace {

using pickled::call, pickled::dictionary, pickled::global, pickled::number, pickled::program, pickled::storage;
using pickled::tensor, pickled::text, pickled::tuple;
using ::testing::HasSubstr;

constexpr auto kBad = StatusCode::malformed;
constexpr auto kNo = StatusCode::unsupported;

const std::string kFloats = storage("FloatStorage", "0", number(6));

std::string state(const std::string& value) {
  return program(dictionary({{"x.w", value}}));
}
std::string with_tensor(const std::string& offset, const std::vector<int32_t>& size,
                        const std::vector<int32_t>& stride) {
  return state(tensor(kFloats, offset, size, stride));
}
std::string plain_tensor() {
  return tensor(kFloats, number(0), {2, 3}, {3, 1});
}

struct Hostile {
  const char* name;
  std::string bytes;
  StatusCode code;
  std::vector<std::string> fragments;
};

std::string system_call(const char* module, const char* name, const std::string& reduce) {
  return torch_zip(program(call(global(module, name), tuple({text("touch /tmp/x")})) + reduce));
}

std::string repeated(const std::string& piece, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += piece;
  return out;
}

std::vector<Hostile> hostile_pickles() {
  const std::string ordered = global("collections", "OrderedDict");
  const std::string rebuild = global("torch._utils", "_rebuild_tensor_v2");
  return {
      {"os_system", system_call("os", "system", ""), kNo, {"os.system", "nothing was executed"}},
      {"posix_system", system_call("posix", "system", ""), kNo, {"posix.system"}},
      {"eval", system_call("builtins", "eval", ""), kNo, {"builtins.eval"}},
      {"getattr", system_call("__builtin__", "getattr", ""), kNo, {"__builtin__.getattr"}},
      {"torch_load", system_call("torch", "load", ""), kNo, {"torch.load"}},
      {"dotted_name", system_call("torch", "Size.__class__", ""), kNo, {"torch.Size.__class__"}},
      {"blank_in_module", system_call("torch Size", "", ""), kNo, {"torch Size."}},
      {"whole_module", system_call("torch.nn.modules.linear", "Linear", ""), kNo, {"Linear", "model.state_dict()"}},
      {"nested_in_state", torch_zip(state(global("os", "system"))), kNo, {"os.system"}},
      {"newobj", torch_zip(program(global("subprocess", "Popen") + ")\x81")), kNo, {"subprocess.Popen"}},
      {"sparse", torch_zip(state(global("torch._utils", "_rebuild_sparse_tensor"))), kNo, {"_rebuild_sparse_tensor"}},
      {"quantized", torch_zip(state(global("torch", "QInt8Storage"))), kNo, {"QInt8Storage"}},
      {"complex", torch_zip(state(global("torch", "ComplexFloatStorage"))), kNo, {"ComplexFloatStorage"}},
      {"escape_codes", torch_zip(program(global("\x1b[2J", "x"))), kNo, {"\\x1b[2J"}},
      {"endless_name", torch_zip("c" + std::string(100'000, 'a')), kBad, {"cut short"}},
      {"long_name", torch_zip("c" + std::string(100'000, 'a') + "\n"), kBad, {"too long"}},
      {"unknown_opcode", torch_zip(program("\x93")), kBad, {"opcode 0x93"}},
      {"text_opcode_int", torch_zip(program("I1\n")), kBad, {"opcode 0x49"}},
      {"inst_opcode", torch_zip(program("(ios\nsystem\n")), kBad, {"opcode 0x69"}},
      {"protocol_4", torch_zip("\x80\x04}."), kNo, {"protocol 4"}},
      {"memo_unwritten", torch_zip(program("h\x05")), kBad, {"memo 5"}},
      {"memo_out_of_range", torch_zip(program("j\xff\xff\xff\xff")), kBad, {"memo 4294967295"}},
      {"put_of_nothing", torch_zip(program("q\x01")), kBad, {"stack is empty"}},
      {"pop_of_nothing", torch_zip(program("\x85")), kBad, {"stack is empty"}},
      {"pop_below_mark", torch_zip(program("}(\x85")), kBad, {"stack is empty"}},
      {"no_mark", torch_zip(program("}u")), kBad, {"mark is missing"}},
      {"empty_stack_at_stop", torch_zip(program("")), kBad, {"left over"}},
      {"two_values_at_stop", torch_zip(program("}}")), kBad, {"left over"}},
      {"mark_at_stop", torch_zip(program("}(")), kBad, {"left over"}},
      {"no_stop", torch_zip("\x80\x02}"), kBad, {"cut short"}},
      {"empty_pickle", torch_zip(""), kBad, {"cut short"}},
      {"deep_marks", torch_zip(program(std::string(100'000, '('))), kBad, {"nested more than"}},
      {"deep_lists", torch_zip(program(std::string(2'000'000, ']'))), kBad, {"values on its stack"}},
      {"deep_tuples", torch_zip(program("N" + repeated("\x85", 2'000'000))), kNo, {"no dictionary"}},
      {"many_values",
       torch_zip(program(repeated("]\x85\x85\x85\x85\x85\x85\x85", 700'000))),
       kBad,
       {"more than 4000000 values"}},
      {"ordered_dict_copies",
       torch_zip(program("](" + repeated("NN\x86", 100'000) + "eq\x01" + repeated(ordered + "h\x01\x85R", 50))),
       kBad,
       {"more than 4000000 values"}},
      {"huge_text", torch_zip(program("X\xff\xff\xff\xff")), kBad, {"cut short"}},
      {"call_of_text", torch_zip(program(call(text("x"), ")"))), kBad, {"no global"}},
      {"call_without_tuple", torch_zip(program(ordered + "]R")), kBad, {"no tuple"}},
      {"ordered_dict_of_text", torch_zip(program(call(ordered, tuple({text("x")})))), kBad, {"list of pairs"}},
      {"ordered_dict_of_triples",
       torch_zip(program(call(ordered, tuple({"](" + tuple({"N", "N", "N"}) + "e"})))),
       kBad,
       {"list of pairs"}},
      {"append_to_dict", torch_zip(program("}Na")), kBad, {"cannot take them"}},
      {"set_item_of_list", torch_zip(program("]NNs")), kBad, {"cannot take them"}},
      {"odd_items", torch_zip(program("}(Nu")), kBad, {"no value"}},
      {"attributes_of_list", torch_zip(program("]}b")), kBad, {"no dictionary"}},
      {"persistent_text", torch_zip(state(text("x") + "Q")), kBad, {"no tuple"}},
      {"root_is_list", torch_zip(program("]")), kNo, {"no dictionary of tensors", "state_dict()"}},
      {"root_is_tensor", torch_zip(program(plain_tensor())), kNo, {"no dictionary of tensors"}},
      {"no_tensors", torch_zip(program("}")), kNo, {"no tensors", "none"}},
      {"nested_state",
       torch_zip(program(dictionary({{"state_dict", dictionary({{"x", plain_tensor()}})}, {"epoch", number(3)}}))),
       kNo,
       {"no tensors at its top level", "'epoch', 'state_dict'", "model.state_dict()"}},
      {"dict_of_itself", torch_zip(program("}q\x01" + text("x") + "h\x01s")), kNo, {"no tensors"}},
      {"name_not_utf8", torch_zip(program("}U\x01\xff" + plain_tensor() + "s")), kBad, {"UTF-8"}},
      {"offset_outside",
       torch_zip(with_tensor(number(1), {2, 3}, {3, 1})),
       kBad,
       {"'x.w'", "offset 1", "outside its storage of 6"}},
      {"size_outside", torch_zip(with_tensor(number(0), {7}, {1})), kBad, {"'x.w'", "outside its storage of 6"}},
      {"stride_outside", torch_zip(with_tensor(number(0), {2, 3}, {4, 1})), kBad, {"'x.w'", "outside its storage"}},
      {"stride_negative",
       torch_zip(with_tensor(number(5), {6}, {-1})),
       kBad,
       {"'x.w'", "stride", "negative number -1"}},
      {"size_negative", torch_zip(with_tensor(number(0), {-1}, {1})), kBad, {"'x.w'", "size", "negative number -1"}},
      {"offset_negative", torch_zip(with_tensor(number(-1), {1}, {1})), kBad, {"'x.w'", "integer >= 0"}},
      {"offset_huge",
       torch_zip(with_tensor("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", {2}, {1})),
       kBad,
       {"'x.w'", "outside its storage"}},
      {"offset_bigger",
       torch_zip(with_tensor("\x8a\x09" + std::string(9, '\x7f'), {2}, {1})),
       kBad,
       {"'x.w'", "integer >= 0"}},
      {"offset_text", torch_zip(with_tensor(text("0"), {1}, {1})), kBad, {"'x.w'", "integer >= 0"}},
      {"size_overflows",
       torch_zip(with_tensor(number(0), {2147483647, 2147483647, 2147483647}, {0, 0, 0})),
       kBad,
       {"'x.w'", "overflows"}},
      {"stride_overflows",
       torch_zip(with_tensor(number(0), {2147483647, 2}, {2147483647, 2147483647})),
       kBad,
       {"'x.w'", "outside its storage"}},
      {"expanded_huge", torch_zip(with_tensor(number(0), {1'000'000'000}, {0})), kBad, {"too large for a file"}},
      {"rank_mismatch", torch_zip(with_tensor(number(0), {2, 3}, {1})), kBad, {"'x.w'", "differ in length"}},
      {"rank_65",
       torch_zip(with_tensor(number(0), std::vector<int32_t>(65, 1), std::vector<int32_t>(65, 1))),
       kBad,
       {"'x.w'", "at most 64"}},
      {"size_is_list",
       torch_zip(state(call(rebuild, tuple({kFloats, number(0), "]", ")"})))),
       kBad,
       {"'x.w'", "size is no tuple"}},
      {"few_fields", torch_zip(state(call(rebuild, tuple({kFloats, number(0)})))), kBad, {"'x.w'", "too few fields"}},
      {"no_storage", torch_zip(state(call(rebuild, tuple({"N", number(0), ")", ")"})))), kBad, {"'x.w'", "no storage"}},
      {"negated",
       torch_zip(
           state(call(rebuild, tuple({kFloats, number(0), ")", ")", "\x89", "}", dictionary({{"neg", "\x88"}})})))),
       kNo,
       {"'x.w'", "negated"}},
      {"storage_missing",
       torch_zip(state(tensor(storage("FloatStorage", "9", number(6)), number(0), {1}, {1}))),
       kBad,
       {"'x.w'", "'9' is not in the file"}},
      {"storage_size",
       torch_zip(state(tensor(storage("FloatStorage", "0", number(7)), number(0), {1}, {1}))),
       kBad,
       {"'x.w'", "7 elements", "holds 24 bytes"}},
      {"storage_type_size",
       torch_zip(state(tensor(storage("DoubleStorage", "0", number(6)), number(0), {1}, {1}))),
       kBad,
       {"6 elements of 8 bytes"}},
      {"storage_size_negative",
       torch_zip(state(tensor(storage("FloatStorage", "0", number(-6)), number(0), {1}, {1}))),
       kBad,
       {"integer >= 0"}},
      {"storage_of_tensor",
       torch_zip(state(tensor(storage("Tensor", "0", number(6)), number(0), {1}, {1}))),
       kBad,
       {"storage '0' has the type"}},
      {"storage_untyped",
       torch_zip(state(tensor(
           tuple({text("storage"), global("torch.storage", "UntypedStorage"), text("0"), text("cpu"), number(24)}) +
               "Q",
           number(0), {1}, {1}))),
       kBad,
       {"no element type"}},
      {"storage_record",
       torch_zip(state(tensor(tuple({text("storage"), "N"}) + "Q", number(0), {1}, {1}))),
       kBad,
       {"storage record is damaged"}},
      {"persistent_other",
       torch_zip(state(tensor(tuple({text("module")}) + "Q", number(0), {1}, {1}))),
       kBad,
       {"no storage"}},
      {"uint16",
       torch_zip(state(call(global("torch._utils", "_rebuild_tensor_v3"),
                            tuple({kFloats, number(0), ")", ")", "\x89", "}", global("torch", "uint16")})))),
       kNo,
       {"'x.w'", "uint16"}},
      {"parameter_chain",
       torch_zip(
           state(repeated(global("torch._utils", "_rebuild_parameter"), 9) + plain_tensor() + repeated("\x85R", 9))),
       kBad,
       {"'x.w'", "parameter record"}},
      {"parameter_empty",
       torch_zip(state(call(global("torch._utils", "_rebuild_parameter"), ")"))),
       kBad,
       {"'x.w'", "parameter record"}},
  };
}

std::vector<Hostile> other_archives() {
  const std::string good = torch_zip(state(plain_tensor()));
  ZipOptions deflated{.method = 8}, encrypted{.flags = 1};
  std::string outside = good, no_end = good, many = good;
  const size_t end = good.size() - 22;
  outside.replace(end + 16, 4, little_endian(0x7fffffff, 4));
  many.replace(end + 10, 2, little_endian(999, 2));
  no_end.replace(end, 4, "xxxx");
  const size_t directory = good.find("PK\x01\x02");
  std::string moved = good, long_entry = good;
  moved.replace(directory + 42, 4, little_endian(3, 4));
  long_entry.replace(directory + 20, 8, little_endian(0x10000000, 4) + little_endian(0x10000000, 4));
  std::string tar(512, '\0');
  tar.replace(257, 5, "ustar");
  return {
      {"empty_file", "", kBad, {"empty"}},
      {"text", "hello", kBad, {"pickle"}},
      {"plain_pickle", program(state("N")), kBad, {"magic number"}},
      {"html", "<!DOCTYPE html><html></html>", kBad, {"opcode 0x3c"}},
      {"lfs_pointer", "version https://git-lfs.github.com/spec/v1\n", kBad, {"Git LFS pointer"}},
      {"tar", tar, kNo, {"tar archives"}},
      {"compressed", torch_zip(state(plain_tensor()), deflated), kNo, {"is compressed"}},
      {"encrypted", torch_zip(state(plain_tensor()), encrypted), kNo, {"is encrypted"}},
      {"torchscript", zip({{"m/data.pkl", ""}, {"m/constants.pkl", ""}}), kNo, {"TorchScript"}},
      {"big_endian", zip({{"m/data.pkl", ""}, {"m/byteorder", "big"}}), kNo, {"byte order", "'big'"}},
      {"no_pickle", zip({{"m/version", "3\n"}}), kBad, {"no entry m/data.pkl"}},
      {"no_folder", zip({{"data.pkl", program("}")}}), kBad, {"in no folder"}},
      {"name_twice", zip({{"m/data.pkl", "a"}, {"m/data.pkl", "b"}}), kBad, {"twice"}},
      {"no_end_record", no_end, kBad, {"no end record"}},
      {"directory_outside", outside, kBad, {"outside the file"}},
      {"too_many_entries", many, kBad, {"too small for the number"}},
      {"local_header_elsewhere", moved, kBad, {"no local header"}},
      {"entry_outside", long_entry, kBad, {"outside the file"}},
      {"no_entries", "PK\x03\x04" + zip({}), kBad, {"in no folder"}},
  };
}

class HostileArchive : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileArchive, IsRefusedByName) {
  const Status status = read_all("pytorch_model.bin", GetParam().bytes);
  EXPECT_EQ(status.code(), GetParam().code) << status.message();
  EXPECT_THAT(status.message(), HasSubstr("pytorch_model.bin: "));
  for (const std::string& fragment : GetParam().fragments) EXPECT_THAT(status.message(), HasSubstr(fragment));
}

INSTANTIATE_TEST_SUITE_P(Pickles, HostileArchive, ::testing::ValuesIn(hostile_pickles()),
                         [](const auto& tested) { return std::string(tested.param.name); });
INSTANTIATE_TEST_SUITE_P(Files, HostileArchive, ::testing::ValuesIn(other_archives()),
                         [](const auto& tested) { return std::string(tested.param.name); });

void expect_six_floats(const std::string& file) {
  const ScratchDirectory scratch;
  scratch.write("pytorch_model.bin", file);
  const auto store = WeightStore::open(scratch.path());
  ASSERT_TRUE(store.ok()) << store.status().message();
  const Tensor tensor = (*store)->find("x.w");
  ASSERT_EQ(tensor.shape(), (Shape{2, 3}));
  for (int i = 0; i < 6; ++i) EXPECT_EQ(tensor.as<float>()[i], static_cast<float>(i));
}

TEST(TorchArchive, ReadsHandMadeArchives) {
  expect_six_floats(torch_zip(state(plain_tensor())));
  expect_six_floats(torch_zip(state(plain_tensor()), {.zip64 = true}));
  expect_six_floats(torch_zip(state(plain_tensor()), {.zero_local = false}));
  expect_six_floats(torch_zip(state(call(
      global("torch._utils", "_rebuild_tensor_v3"),
      tuple({tuple({text("storage"), global("torch.storage", "UntypedStorage"), text("0"), text("cpu"), number(24)}) +
                 "Q",
             number(0), tuple({number(2), number(3)}), tuple({number(3), number(1)}), "\x89", "}",
             global("torch", "float32")})))));
  expect_six_floats(torch_zip(state(call(global("torch.nn.parameter", "Parameter"), tuple({plain_tensor(), "\x88"})))));
  expect_six_floats(torch_zip(program("}(" + text("x.w") + text("earlier") + text("x.w") + plain_tensor() + "u")));
}

TEST(TorchArchive, EveryPrefixIsAnError) {
  const ScratchDirectory scratch;
  for (const char* folder : {"bin_zip_module", "bin_legacy_module", "bin_legacy_python2"}) {
    const std::string whole = read_bytes(data_directory() / folder / "pytorch_model.bin");
    for (size_t size = 0; size < whole.size(); ++size) {
      scratch.write("pytorch_model.bin", whole.substr(0, size));
      const Status status = read_all(scratch.path());
      EXPECT_TRUE(status.code() == kBad || status.code() == kNo) << folder << " " << size << " " << status.message();
    }
  }
}

}  // namespace
}  // namespace inazuma::testing
