#include "text/detokenizer.h"

#include <gtest/gtest.h>

#include <random>

#include "text/golden_records.h"
#include "text/unicode.h"

namespace inazuma {
namespace {

/// Streams ids and checks every promise of Detokenizer; returns the whole text.
std::string stream(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip) {
  Detokenizer detokenizer(tokenizer, skip);
  std::string all;
  for (int32_t id : ids) {
    const std::string piece = detokenizer.push(id);
    EXPECT_EQ(replace_ill_formed(piece), piece) << "a piece ends inside a character";
    all += piece;
  }
  return all + detokenizer.finish();
}

class StreamedDecode : public testing::TestWithParam<std::string> {};

TEST_P(StreamedDecode, EqualsDecodeOfTheWhole) {
  auto loaded = load_tokenizer(golden::data_directory() / GetParam());
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  const Tokenizer& tokenizer = **loaded;

  std::vector<int32_t> joined;  // many texts in a row: long streams of real ids
  auto check = [&](const std::vector<int32_t>& ids) {
    for (bool skip : {true, false}) {
      ASSERT_EQ(stream(tokenizer, ids, skip), tokenizer.decode(ids, skip))
          << testing::PrintToString(ids) << " skip " << skip;
    }
  };
  golden::for_each_record(GetParam(), [&](const nlohmann::json& record) {
    if (HasFatalFailure()) return;
    const std::vector<int32_t> ids = record.contains("r") ? record["r"] : record["i"];
    joined.insert(joined.end(), ids.begin(), ids.end());
    check(ids);
    if (joined.size() < 400) return;
    check(joined);
    joined.clear();
  });

  std::mt19937 random(11);
  for (int round = 0; round < 60; ++round) {  // random ids: broken characters, special tokens anywhere
    std::vector<int32_t> ids(1 + random() % 300);
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<uint32_t>(tokenizer.vocab_size()));
    ASSERT_NO_FATAL_FAILURE(check(ids));
  }
}

/// As text-generation pipelines cut the prompt off: by the length of what it decodes to.
TEST_P(StreamedDecode, ShowsWhatFollowsAPrompt) {
  auto loaded = load_tokenizer(golden::data_directory() / GetParam());
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  const Tokenizer& tokenizer = **loaded;
  const std::string longer = "今日は東京でnew workをした。 They went home again, 明日も同じです。 ";
  for (const std::string& prompt :
       {std::string("a"), std::string("be cut "), std::string("tab\tand\nnewline\r\n"), std::string("日本語。\n\n"),
        std::string("it is \""), longer + longer + longer + "  "})
    for (const std::string next : {"new", " word", "。", "\n", "  ", "'s", "日本"}) {
      const auto first = tokenizer.encode(prompt, {.add_special_tokens = false});
      const auto second = tokenizer.encode(next, {.add_special_tokens = false});
      ASSERT_TRUE(first.ok() && second.ok());
      std::vector<int32_t> all = first->ids;
      all.insert(all.end(), second->ids.begin(), second->ids.end());
      Detokenizer detokenizer(tokenizer);
      detokenizer.prime(first->ids);
      std::string shown;
      for (int32_t id : second->ids) shown += detokenizer.push(id);
      shown += detokenizer.finish();
      const std::string whole = tokenizer.decode(all, true);
      const size_t before = std::min(tokenizer.decode(first->ids, true).size(), whole.size());
      EXPECT_EQ(shown, whole.substr(before)) << testing::PrintToString(prompt) << " + " << testing::PrintToString(next);
    }
}

INSTANTIATE_TEST_SUITE_P(Variants, StreamedDecode, testing::ValuesIn(golden::variants()), [](const auto& tested) {
  std::string name = tested.param;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
});

/// Counts how many ids are decoded.
class CountingTokenizer : public Tokenizer {
 public:
  explicit CountingTokenizer(const Tokenizer& inner) : inner_(inner) {}
  Result<Encoding> encode(std::string_view text, const EncodeOptions& options) const override {
    return inner_.encode(text, options);
  }
  Result<Encoding> encode_pair(std::string_view a, std::string_view b, const EncodeOptions& options) const override {
    return inner_.encode_pair(a, b, options);
  }
  std::string decode(std::span<const int32_t> ids, bool skip) const override {
    decoded_ += ids.size();
    return inner_.decode(ids, skip);
  }
  std::optional<std::string> token(int32_t id) const override { return inner_.token(id); }
  std::optional<int32_t> id(std::string_view token) const override { return inner_.id(token); }
  bool is_special(int32_t id) const override { return inner_.is_special(id); }
  int32_t vocab_size() const override { return inner_.vocab_size(); }
  const SpecialTokens& special_tokens() const override { return inner_.special_tokens(); }
  int32_t added_tokens(bool pair) const override { return inner_.added_tokens(pair); }
  Encoding build(const Encoding& first, const Encoding* second) const override { return inner_.build(first, second); }
  int32_t model_max_length() const override { return inner_.model_max_length(); }
  std::string_view continuing_prefix() const override { return inner_.continuing_prefix(); }
  std::string description() const override { return inner_.description(); }
  size_t decoded() const { return decoded_; }

 private:
  const Tokenizer& inner_;
  mutable size_t decoded_ = 0;
};

TEST_P(StreamedDecode, IsLinear) {
  auto loaded = load_tokenizer(golden::data_directory() / GetParam());
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  CountingTokenizer tokenizer(**loaded);
  auto encoding = tokenizer.encode("今日は東京でnew workをした。 They went home again, 明日も同じです。",
                                   {.add_special_tokens = false});
  ASSERT_TRUE(encoding.ok());
  ASSERT_GT(encoding->size(), 0u);
  Detokenizer detokenizer(tokenizer);
  std::vector<int32_t> ids;
  std::string all;
  for (size_t i = 0; i < 6000; ++i) {
    ids.push_back(encoding->ids[i % encoding->size()]);
    all += detokenizer.push(ids.back());
  }
  EXPECT_LT(tokenizer.decoded(), ids.size() * 200) << "the window does not stay short";
  EXPECT_EQ(all + detokenizer.finish(), tokenizer.decode(ids, true));
}

struct Watched {
  std::string shown;
  bool matched = false;
};

Watched watch(const std::vector<std::string>& stops, const std::string& text, size_t step) {
  StopMatcher matcher(stops);
  Watched result;
  for (size_t at = 0; at < text.size(); at += step) {
    result.shown += matcher.push(std::string_view(text).substr(at, step));
    for (const std::string& stop : stops) EXPECT_TRUE(stop.empty() || result.shown.find(stop) == std::string::npos);
  }
  result.matched = matcher.matched();
  if (!result.matched) result.shown += matcher.finish();
  return result;
}

TEST(StopMatcher, CutsBeforeTheStopHoweverTheTextIsCut) {
  const std::string text = "ab</s>今日は。\n\nQ: はい。END。";
  struct Case {
    std::vector<std::string> stops;
    std::string shown;
    bool matched;
  };
  const std::vector<Case> cases = {{{"</s>"}, "ab", true},
                                   {{"。\n\n", "Q:"}, "ab</s>今日は", true},
                                   {{"END?", "ENDE", ""}, text, false},
                                   {{"今日", "日は"}, "ab</s>", true},
                                   {{"</s>今日x", "s>"}, "ab</", true},
                                   {{}, text, false},
                                   {{"END。"}, "ab</s>今日は。\n\nQ: はい。", true},
                                   {{"今日は", "は"}, "ab</s>", true}};
  for (const Case& c : cases) {
    for (size_t step : {1, 2, 3, 5, 100}) {
      const Watched got = watch(c.stops, text, step);
      EXPECT_EQ(got.shown, c.shown) << testing::PrintToString(c.stops) << " step " << step;
      EXPECT_EQ(got.matched, c.matched);
    }
  }
}

TEST(StopMatcher, ShowsNothingAfterAMatch) {
  StopMatcher matcher({"x"});
  EXPECT_EQ(matcher.push("abxcd"), "ab");
  EXPECT_EQ(matcher.push("ef"), "");
  EXPECT_EQ(matcher.finish(), "");
}

}  // namespace
}  // namespace inazuma
