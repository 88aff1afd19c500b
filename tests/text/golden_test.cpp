// Every tokenizer directory under tests/text/data against what the real libraries answered.
#include <gtest/gtest.h>

#include "text/golden_records.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace inazuma {
namespace {

using nlohmann::json;

EncodeOptions options_of(const json& record) {
  EncodeOptions options;
  options.add_special_tokens = record.value("a", true);
  options.max_length = record.value("m", 0);
  options.truncation_side = record.value("l", false) ? TruncationSide::left : TruncationSide::right;
  options.split_special_tokens = record.value("p", false);
  return options;
}

/// "0110" as numbers; all zero when the record leaves it out.
std::vector<int32_t> digits(const json& record, const char* key, size_t size) {
  std::vector<int32_t> values(size, 0);
  if (!record.contains(key)) return values;
  const std::string text = record[key];
  for (size_t i = 0; i < std::min(size, text.size()); ++i) values[i] = text[i] - '0';
  return values;
}

/// The second text of a pair.
std::string second_of(const json& record) {
  return record.contains("c") ? golden::decode_base64(record["c"]) : std::string();
}

/// Start and end of each token, from what make_tokenizers.py writes of them.
std::vector<int32_t> offsets_of(const json& record) {
  auto values = record["o"].get<std::vector<int32_t>>();
  for (size_t i = 1; i < values.size(); ++i) values[i] += values[i - 1];
  return values;
}

std::vector<int32_t> words_of(const json& record) {
  auto values = record["w"].get<std::vector<int32_t>>();
  for (size_t i = 1; i < values.size(); ++i) values[i] += values[i - 1];
  return values;
}

/// "-00-11-": the sequence of each token.
std::vector<int32_t> sequences_of(const json& record, size_t size) {
  std::vector<int32_t> values = digits(record, "q", size);
  for (int32_t& value : values) value = value == '-' - '0' ? -1 : value;
  return values;
}

std::string shown_input(const json& record) {
  std::string shown = record.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 600);
  if (!record.contains("r")) shown += "\n  text: " + quoted(std::string_view(golden::text_of(record)), 300);
  return shown;
}

class GoldenTokenizer : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto loaded = load_tokenizer(golden::data_directory() / GetParam());
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    tokenizer_ = *loaded;
  }

  void check_encoding(const json& record) {
    const std::string text = golden::text_of(record);
    const std::string second = second_of(record);
    auto result = record.contains("c") ? tokenizer_->encode_pair(text, second, options_of(record))
                                       : tokenizer_->encode(text, options_of(record));
    ASSERT_TRUE(result.ok()) << result.status().message();
    const Encoding& got = *result;
    ASSERT_EQ(got.ids, record["i"].get<std::vector<int32_t>>());
    const size_t size = got.ids.size();
    ASSERT_EQ(got.offsets.size(), size);
    ASSERT_EQ(got.word.size(), size);
    ASSERT_EQ(got.sequence.size(), size);
    if (!record.contains("y") || record["y"].is_string()) {
      EXPECT_EQ(got.type_ids, digits(record, "y", size));
    }
    // T5Tokenizer adds no second eos after a typed one, but its mask says so: it is longer than the ids then.
    if (!record.contains("s") || record["s"].get<std::string>().size() == size) {
      EXPECT_EQ(std::vector<int32_t>(got.special.begin(), got.special.end()), digits(record, "s", size));
    }
    if (record.contains("o")) {
      std::vector<int32_t> flat;
      for (const TextSpan& span : got.offsets) flat.insert(flat.end(), {span.start, span.end});
      EXPECT_EQ(flat, offsets_of(record));
    }
    if (record.contains("w")) {
      EXPECT_EQ(got.word, words_of(record));
      EXPECT_EQ(got.sequence, sequences_of(record, size));
    }
    check_spans(got, text, second);
  }

  /// What holds for every tokenizer: spans lie inside their text.
  void check_spans(const Encoding& got, const std::string& first, const std::string& second) {
    const auto sizes = std::array{count_points(first), count_points(second)};
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_LE(0, got.offsets[i].start);
      EXPECT_LE(got.offsets[i].start, got.offsets[i].end);
      if (got.sequence[i] < 0) continue;
      EXPECT_LE(static_cast<size_t>(got.offsets[i].end), sizes.at(static_cast<size_t>(got.sequence[i])));
    }
  }

  void check_decoding(const json& record, const std::vector<int32_t>& ids) {
    EXPECT_EQ(tokenizer_->decode(ids, true), record["d"].get<std::string>());
    EXPECT_EQ(tokenizer_->decode(ids, false), record[record.contains("e") ? "e" : "d"].get<std::string>());
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
};

TEST_P(GoldenTokenizer, AnswersAsTheReference) {
  size_t records = 0;
  golden::for_each_record(GetParam(), [&](const json& record) {
    if (HasFailure()) return;  // one is enough to read
    ++records;
    SCOPED_TRACE(shown_input(record));
    if (record.contains("r")) {
      check_decoding(record, record["r"]);
    } else {
      check_encoding(record);
      check_decoding(record, record["i"]);
    }
  });
  EXPECT_GT(records, 100u);
}

INSTANTIATE_TEST_SUITE_P(Variants, GoldenTokenizer, testing::ValuesIn(golden::variants()), [](const auto& tested) {
  std::string name = tested.param;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
});

TEST(GoldenTokenizers, AreManyLines) {
  size_t records = 0;
  for (const std::string& variant : golden::variants()) {
    golden::for_each_record(variant, [&](const json&) { ++records; });
  }
  EXPECT_GE(golden::variants().size(), 10u);
  EXPECT_GE(records, 20000u);
}

}  // namespace
}  // namespace inazuma
