// Bans against transformers (data/bans.json, made by make_ban_cases.py), and the rest of the rules by hand.
#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

namespace inazuma {
namespace {

constexpr int kVocab = 12;

Sequence row_of(std::vector<int32_t> history, int generated = 0) {
  Sequence row;
  row.generated = generated;
  row.prompt = static_cast<int>(history.size()) - generated;
  row.history = std::move(history);
  return row;
}

std::set<int32_t> bans_of(const Sequence& row) {
  std::vector<int32_t> bans = {-7};  // another row's
  append_bans(row, kVocab, bans);
  EXPECT_EQ(bans.front(), -7);
  return {bans.begin() + 1, bans.end()};
}

TEST(Sampler, BansWhatTransformersBans) {
  std::ifstream file(INAZUMA_SOURCE_DIR "/tests/engine/data/bans.json");
  const nlohmann::json cases = nlohmann::json::parse(file);
  ASSERT_GE(cases.size(), 400u);
  size_t with_bans = 0;
  for (const auto& c : cases) {
    Sequence row = row_of(c["history"].get<std::vector<int32_t>>());
    GenerationOptions& g = row.request.generation;
    g.eos = c["eos"].get<std::vector<int32_t>>();
    g.no_repeat_ngram = c["no_repeat_ngram"].get<int>();
    g.bad_words = c["bad_words"].get<std::vector<std::vector<int32_t>>>();
    g.suppress = c["suppress"].get<std::vector<int32_t>>();
    const auto expected = c["banned"].get<std::set<int32_t>>();
    with_bans += !expected.empty();
    EXPECT_EQ(bans_of(row), expected) << c.dump();
  }
  EXPECT_GT(with_bans, 100u);
}

TEST(Sampler, ForcedTokensBanAllOthers) {
  Sequence row = row_of({3});
  row.request.generation.forced_bos = 5;
  row.request.generation.suppress = {5};
  std::set<int32_t> others;
  for (int32_t id = 0; id < kVocab; ++id)
    if (id != 5) others.insert(id);
  EXPECT_EQ(bans_of(row), others);
  EXPECT_FALSE(forced_token(row_of({3, 4})));
}

TEST(Sampler, TheLastPlaceIsTheForcedEnds) {
  Sequence row = row_of({3, 4, 5}, 2);
  row.request.generation.max_new_tokens = 3;
  row.request.generation.forced_eos = 2;
  EXPECT_EQ(forced_token(row), 2);
  row.request.generation.max_new_tokens = 4;
  EXPECT_EQ(forced_token(row), std::nullopt);
  row = row_of({3});
  row.request.generation.forced_bos = 5;
  row.request.generation.forced_eos = 2;
  row.request.generation.max_new_tokens = 1;
  EXPECT_EQ(forced_token(row), 2);  // transformers applies the end after the begin
}

TEST(Sampler, SelectionRowCarriesTheOptions) {
  Sequence row = row_of({3, 4, 5, 6}, 1);
  row.slot = 9;
  GenerationOptions& g = row.request.generation;
  g = {.max_new_tokens = 8,
       .min_new_tokens = 3,
       .eos = {1, 2},
       .sample = true,
       .temperature = 0.5f,
       .top_k = 4,
       .top_p = 0.8f,
       .min_p = 0.1f,
       .typical_p = 0.9f,
       .repetition_penalty = 1.1f,
       .frequency_penalty = 0.2f,
       .presence_penalty = 0.3f,
       .seed = 77};
  const SelectionRow out = selection_row(row, 10, 12);
  EXPECT_EQ(out.slot, 9);
  EXPECT_EQ(out.length, 4);
  EXPECT_EQ(out.generated, 1);
  EXPECT_EQ(out.min_new_tokens, 3);
  EXPECT_EQ(out.eos_count, 2);
  EXPECT_EQ(out.eos[1], 2);
  EXPECT_EQ(out.ban_begin, 10);
  EXPECT_EQ(out.ban_end, 12);
  EXPECT_EQ(out.sample, 1);
  EXPECT_EQ(out.top_k, 4);
  EXPECT_EQ(out.temperature, 0.5f);
  EXPECT_EQ(out.top_p, 0.8f);
  EXPECT_EQ(out.min_p, 0.1f);
  EXPECT_EQ(out.typical_p, 0.9f);
  EXPECT_EQ(out.repetition_penalty, 1.1f);
  EXPECT_EQ(out.frequency_penalty, 0.2f);
  EXPECT_EQ(out.presence_penalty, 0.3f);
  EXPECT_EQ(out.seed, 77u);
  g.ignore_eos = true;
  EXPECT_EQ(selection_row(row, 0, 0).eos_count, 0);
}

TEST(Sampler, EndsAtAnyEndTokenOrTheLength) {
  Sequence row = row_of({3, 4}, 1);
  GenerationOptions& g = row.request.generation;
  g.max_new_tokens = 2;
  g.eos = {1, 4};
  EXPECT_EQ(finish_reason(row, 4), FinishReason::eos);
  EXPECT_EQ(finish_reason(row, 5), std::nullopt);
  g.ignore_eos = true;
  EXPECT_EQ(finish_reason(row, 4), std::nullopt);
  row.told = 2;
  EXPECT_EQ(finish_reason(row, 4), FinishReason::length);
}

}  // namespace
}  // namespace inazuma
