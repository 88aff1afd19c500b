// unicode.h against Python 3.11's str and unicodedata, over every code point.
#include "text/unicode.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <set>

#include "text/golden_records.h"

namespace inazuma {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 30> kNames = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                                     "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                                     "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};
constexpr char32_t kEnd = 0x110000;

template <class Visit>
void for_each_scalar(Visit&& visit) {
  for (char32_t point = 0; point < kEnd; ++point) {
    if (point < 0xD800 || point >= 0xE000) visit(point);
  }
}

const std::vector<json>& records() {
  static const std::vector<json> kAll = [] {
    std::vector<json> all;
    golden::for_each_record("unicode.jsonl.gz", [&](const json& record) { all.push_back(record); });
    return all;
  }();
  return kAll;
}

const json& table(const char* key) {
  for (const json& record : records()) {
    if (record.size() == 1 && record.contains(key)) return record[key];
  }
  throw std::runtime_error("no golden table");
}

std::map<char32_t, std::u32string> changes(const char* key) {
  std::map<char32_t, std::u32string> all;
  for (const auto& [point, text] : table(key).items()) {
    all[static_cast<char32_t>(std::stoul(point, nullptr, 16))] = decode_utf8(text.get<std::string>());
  }
  return all;
}

std::u32string lower(std::u32string_view text) {
  AlignedText aligned;
  aligned.points = text;
  aligned.source.resize(text.size());
  return python_lower(aligned).points;
}

TEST(Unicode, CategoriesArePythons) {
  const json& runs = table("categories");
  size_t run = 0;
  for_each_scalar([&](char32_t point) {
    while (run + 1 < runs.size() && runs[run + 1][0].get<char32_t>() <= point) ++run;
    ASSERT_EQ(kNames.at(static_cast<size_t>(category(point))), runs[run][1].get<std::string>()) << std::hex << +point;
  });
}

TEST(Unicode, SpacesArePythons) {
  std::set<char32_t> spaces;
  for (const json& point : table("spaces")) spaces.insert(point.get<char32_t>());
  for_each_scalar(
      [&](char32_t point) { ASSERT_EQ(is_python_space(point), spaces.contains(point)) << std::hex << +point; });
}

TEST(Unicode, LowerCaseIsPythons) {
  const auto expected = changes("lower");
  for_each_scalar([&](char32_t point) {
    auto found = expected.find(point);
    ASSERT_EQ(lower(std::u32string(1, point)), found == expected.end() ? std::u32string(1, point) : found->second);
  });
}

TEST(Unicode, NormalFormsOfEveryCodePointArePythons) {
  const std::map<const char*, NormalForm> forms = {
      {"nfc", NormalForm::nfc}, {"nfd", NormalForm::nfd}, {"nfkc", NormalForm::nfkc}, {"nfkd", NormalForm::nfkd}};
  for (const auto& [key, form] : forms) {
    const auto expected = changes(key);
    for_each_scalar([&, key = key, form = form](char32_t point) {
      auto found = expected.find(point);
      const std::u32string text(1, point);
      ASSERT_EQ(normalize(text, form), found == expected.end() ? text : found->second) << key << std::hex << +point;
    });
  }
}

TEST(Unicode, SequencesNormaliseAndLowerAsInPython) {
  size_t checked = 0;
  for (const json& record : records()) {
    if (!record.contains("t")) continue;
    const std::u32string text = decode_utf8(record["t"].get<std::string>());
    auto is = [&](const char* key) { return decode_utf8(record[key].get<std::string>()); };
    ASSERT_EQ(normalize(text, NormalForm::nfc), is("nfc")) << record;
    ASSERT_EQ(normalize(text, NormalForm::nfd), is("nfd")) << record;
    ASSERT_EQ(normalize(text, NormalForm::nfkc), is("nfkc")) << record;
    ASSERT_EQ(normalize(text, NormalForm::nfkd), is("nfkd")) << record;
    ASSERT_EQ(lower(text), is("lower")) << record;
    ++checked;
  }
  EXPECT_GE(checked, 6000u);
}

TEST(Unicode, BrokenBytesDecodeAsInPython) {
  size_t checked = 0;
  for (const json& record : records()) {
    if (!record.contains("bytes")) continue;
    const std::string bytes = golden::decode_base64(record["bytes"]);
    ASSERT_EQ(replace_ill_formed(bytes), record["decoded"].get<std::string>()) << record;
    const auto offsets = byte_offsets(bytes);
    ASSERT_EQ(offsets.size(), count_points(bytes) + 1);
    ASSERT_EQ(offsets.back(), bytes.size());
    ++checked;
  }
  EXPECT_GE(checked, 4000u);
}

TEST(Unicode, AlignmentSurvivesNormalisation) {
  // か + voiced mark, half-width ga, a ligature, an ideographic space
  const AlignedText text = decode_aligned("か\u3099ｶﾞﬁ\u3000x");
  const AlignedText normal = normalize(text, NormalForm::nfkc);
  EXPECT_EQ(encode_utf8(normal.points), "がガfi x");
  const std::vector<TextSpan> expected = {{0, 2}, {2, 4}, {4, 5}, {4, 5}, {5, 6}, {6, 7}};
  EXPECT_EQ(normal.source, expected);
  EXPECT_EQ(normal.span(0, 3), (TextSpan{0, 5}));
}

TEST(Unicode, GraphemesKeepEmojiSequencesWhole) {
  const std::u32string text = U"a\u0301👨\u200d👩\u200d👧🇯🇵🇫🇷か\u3099\r\n";
  EXPECT_EQ(grapheme_boundaries(text), (std::vector<size_t>{0, 2, 7, 9, 11, 13, 15}));
}

}  // namespace
}  // namespace inazuma
