// The JSON of the edge: what is written, what is read, and what is said about bodies that are wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "frontends/json.h"

namespace inazuma {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string text_of(std::string_view value) {
  return std::move(JsonWriter().text(value)).take();
}
template <class T>
std::string number_of(T value) {
  return std::move(JsonWriter().number(value)).take();
}

Status read(std::string_view body) {
  return capture([&] { JsonDocument document(body); });
}

TEST(JsonWriter, PlacesCommas) {
  JsonWriter json;
  json.begin_object()
      .key("a")
      .begin_array()
      .number(int64_t{1})
      .null()
      .boolean(true)
      .begin_array()
      .end_array()
      .end_array();
  json.key("b").begin_object().end_object().key("c").text("x").key("d").number_u64(18446744073709551615u).end_object();
  EXPECT_EQ(std::move(json).take(), R"({"a":[1,null,true,[]],"b":{},"c":"x","d":18446744073709551615})");
}

TEST(JsonWriter, EscapesWhatJsonForbidsAndNothingElse) {
  EXPECT_EQ(text_of("\"\\/\n\r\t\b\f"), R"("\"\\/\n\r\t\b\f")");
  EXPECT_EQ(text_of(std::string_view("\0\x1f\x7f", 3)), R"("\u0000\u001f\u007f")");
  EXPECT_EQ(text_of("東京タワー ﾃｽﾄ 👩‍👩‍👧 か\u3099 é"),
            "\"東京タワー ﾃｽﾄ 👩‍👩‍👧 か\u3099 é\"");
}

TEST(JsonWriter, ReplacesBrokenUtf8AsPythonDoes) {
  EXPECT_EQ(text_of("a\xff"
                    "b"),
            "\"a\ufffdb\"");
  EXPECT_EQ(text_of("\xe3\x81"), "\"\ufffd\"");
  EXPECT_EQ(text_of("\xed\xa0\x80"), "\"\ufffd\ufffd\ufffd\"");
  EXPECT_EQ(text_of("\xc0\xaf"), "\"\ufffd\ufffd\"");
  EXPECT_EQ(text_of("\xf0\x9f\x91x"), "\"\ufffdx\"");
}

TEST(JsonWriter, EveryStringItWritesReadsBack) {
  std::mt19937 random(7);
  const std::vector<std::string> parts = {"a",
                                          "\"",
                                          "\\",
                                          "\n",
                                          "\x01",
                                          "東",
                                          "👨‍👩‍👦",
                                          "ﾊﾟ",
                                          "\u0301",
                                          "\u2028",
                                          "\x7f",
                                          std::string(1, '\0')};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (size_t i = random() % 20; i > 0; --i) text += parts[random() % parts.size()];
    const JsonDocument document(text_of(text));
    ASSERT_EQ(std::string(document.root().get_string().value()), text);
  }
}

TEST(JsonWriter, FloatsAreTheShortestThatReadBack) {
  EXPECT_EQ(number_of(0.1f), "0.1");
  EXPECT_EQ(number_of(0.99f), "0.99");
  EXPECT_EQ(number_of(1.0f), "1");
  EXPECT_EQ(number_of(-0.0f), "-0");
  EXPECT_EQ(number_of(0.1), "0.1");
  EXPECT_EQ(number_of(std::numeric_limits<float>::quiet_NaN()), "null");
  EXPECT_EQ(number_of(-std::numeric_limits<float>::infinity()), "null");
  EXPECT_EQ(number_of(std::numeric_limits<double>::infinity()), "null");
  std::mt19937 random(11);
  for (int round = 0; round < 200000; ++round) {
    const auto value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isfinite(value)) continue;
    const std::string written = number_of(value);
    ASSERT_EQ(std::bit_cast<uint32_t>(std::strtof(written.c_str(), nullptr)), std::bit_cast<uint32_t>(value))
        << written;
    ASSERT_LE(written.size(), 15u) << written;  // nine digits, sign, point, exponent
    if (round % 50 == 0) {
      const JsonDocument document(written);
      ASSERT_EQ(static_cast<float>(document.root().get_double().value()), value) << written;
    }
  }
}

TEST(JsonDocument, SaysWhatIsWrong) {
  const auto expect = [](std::string_view body, const char* part) {
    const Status status = read(body);
    EXPECT_EQ(status.code(), StatusCode::malformed) << body.substr(0, 60);
    EXPECT_THAT(status.message(), HasSubstr(part));
  };
  expect("", "empty");
  expect(" \t\r\n", "empty");
  expect("{", "not valid JSON");
  expect("{} {}", "not valid JSON");
  expect("{'a': 1}", "not valid JSON");
  expect(R"({"a": NaN})", "not valid JSON");
  expect(R"({"a": 99999999999999999999})", "number");
  expect(R"({"a": 1,})", "not valid JSON");
  expect(R"({"a": "\ud800"})", "not valid JSON: a string holds an escape");
  expect(R"({"a": "C:\quux"})", "not valid JSON: a string holds an escape");
  expect("{\"a\": \"\x01\"}", "not valid JSON");
  expect("{\"a\": \"\xff\"}", "UTF-8");
  expect("\xef\xbb\xbf\xff", "UTF-8");
}

TEST(JsonDocument, RefusesRepeatedKeysAndNamesThem) {
  EXPECT_THAT(read(R"({"a": 1, "a": 1})").message(), HasSubstr("'a'"));
  EXPECT_THAT(read(R"({"parameters": {"x": [{"top_k": 1, "top_k": 2}]}})").message(), HasSubstr("parameters.x.top_k"));
  EXPECT_THAT(read(R"({"a": 1, "\u0061": 1})").message(), HasSubstr("repeats"));
  EXPECT_TRUE(read(R"({"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 1}]})").ok());
}

TEST(JsonDocument, BoundsDepth) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(read(nested(99)).ok());
  const Status status = read(nested(101));
  EXPECT_EQ(status.code(), StatusCode::malformed);
  EXPECT_THAT(status.message(), HasSubstr("100"));
  EXPECT_EQ(read(std::string(1000000, '[')).code(), StatusCode::malformed);
  EXPECT_EQ(read(nested(5000) + std::string(100000, ' ')).code(), StatusCode::malformed);
}

// One long key over many fields must not be copied for each of them.
TEST(JsonDocument, LongKeysCostOnce) {
  std::string body = "{\"" + std::string(1000000, 'k') + "\": {";
  for (int i = 0; i < 100000; ++i) body += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":0";
  body += "}}";
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(read(body).ok());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

class FieldsTest : public testing::Test {
 protected:
  Status status(std::string_view body, const std::function<void(JsonFields&)>& use) {
    return capture([&] {
      const JsonDocument document(body);
      JsonFields fields(document.root(), "parameters.");
      use(fields);
    });
  }
  void expect_invalid(std::string_view body, const std::function<void(JsonFields&)>& use, const std::string& sentence) {
    const Status got = status(body, use);
    EXPECT_EQ(got.code(), StatusCode::invalid) << got.message();
    EXPECT_EQ(got.message(), sentence);
  }
};

TEST_F(FieldsTest, ReadTypes) {
  const JsonDocument document(
      R"({"s":"あ","b":false,"i":-3,"u":18446744073709551615,"r":0.5,"n":null,"l":["a","b"],"whole":2})");
  JsonFields fields(document.root());
  EXPECT_EQ(fields.text("s"), "あ");
  EXPECT_EQ(fields.boolean("b"), false);
  EXPECT_EQ(fields.integer("i", -3, 0), -3);
  EXPECT_EQ(fields.unsigned64("u"), 18446744073709551615u);
  EXPECT_EQ(fields.real("r"), 0.5f);
  EXPECT_EQ(fields.real("whole"), 2.0f);
  EXPECT_EQ(fields.text("n"), std::nullopt);
  EXPECT_EQ(fields.text("absent"), std::nullopt);
  EXPECT_THAT(*fields.texts("l"), ElementsAre("a", "b"));
  EXPECT_THAT(*fields.texts("s"), ElementsAre("あ"));
  EXPECT_THAT(fields.unknown(), IsEmpty());
}

TEST_F(FieldsTest, NameFieldValueAndRange) {
  expect_invalid(R"({"top_k": -1})", [](JsonFields& f) { f.integer("top_k", 1, 9); },
                 "parameters.top_k is -1, must be an integer in [1, 9]");
  expect_invalid(R"({"top_k": 10})", [](JsonFields& f) { f.integer("top_k", 1, 9); },
                 "parameters.top_k is 10, must be an integer in [1, 9]");
  expect_invalid(R"({"top_k": 1.5})", [](JsonFields& f) { f.integer("top_k", 1, 9); },
                 "parameters.top_k is 1.5, must be an integer in [1, 9]");
  expect_invalid(R"({"top_k": true})", [](JsonFields& f) { f.integer("top_k", 1, 9); },
                 "parameters.top_k is true, must be an integer in [1, 9]");
  expect_invalid(R"({"seed": -1})", [](JsonFields& f) { f.unsigned64("seed"); },
                 "parameters.seed is -1, must be an integer in [0, 18446744073709551615]");
  expect_invalid(R"({"top_p": "0.5"})", [](JsonFields& f) { f.real("top_p"); },
                 "parameters.top_p is '0.5', must be a number");
  expect_invalid(R"({"top_p": 1e300})", [](JsonFields& f) { f.real("top_p"); },
                 "parameters.top_p is 1e+300, must be a number that fits float32");
  expect_invalid(R"({"details": 1})", [](JsonFields& f) { f.boolean("details"); },
                 "parameters.details is 1, must be true or false");
  expect_invalid(R"({"stop": ["a", {}]})", [](JsonFields& f) { f.texts("stop"); },
                 "parameters.stop is an object, must be a string or an array of strings");
  expect_invalid(R"({"s": []})", [](JsonFields& f) { f.text("s"); }, "parameters.s is an array, must be a string");
}

TEST_F(FieldsTest, ShowHostileValuesShortAndEscaped) {
  const Status got =
      status("{\"top_p\": \"\\u001b[31m" + std::string(5000, 'x') + "\"}", [](JsonFields& f) { f.real("top_p"); });
  EXPECT_LT(got.message().size(), 200u);
  EXPECT_EQ(got.message().find('\x1b'), std::string::npos);
}

TEST_F(FieldsTest, OnlyObjectsHaveFields) {
  const auto none = [](JsonFields&) {};
  EXPECT_EQ(status("[1]", none).code(), StatusCode::invalid);
  EXPECT_EQ(capture([] { JsonFields(JsonDocument("[1]").root()); }).code(), StatusCode::malformed);
  EXPECT_EQ(status("3", none).code(), StatusCode::invalid);
  EXPECT_THAT(status("3", none).message(), HasSubstr("parameters must be a JSON object, is 3"));
}

TEST_F(FieldsTest, TellWhatNobodyAskedFor) {
  const JsonDocument document(R"({"top_k": 1, "max_new_token": 3, "x": 0})");
  JsonFields fields(document.root());
  (void)fields.integer("top_k", 0, 9);
  (void)fields.integer("max_new_tokens", 0, 9);
  EXPECT_THAT(fields.unknown(), ElementsAre("max_new_token", "x"));
  EXPECT_EQ(nearest("max_new_token", fields.known()), "max_new_tokens");
  EXPECT_EQ(nearest("temprature", {"top_k", "temperature", "top_p"}), "temperature");
  EXPECT_EQ(nearest("completely_other", fields.known()), std::nullopt);
}

TEST_F(FieldsTest, AHugeNameIsNoSlip) {
  const std::vector<std::string> known(100, "repetition_penalty");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(nearest(std::string(2000000, 'r'), known), std::nullopt);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(200));
}

}  // namespace
}  // namespace inazuma
