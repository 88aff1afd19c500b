// Encoders against transformers: every case on every home, alone and in company.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <tuple>

#include "golden/driver.h"
#include "golden/golden_case.h"

namespace inazuma::golden {
namespace {

std::vector<std::string> encoder_cases() {
  std::vector<std::string> names = case_names();
  std::erase_if(names, [](const std::string& name) { return golden_case(name).kind != "encoder"; });
  return names;
}

Encode whole(const Sequence& sequence) {
  Encode out{.ids = sequence.ids, .types = sequence.types};
  out.rows.resize(sequence.ids.size());
  std::iota(out.rows.begin(), out.rows.end(), 0);
  return out;
}

class EncoderGolden : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  const GoldenCase& golden_ = golden_case(std::get<0>(GetParam()));
  Ops& ops_ = home(std::get<1>(GetParam()));
  std::shared_ptr<const Model> model_ = load(golden_, ops_);
  Driver driver_{ops_, *model_};

  void expect_pooled(const std::vector<float>& actual, size_t sequence) {
    const Expected& all = golden_.expected.at("pooled");
    Expected row{.rows = 1, .cols = all.cols, .tolerance = all.tolerance, .noise = all.noise};
    const auto begin = all.values.begin() + static_cast<std::ptrdiff_t>(sequence) * all.cols;
    row.values.assign(begin, begin + all.cols);
    expect_near(actual, row, "pooled of sequence " + std::to_string(sequence), ops_.compute_dtype());
  }

  void expect_sequence(const StepOutput& out, size_t at, size_t sequence) {
    const std::string rows = "rows." + std::to_string(sequence);
    if (golden_.expected.contains(rows))
      expect_near(out.rows[at], golden_.expected.at(rows), rows, ops_.compute_dtype());
    if (golden_.expected.contains("pooled")) expect_pooled(out.pooled[at], sequence);
  }

  std::vector<Encode> everything() const {
    std::vector<Encode> out;
    for (const Sequence& sequence : golden_.sequences) out.push_back(whole(sequence));
    return out;
  }
};

TEST_P(EncoderGolden, AloneAsTransformers) {
  for (size_t i = 0; i < golden_.sequences.size(); ++i) {
    expect_sequence(driver_.step({whole(golden_.sequences[i])}, {}), 0, i);
  }
}

TEST_P(EncoderGolden, TogetherAsTransformers) {
  const StepOutput out = driver_.step(everything(), {});
  for (size_t i = 0; i < golden_.sequences.size(); ++i) expect_sequence(out, i, i);
}

TEST_P(EncoderGolden, NeighboursChangeNoBit) {
  if (std::get<1>(GetParam()).starts_with("cuda")) GTEST_SKIP() << "products choose their order by size there";
  const StepOutput together = driver_.step(everything(), {});
  for (size_t i = 0; i < golden_.sequences.size(); ++i) {
    const StepOutput alone = driver_.step({whole(golden_.sequences[i])}, {});
    EXPECT_EQ(alone.rows[0], together.rows[i]) << "sequence " << i;
    EXPECT_EQ(alone.pooled[0], together.pooled[i]) << "sequence " << i;
  }
}

TEST_P(EncoderGolden, OnlyWantedRowsComeBack) {
  if (model_->info().row_width == 0) GTEST_SKIP() << "no row outputs";
  std::vector<Encode> some = everything();
  for (size_t i = 0; i < some.size(); ++i) {
    std::shuffle(some[i].rows.begin(), some[i].rows.end(), std::mt19937(static_cast<unsigned>(i)));
    some[i].rows.resize(some[i].rows.size() / 2);
    some[i].pooled = i % 2 == 1;
  }
  const StepOutput out = driver_.step(some, {});
  for (size_t i = 0; i < some.size(); ++i) {
    const Expected& all = golden_.expected.at("rows." + std::to_string(i));
    Expected wanted{.cols = all.cols, .tolerance = all.tolerance, .noise = all.noise};
    for (const int row : some[i].rows) {
      const auto begin = all.values.begin() + row * all.cols;
      wanted.values.insert(wanted.values.end(), begin, begin + all.cols);
    }
    expect_near(out.rows[i], wanted, "wanted rows of sequence " + std::to_string(i), ops_.compute_dtype());
    EXPECT_EQ(out.pooled[i].empty(), !some[i].pooled || model_->info().pooled_width == 0);
  }
}

TEST_P(EncoderGolden, NothingWantedGivesNothing) {
  Encode encode = whole(golden_.sequences.back());
  encode.rows.clear();
  encode.pooled = false;
  const StepOutput out = driver_.step({encode}, {});
  EXPECT_FALSE(out.device.rows.defined());
  EXPECT_FALSE(out.device.pooled.defined());
  EXPECT_FALSE(out.device.logits.defined());
}

INSTANTIATE_TEST_SUITE_P(All, EncoderGolden,
                         testing::Combine(testing::ValuesIn(encoder_cases()), testing::ValuesIn(home_names())),
                         [](const auto& test) {
                           return printable(std::get<0>(test.param) + "__" + std::get<1>(test.param));
                         });

}  // namespace
}  // namespace inazuma::golden
