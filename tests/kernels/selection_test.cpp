// select_tokens against transformers itself (data/selection.json, made by tools/golden/make_selection.py), and its
// draws against the probabilities that they should follow.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/home.h"
#include "kernels/philox.h"
#include "source_dir.h"

namespace inazuma::testing {
namespace {

using Json = nlohmann::json;

struct Choice {
  int32_t token;
  float logprob;
  std::vector<int32_t> ids;  ///< all of the vocabulary, best first
  std::vector<float> logprobs;
};

Choice choose(Ops& ops, const SelectionRow& row, std::vector<float> logits, std::vector<int32_t> history,
              std::vector<int32_t> bans = {}) {
  const auto vocab = static_cast<int64_t>(logits.size());
  history.push_back(-1);
  Choice out{.ids = std::vector<int32_t>(logits.size()), .logprobs = std::vector<float>(logits.size())};
  SelectionArgs args{.logits = Tensor(logits.data(), DType::f32, Shape{1, vocab})};
  args.rows = Tensor(&row, DType::u8, Shape{1, sizeof row});
  if (!bans.empty()) args.bans = Tensor(bans.data(), DType::i32, Shape{static_cast<int64_t>(bans.size())});
  args.history = Tensor(history.data(), DType::i32, Shape{1, static_cast<int64_t>(history.size())});
  args.tokens = Tensor(&out.token, DType::i32, Shape{1});
  args.logprobs = Tensor(&out.logprob, DType::f32, Shape{1});
  args.top_ids = Tensor(out.ids.data(), DType::i32, Shape{1, vocab});
  args.top_logprobs = Tensor(out.logprobs.data(), DType::f32, Shape{1, vocab});
  ops.select_tokens(args);
  EXPECT_EQ(history.back(), out.token);
  return out;
}

std::vector<std::unique_ptr<Home>> every_home() {
  std::vector<std::unique_ptr<Home>> all;
  all.push_back(reference_home());
  for (const auto& make : host_homes()) all.push_back(make());
  return all;
}

SelectionRow row_of(const Json& options) {
  SelectionRow row;
  row.sample = options.value("do_sample", false) ? 1 : 0;
  row.temperature = options.value("temperature", 1.0f);
  row.top_k = options.value("top_k", 0);
  row.top_p = options.value("top_p", 1.0f);
  row.min_p = options.value("min_p", 0.0f);
  row.typical_p = options.value("typical_p", 1.0f);
  row.repetition_penalty = options.value("repetition_penalty", 1.0f);
  row.min_new_tokens = options.value("min_new_tokens", 0);
  const auto eos = options.value("eos", std::vector<int32_t>());
  std::ranges::copy(eos, row.eos);
  row.eos_count = static_cast<int32_t>(eos.size());
  row.ban_end = static_cast<int32_t>(options.value("bans", std::vector<int32_t>()).size());
  return row;
}

TEST(Selection, LeavesWhatTransformersLeaves) {
  std::ifstream file(source_dir() / "tests/kernels/data/selection.json");
  const Json cases = Json::parse(file);
  ASSERT_GE(cases.size(), 90u);
  for (const auto& home : every_home())
    for (const Json& c : cases) {
      SCOPED_TRACE(home->name() + " " + c["options"].dump() + " vocab " + std::to_string(c["logits"].size()));
      SelectionRow row = row_of(c["options"]);
      row.generated = c["generated"];
      row.length = static_cast<int32_t>(c["history"].size());
      const Choice got =
          choose(home->ops(), row, c["logits"], c["history"], c["options"].value("bans", std::vector<int32_t>()));
      const std::vector<int32_t> allowed = c["allowed"];
      const std::vector<double> logprobs = c["logprobs"];
      std::vector<int32_t> kept;
      for (size_t i = 0; i < got.ids.size(); ++i)
        if (got.logprobs[i] > -HUGE_VALF) kept.push_back(got.ids[i]);
      EXPECT_EQ(got.ids.front(), c["argmax"].get<int32_t>());
      EXPECT_TRUE(row.sample != 0 || got.token == c["argmax"].get<int32_t>());
      std::ranges::sort(kept);
      if (c["ties"] && row.sample != 0 &&
          row.top_p < 1.0f) {  // which of equal scores stay is open there: compare the scores
        std::vector<float> mine, theirs;
        for (int32_t id : kept) mine.push_back(c["logits"][static_cast<size_t>(id)]);
        for (int32_t id : allowed) theirs.push_back(c["logits"][static_cast<size_t>(id)]);
        std::ranges::sort(mine);
        std::ranges::sort(theirs);
        ASSERT_EQ(mine, theirs);
        continue;
      }
      ASSERT_EQ(kept, allowed);
      EXPECT_TRUE(std::ranges::count(allowed, got.token) == 1);
      for (size_t i = 0; i < allowed.size(); ++i) {
        const auto at = static_cast<size_t>(std::ranges::find(got.ids, allowed[i]) - got.ids.begin());
        EXPECT_NEAR(got.logprobs[at], logprobs[i], 2e-5 + 1e-6 * std::abs(logprobs[i])) << "id " << allowed[i];
        EXPECT_TRUE(got.token != allowed[i] || got.logprob == got.logprobs[at]);
      }
    }
}

// Pearson's test: with n draws over k cells the statistic is above k - 1 + 5 sqrt(2 (k - 1)) in far fewer than one run
// of a hundred thousand; the draws here are fixed, so it either always passes or never.
TEST(Selection, DrawsFollowTheProbabilities) {
  const std::vector<float> logits = {0.5f, -1.0f, 2.0f, 1.0f, 0.0f, -0.3f, 1.7f, -2.0f, 0.9f, 0.2f};
  for (const auto& home : every_home())
    for (int32_t top_k : {0, 6}) {
      SelectionRow row{.length = 1, .generated = 1, .sample = 1, .top_k = top_k, .temperature = 1.3f};
      const Choice shape = choose(home->ops(), row, logits, {0});
      constexpr int kDraws = 20000;
      std::vector<double> counts(logits.size());
      for (int i = 0; i < kDraws; ++i) {
        row.seed = static_cast<uint64_t>(i / 4) * 0x9E3779B97F4A7C15u;
        row.generated = i % 4;
        row.length = row.generated;
        ++counts[static_cast<size_t>(
            choose(home->ops(), row, logits, std::vector<int32_t>(static_cast<size_t>(row.length))).token)];
      }
      double statistic = 0.0, cells = 0.0;
      for (size_t i = 0; i < shape.ids.size(); ++i) {
        const double expected = kDraws * std::exp(static_cast<double>(shape.logprobs[i]));
        const double seen = counts[static_cast<size_t>(shape.ids[i])];
        if (expected == 0.0) {
          EXPECT_EQ(seen, 0.0) << "a removed id was drawn";
          continue;
        }
        statistic += (seen - expected) * (seen - expected) / expected;
        ++cells;
      }
      EXPECT_LT(statistic, cells - 1 + 5 * std::sqrt(2 * (cells - 1))) << home->name() << " top_k " << top_k;
    }
}

TEST(Selection, ADrawDependsOnSeedAndPlaceOnly) {
  const auto home = reference_home();
  std::vector<float> logits(1000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = std::sin(static_cast<float>(i));
  std::vector<int32_t> tokens;
  for (uint64_t seed : {uint64_t{1}, uint64_t{2}, uint64_t{1} << 40})
    for (int32_t generated : {0, 1, 2}) {
      const SelectionRow row{.length = generated, .generated = generated, .sample = 1, .seed = seed};
      const std::vector<int32_t> history(static_cast<size_t>(generated));
      tokens.push_back(choose(home->ops(), row, logits, history).token);
      EXPECT_EQ(choose(home->ops(), row, logits, history).token, tokens.back());
    }
  std::ranges::sort(tokens);
  EXPECT_GE(std::unique(tokens.begin(), tokens.end()) - tokens.begin(), 7) << "streams and places must differ";
}

// Known answers of the generator's authors (Random123, kat_vectors: philox4x32 10).
TEST(Selection, PhiloxMatchesItsAuthors) {
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Selection, PenaltiesCountGeneratedIds) {
  for (const auto& home : every_home()) {
    const SelectionRow row{.length = 6, .generated = 4, .frequency_penalty = 0.5f, .presence_penalty = 0.25f};
    const Choice got = choose(home->ops(), row, {3.0f, 3.0f, 3.0f, 3.0f}, {0, 1, 1, 2, 1, 2});
    // Generated: 1, 2, 1, 2. Only in the prompt: 0. Scores: 3, 3 - 2·0.5 - 0.25, the same, 3.
    EXPECT_EQ(got.ids, (std::vector<int32_t>{0, 3, 1, 2})) << home->name();
    EXPECT_NEAR(got.logprobs[0] - got.logprobs[2], 1.25, 1e-6);
    EXPECT_EQ(got.token, 0);
  }
}

TEST(Selection, NothingToChooseIsTokenZeroWithNaN) {
  for (const auto& home : every_home())
    for (int32_t sample : {0, 1}) {
      const Choice got = choose(home->ops(), {.sample = sample, .top_k = 3}, {NAN, -HUGE_VALF, NAN}, {});
      EXPECT_EQ(got.token, 0) << home->name();
      EXPECT_TRUE(std::isnan(got.logprob)) << home->name();
    }
}

}  // namespace
}  // namespace inazuma::testing
