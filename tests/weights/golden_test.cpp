// Files written by torch and safetensors (tools/golden/make_weights.py), compared bit for bit.

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "weights/weight_store.h"

namespace inazuma {
namespace {

namespace fs = std::filesystem;

const fs::path kData = fs::path(INAZUMA_SOURCE_DIR) / "tests/weights/data";

struct Expected {
  std::string name, dtype, extents, hex;
};

std::vector<Expected> read_expected(const fs::path& folder, std::string& format) {
  std::ifstream in(folder / "expected.tsv");
  EXPECT_TRUE(in) << folder;
  std::getline(in, format);
  std::vector<Expected> out;
  for (std::string line; std::getline(in, line);) {
    std::istringstream cells(line);
    Expected e;
    std::getline(cells, e.name, '\t');
    std::getline(cells, e.dtype, '\t');
    std::getline(cells, e.extents, '\t');
    std::getline(cells, e.hex, '\t');
    out.push_back(e);
  }
  return out;
}

std::string hex(const Tensor& tensor) {
  std::string out;
  const auto* bytes = static_cast<const unsigned char*>(tensor.data());
  for (size_t i = 0; i < tensor.bytes(); ++i) out += fmt::format("{:02x}", bytes[i]);
  return out;
}

std::vector<fs::path> golden_folders() {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(kData)) out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

class Golden : public ::testing::TestWithParam<fs::path> {};

TEST_P(Golden, HoldsWhatTheRealLibraryWrote) {
  std::string format;
  const std::vector<Expected> expected = read_expected(GetParam(), format);
  ASSERT_FALSE(expected.empty());
  const auto opened = WeightStore::open(GetParam());
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  const WeightStore& store = **opened;
  EXPECT_EQ(store.format(), format);
  ASSERT_EQ(store.tensors().size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const StoredTensor& stored = store.tensors()[i];
    SCOPED_TRACE(stored.name);
    EXPECT_EQ(stored.name, expected[i].name);
    EXPECT_EQ(name(stored.dtype), expected[i].dtype);
    EXPECT_EQ(fmt::format("{}", fmt::join(stored.shape, ",")), expected[i].extents);
    EXPECT_EQ(stored.bytes * 2, expected[i].hex.size());
    const Tensor tensor = store.find(stored.name);
    ASSERT_TRUE(tensor.defined());
    EXPECT_TRUE(tensor.contiguous());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data()) % size_of(tensor.dtype()), 0u);
    EXPECT_EQ(hex(tensor), expected[i].hex);
    EXPECT_EQ(store.find(stored.name).data(), tensor.data()) << "a copy must be made once";
  }
}

INSTANTIATE_TEST_SUITE_P(Files, Golden, ::testing::ValuesIn(golden_folders()),
                         [](const auto& tested) { return tested.param.filename().string(); });

}  // namespace
}  // namespace inazuma
