// Decoders and encoder-decoders against transformers: prefill whole and in chunks, decoding, and every mixture of
// lanes.

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "golden/driver.h"
#include "golden/golden_case.h"
#include "golden/greedy.h"

namespace inazuma::golden {
namespace {

std::vector<std::string> decoder_cases() {
  std::vector<std::string> names = case_names();
  std::erase_if(names, [](const std::string& name) { return golden_case(name).kind == "encoder"; });
  return names;
}

class DecoderGolden : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  const GoldenCase& golden_ = golden_case(std::get<0>(GetParam()));
  Ops& ops_ = home(std::get<1>(GetParam()));
  std::shared_ptr<const Model> model_ = load(golden_, ops_);
  Driver driver_{ops_, *model_};

  bool has_source() const { return model_->info().has_encoder; }
  /// The decoder side of a sequence: a prompt, or the targets that a source is scored with.
  const std::vector<int>& text(size_t i) const {
    return has_source() ? golden_.sequences[i].targets : golden_.sequences[i].ids;
  }
  void read_source(int sequence, size_t i, std::vector<Encode>& encodes) const {
    if (has_source()) encodes.push_back({.ids = golden_.sequences[i].ids, .sequence = sequence, .pooled = false});
  }
  void expect_logits(const std::vector<float>& actual, size_t i) const {
    const std::string key = "logits." + std::to_string(i);
    expect_near(actual, golden_.expected.at(key), key, ops_.compute_dtype());
  }

  std::vector<float> alone(size_t i) {
    const int sequence = driver_.open();
    std::vector<Encode> encodes;
    read_source(sequence, i, encodes);
    return driver_.step(encodes, {{.sequence = sequence, .ids = text(i)}}).logits[0];
  }

  /// Every sequence in steps of `chunk` ids, the sources read in the step of the first chunk, sequence i joining at
  /// step i · `stagger`: lanes hold sequences at different places. Logits of all rows per sequence.
  std::vector<std::vector<float>> in_chunks(size_t chunk, size_t stagger) {
    const size_t count = golden_.sequences.size();
    std::vector<std::vector<float>> logits(count);
    std::vector<size_t> done(count, 0);
    std::vector<int> sequences;
    for (size_t i = 0; i < count; ++i) sequences.push_back(driver_.open());
    for (size_t step = 0;; ++step) {
      std::vector<Encode> encodes;
      std::vector<Decode> decodes;
      std::vector<size_t> who;
      for (size_t i = 0; i < count; ++i) {
        if (step < i * stagger || done[i] == text(i).size()) continue;
        if (done[i] == 0) read_source(sequences[i], i, encodes);
        const size_t end = std::min(done[i] + chunk, text(i).size());
        const auto begin = text(i).begin();
        decodes.push_back(
            {.sequence = sequences[i],
             .ids = {begin + static_cast<std::ptrdiff_t>(done[i]), begin + static_cast<std::ptrdiff_t>(end)}});
        who.push_back(i);
        done[i] = end;
      }
      if (decodes.empty() && step >= count * stagger) return logits;
      const StepOutput out = driver_.step(encodes, decodes);
      for (size_t k = 0; k < who.size(); ++k) {
        logits[who[k]].insert(logits[who[k]].end(), out.logits[k].begin(), out.logits[k].end());
      }
    }
  }

  void expect_all(const std::vector<std::vector<float>>& logits) const {
    for (size_t i = 0; i < logits.size(); ++i) expect_logits(logits[i], i);
  }
};

TEST_P(DecoderGolden, WholePrefillAsTransformers) {
  for (size_t i = 0; i < golden_.sequences.size(); ++i) expect_logits(alone(i), i);
}

TEST_P(DecoderGolden, TogetherAsTransformers) {
  expect_all(in_chunks(1000, 0));
}

TEST_P(DecoderGolden, OneByOneAsTransformers) {
  expect_all(in_chunks(1, 0));
}

TEST_P(DecoderGolden, InChunksOfThreeAsTransformers) {
  expect_all(in_chunks(3, 0));
}

TEST_P(DecoderGolden, StaggeredChunksAsTransformers) {
  expect_all(in_chunks(7, 1));
  expect_all(in_chunks(2, 2));
}

TEST_P(DecoderGolden, PrefillBesideDecodingAsTransformers) {
  // The longest text is decoded one id a step; one other text is prefilled whole beside each of its first steps.
  const size_t count = golden_.sequences.size();
  size_t longest = 0;
  for (size_t i = 0; i < count; ++i) longest = text(i).size() > text(longest).size() ? i : longest;
  const int slow = driver_.open();
  std::vector<float> logits;
  for (size_t step = 0; step < text(longest).size(); ++step) {
    std::vector<Encode> encodes;
    std::vector<Decode> decodes;
    if (step == 0) read_source(slow, longest, encodes);
    const bool joined = step < count && step != longest;
    if (joined) {
      const int sequence = driver_.open();
      read_source(sequence, step, encodes);
      decodes.push_back({.sequence = sequence, .ids = text(step)});
    }
    decodes.push_back({.sequence = slow, .ids = {text(longest)[step]}});
    const StepOutput out = driver_.step(encodes, decodes);
    if (joined) expect_logits(out.logits[0], step);
    logits.insert(logits.end(), out.logits.back().begin(), out.logits.back().end());
  }
  expect_logits(logits, longest);
}

TEST_P(DecoderGolden, NeighboursChangeNoBit) {
  if (std::get<1>(GetParam()).starts_with("cuda")) GTEST_SKIP() << "products choose their order by size there";
  const std::vector<std::vector<float>> together = in_chunks(1000, 0);
  for (size_t i = 0; i < golden_.sequences.size(); ++i) EXPECT_EQ(alone(i), together[i]) << "sequence " << i;
  // Neither do company and place in the pool while decoding.
  const std::vector<std::vector<float>> decoded = in_chunks(1, 0);
  EXPECT_EQ(in_chunks(1, 3), decoded);
}

TEST_P(DecoderGolden, LogitsOnlyWhereWanted) {
  const size_t last = golden_.sequences.size() - 1;
  const int sequence = driver_.open();
  std::vector<Encode> encodes;
  read_source(sequence, last, encodes);
  std::vector<int> head = text(last);
  const int tail = head.back();
  head.pop_back();
  ASSERT_FALSE(head.empty());
  const StepOutput silent = driver_.step(encodes, {{.sequence = sequence, .ids = head, .want = Decode::Want::none}});
  EXPECT_FALSE(silent.device.logits.defined());
  const StepOutput out = driver_.step({}, {{.sequence = sequence, .ids = {tail}, .want = Decode::Want::last}});
  const Expected& all = golden_.expected.at("logits." + std::to_string(last));
  const Expected row{.values = {all.values.end() - all.cols, all.values.end()},
                     .cols = all.cols,
                     .tolerance = all.tolerance,
                     .noise = all.noise};
  expect_near(out.logits[0], row, "last row", ops_.compute_dtype());
}

TEST_P(DecoderGolden, GreedyTokensAsGenerate) {
  ASSERT_GE(golden_.generations.size(), 5u);
  for (const Generation& generation : golden_.generations) {
    const std::vector<std::vector<int>> alone = greedy(ops_, *model_, golden_, {&generation, 1}, {});
    expect_tokens(alone[0], generation, golden_, ops_, "prompt " + std::to_string(generation.prompt));
  }
}

TEST_P(DecoderGolden, GreedyTokensInCompanyAsGenerate) {
  for (const GreedySchedule& schedule :
       {GreedySchedule{.chunk = 1000, .stagger = 0}, GreedySchedule{.chunk = 3, .stagger = 5}}) {
    const std::vector<std::vector<int>> tokens = greedy(ops_, *model_, golden_, golden_.generations, schedule);
    for (size_t i = 0; i < tokens.size(); ++i) {
      const std::string what = "generation " + std::to_string(i) + ", chunks of " + std::to_string(schedule.chunk);
      expect_tokens(tokens[i], golden_.generations[i], golden_, ops_, what);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, DecoderGolden,
                         testing::Combine(testing::ValuesIn(decoder_cases()), testing::ValuesIn(home_names())),
                         [](const auto& test) {
                           return printable(std::get<0>(test.param) + "__" + std::get<1>(test.param));
                         });

}  // namespace
}  // namespace inazuma::golden
