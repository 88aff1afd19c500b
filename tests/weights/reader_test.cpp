#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "weights/files.h"

namespace inazuma::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Names, dtypes and shapes as given; the bytes are zero.
class FakeStore : public WeightStore {
 public:
  struct Row {
    std::string name;
    std::vector<int64_t> shape;
    DType dtype = DType::f32;
  };
  explicit FakeStore(const std::vector<Row>& rows) {
    for (const Row& row : rows) {
      size_t bytes = size_of(row.dtype);
      for (int64_t extent : row.shape) bytes *= static_cast<size_t>(extent);
      listed_.push_back({.name = row.name, .dtype = row.dtype, .shape = row.shape, .file = "fake", .bytes = bytes});
    }
    std::sort(listed_.begin(), listed_.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  }
  std::span<const StoredTensor> tensors() const override { return listed_; }
  std::string format() const override { return "fake"; }
  Tensor find(std::string_view name) const override {
    for (const StoredTensor& stored : listed_)
      if (stored.name == name) return Tensor(memory_.data(), stored.dtype, Shape(stored.shape));
    return {};
  }

 private:
  std::vector<StoredTensor> listed_;
  std::vector<char> memory_ = std::vector<char>(4096);
};

std::shared_ptr<const WeightStore> store(const std::vector<FakeStore::Row>& rows) {
  return std::make_shared<FakeStore>(rows);
}

TEST(WeightReader, TriesPrefixesInOrder) {
  WeightReader reader(store({{"bert.a", {1}}, {"a", {2}}, {"b", {3}}}));
  reader.set_prefixes({"bert.", ""});
  EXPECT_EQ(reader.shape_of("a"), std::vector<int64_t>{1});
  EXPECT_EQ(reader.shape_of("b"), std::vector<int64_t>{3});
  EXPECT_THAT(reader.shape_of("c"), IsEmpty());
  EXPECT_TRUE(reader.has("b"));
  EXPECT_FALSE(reader.has("c"));
  EXPECT_EQ(reader.require("a", {1}).shape(), (Shape{1}));
  EXPECT_TRUE(reader.require("b", {3}).defined());
  EXPECT_TRUE(reader.finish().ok());
  EXPECT_THAT(reader.report().unused, ElementsAre("a"));
}

TEST(WeightReader, NamesEveryProblemAtOnce) {
  WeightReader reader(store({{"m.wide", {2, 3}}, {"m.ids", {4}, DType::i64}, {"m.extra", {1}}, {"m.scalar", {}}}));
  reader.set_prefixes({"m.", ""});
  EXPECT_FALSE(reader.require("wide", {3, 2}).defined());
  EXPECT_FALSE(reader.require("wide.absent", {5}, {"other.absent"}).defined());
  EXPECT_FALSE(reader.require("ids", {4}).defined());
  EXPECT_FALSE(reader.require("scalar", {1}).defined());
  const Status status = reader.finish();
  EXPECT_EQ(status.code(), StatusCode::invalid);
  EXPECT_THAT(reader.report().missing, ElementsAre("m.wide.absent [5]"));
  EXPECT_THAT(reader.report().misshapen, ElementsAre("m.wide: expected [3, 2], file has [2, 3]",
                                                     "m.ids: expected float32, float16 or bfloat16, file has int64",
                                                     "m.scalar: expected [1], file has []"));
  EXPECT_THAT(reader.report().unused, ElementsAre("m.extra"));
  for (const std::string& line :
       {reader.report().missing[0], reader.report().misshapen[0], reader.report().misshapen[1]})
    EXPECT_THAT(status.message(), HasSubstr(line));
}

TEST(WeightReader, TakesTheFirstStoredAliasAndCountsAllAsUsed) {
  WeightReader reader(store({{"shared", {2}, DType::f16}, {"encoder.tied", {2}}, {"decoder.tied", {2}}}));
  const Tensor first = reader.require("absent", {2}, {"shared", "encoder.tied", "decoder.tied"});
  EXPECT_EQ(first.dtype(), DType::f16);
  EXPECT_TRUE(reader.finish().ok());
  EXPECT_THAT(reader.report().unused, IsEmpty());
}

TEST(WeightReader, IgnoresByPattern) {
  WeightReader reader(store({{"bert.embeddings.position_ids", {1}},
                             {"h.0.attn.bias", {1}},
                             {"transformer.h.11.attn.bias", {1}},
                             {"h.0.attn.bias.more", {1}},
                             {"cls.predictions.bias", {1}},
                             {"cls", {1}},
                             {"acls.x", {1}},
                             {"exact", {1}}}));
  reader.set_prefixes({"transformer.", ""});
  reader.ignore({"*.position_ids", "h.*.attn.bias", "cls.*"});
  reader.ignore({"exact"});
  EXPECT_TRUE(reader.finish().ok());
  EXPECT_THAT(reader.report().unused, ElementsAre("acls.x", "cls", "h.0.attn.bias.more"));
}

TEST(WeightReader, DryRunChecksWithoutData) {
  WeightReader reader(store({{"a", {2}}, {"b", {3}}}), true);
  reader.set_progress([](size_t, size_t) { ADD_FAILURE() << "a dry run reads nothing"; });
  const Tensor view = reader.require("a", {2});
  EXPECT_FALSE(view.defined());
  EXPECT_EQ(view.shape(), (Shape{2}));
  EXPECT_FALSE(reader.require("b", {4}).defined());
  EXPECT_EQ(reader.finish().code(), StatusCode::invalid);
  EXPECT_THAT(reader.report().misshapen, ElementsAre("b: expected [4], file has [3]"));
}

TEST(WeightReader, ReportsProgressUpToTheTotal) {
  WeightReader reader(store({{"a", {2}}, {"b", {3}, DType::f16}, {"unused", {5}}}));
  std::vector<std::pair<size_t, size_t>> seen;
  reader.set_progress([&](size_t done, size_t total) { seen.emplace_back(done, total); });
  reader.require("a", {2});
  reader.require("a", {2});
  reader.require("b", {3});
  EXPECT_TRUE(reader.finish().ok());
  EXPECT_THAT(seen, ElementsAre(std::pair<size_t, size_t>(8, 34), std::pair<size_t, size_t>(14, 34),
                                std::pair<size_t, size_t>(34, 34)));
}

TEST(WeightReader, ReportLinesArePrintable) {
  WeightReader reader(store({{"a\nb\x1b", {1}}}));
  EXPECT_TRUE(reader.finish().ok());
  EXPECT_THAT(reader.report().unused, ElementsAre("a\\x0ab\\x1b"));
}

}  // namespace
}  // namespace inazuma::testing
