// HTTP's small values: escapes, codings, statuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "frontends/errors.h"
#include "frontends/json.h"
#include "frontends/transport/compression.h"

namespace inazuma {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

TEST(PercentDecode, DecodesAndRefuses) {
  EXPECT_EQ(percent_decode("/a%2Fb%2e%E3%81%82+"), "/a/b.あ+");
  EXPECT_EQ(percent_decode("a+b%2B", true), "a b+");
  EXPECT_EQ(percent_decode(""), "");
  EXPECT_EQ(percent_decode("%41"), "A");
  for (const char* broken : {"%", "%4", "%zz", "a%4g", "%%41", "%00", "x%0", "%-1"})
    EXPECT_EQ(percent_decode(broken), std::nullopt) << broken;
}

TEST(ParseQuery, KeepsOrderAndDropsBrokenPairs) {
  EXPECT_THAT(parse_query("a=1&b=%E3%81%82+x&a=2&flag&=v&bad=%zz&c="),
              ElementsAre(Pair("a", "1"), Pair("b", "あ x"), Pair("a", "2"), Pair("flag", ""), Pair("c", "")));
  EXPECT_THAT(parse_query(""), ElementsAre());
}

std::string noise(size_t size) {
  std::mt19937 random(3);
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

class Compression : public testing::TestWithParam<Coding> {};

TEST_P(Compression, RoundTrips) {
  for (const std::string& text :
       {std::string(), std::string("東京👩‍👩‍👧"), std::string(300000, 'a'), noise(100000)}) {
    const Result<std::string> back = decompress(compress(text, GetParam()), GetParam(), text.size());
    ASSERT_TRUE(back.ok()) << back.status().message();
    EXPECT_EQ(*back, text);
  }
}

TEST_P(Compression, StopsAtTheLimitWhileInflating) {
  const std::string bomb = compress(std::string(50 << 20, 'a'), GetParam());
  ASSERT_LT(bomb.size(), 100000u);
  const Result<std::string> out = decompress(bomb, GetParam(), 1 << 20);
  EXPECT_EQ(out.status().code(), StatusCode::too_large);
  EXPECT_THAT(out.status().message(), HasSubstr("1048576"));
  EXPECT_THAT(out.status().message(), HasSubstr("--max-body-size"));
  const std::string exact = compress(std::string(1000, 'a'), GetParam());
  EXPECT_TRUE(decompress(exact, GetParam(), 1000).ok());
  EXPECT_EQ(decompress(exact, GetParam(), 999).status().code(), StatusCode::too_large);
}

TEST_P(Compression, EveryCutIsSeen) {
  const std::string whole = compress("{\"inputs\": \"東京は晴れ\"}", GetParam());
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_EQ(decompress(whole.substr(0, length), GetParam(), 1000).status().code(), StatusCode::malformed) << length;
}

TEST_P(Compression, EveryChangedByteIsSeenOrHarmless) {
  const std::string text = "{\"inputs\": \"東京は晴れ\"}";
  const std::string whole = compress(text, GetParam());
  size_t seen = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 0x55);
    const Result<std::string> out = decompress(changed, GetParam(), 1000);
    if (out.ok())
      EXPECT_EQ(*out, text) << i;  // a gzip header's time or system
    else
      ++seen;
  }
  EXPECT_GT(seen, whole.size() / 2);
}

INSTANTIATE_TEST_SUITE_P(All, Compression, testing::Values(Coding::gzip, Coding::deflate),
                         [](const auto& test) { return test.param == Coding::gzip ? "gzip" : "deflate"; });

TEST(Compression, BytesAfterTheStreamAreAnError) {
  EXPECT_EQ(decompress(compress("a", Coding::gzip) + "tail", Coding::gzip, 100).status().code(), StatusCode::malformed);
}

TEST(ContentEncoding, NamesWhatIsKnown) {
  EXPECT_EQ(*parse_coding(""), Coding::identity);
  EXPECT_EQ(*parse_coding("identity"), Coding::identity);
  EXPECT_EQ(*parse_coding("x-gzip"), Coding::gzip);
  EXPECT_EQ(*parse_coding("GZIP"), Coding::gzip);
  EXPECT_EQ(*parse_coding("deflate"), Coding::deflate);
  for (const char* other : {"br", "gzip, gzip", "zstd"}) {
    EXPECT_EQ(parse_coding(other).status().code(), StatusCode::unsupported) << other;
    EXPECT_THAT(parse_coding(other).status().message(), HasSubstr("gzip, deflate"));
  }
}

TEST(AcceptEncoding, TakesTheBestOfOurs) {
  EXPECT_EQ(accepted_coding(""), Coding::identity);
  EXPECT_EQ(accepted_coding("gzip, deflate, br"), Coding::gzip);
  EXPECT_EQ(accepted_coding("br;q=1.0, deflate;q=0.8, gzip;q=0.5"), Coding::deflate);
  EXPECT_EQ(accepted_coding("gzip;q=0"), Coding::identity);
  EXPECT_EQ(accepted_coding("gzip;q=0, *"), Coding::deflate);
  EXPECT_EQ(accepted_coding("*;q=0, GZIP"), Coding::gzip);
  EXPECT_EQ(accepted_coding("*"), Coding::gzip);
  EXPECT_EQ(accepted_coding("br, zstd, identity"), Coding::identity);
  EXPECT_EQ(accepted_coding(" ,, ;q=x, gzip;q=abc"), Coding::identity);
}

struct ErrorRow {
  StatusCode code;
  int task, tgi, tei;
  const char* task_type;
  const char* tgi_type;
  const char* tei_type;
};

// The table of docs/TASK_API.md, by hand.
const ErrorRow kErrors[] = {
    {StatusCode::malformed, 400, 400, 400, "invalid_json", "validation", "Validation"},
    {StatusCode::invalid, 422, 422, 422, "invalid_value", "validation", "Validation"},
    {StatusCode::empty, 400, 400, 400, "empty_input", "validation", "Empty"},
    {StatusCode::too_long, 422, 422, 422, "context_length_exceeded", "validation", "Validation"},
    {StatusCode::tokenization, 422, 422, 422, "tokenization", "validation", "Tokenizer"},
    {StatusCode::too_large, 413, 413, 413, "too_large", "validation", "Validation"},
    {StatusCode::unauthenticated, 401, 401, 401, "invalid_api_key", "validation", "Validation"},
    {StatusCode::forbidden, 403, 403, 403, "forbidden", "validation", "Validation"},
    {StatusCode::not_found, 404, 404, 404, "model_not_found", "validation", "Validation"},
    {StatusCode::wrong_task, 400, 400, 424, "unsupported_task", "validation", "Backend"},
    {StatusCode::unsupported, 501, 501, 501, "unsupported", "generation", "Backend"},
    {StatusCode::overloaded, 429, 429, 429, "overloaded", "overloaded", "Overloaded"},
    {StatusCode::unavailable, 503, 503, 503, "unavailable", "healthcheck", "Unhealthy"},
    {StatusCode::deadline_exceeded, 504, 504, 504, "deadline", "generation", "Backend"},
    {StatusCode::cancelled, 499, 499, 499, "cancelled", "generation", "Backend"},
    {StatusCode::out_of_memory, 503, 503, 503, "out_of_memory", "generation", "Backend"},
    {StatusCode::internal, 500, 424, 424, "internal", "generation", "Backend"},
};

TEST(Errors, StatusAndTypePerDialect) {
  for (const ErrorRow& row : kErrors) {
    EXPECT_EQ(http_status(row.code, Dialect::task), row.task) << name(row.code);
    EXPECT_EQ(http_status(row.code, Dialect::tgi), row.tgi) << name(row.code);
    EXPECT_EQ(http_status(row.code, Dialect::tei), row.tei) << name(row.code);
    EXPECT_EQ(error_type(row.code, Dialect::task), row.task_type) << name(row.code);
    EXPECT_EQ(error_type(row.code, Dialect::tgi), row.tgi_type) << name(row.code);
    EXPECT_EQ(error_type(row.code, Dialect::tei), row.tei_type) << name(row.code);
  }
  EXPECT_EQ(std::size(kErrors), static_cast<size_t>(StatusCode::internal)) << "a kind is missing from the table";
}

TEST(Errors, SayWhetherToComeBack) {
  for (const ErrorRow& row : kErrors) {
    const HttpResponse response = error_response(Status(row.code, "why \"it\" failed"), Dialect::task);
    const auto header = [&](const char* key) { return find_header(response.headers, key); };
    EXPECT_EQ(response.content_type, "application/json");
    EXPECT_EQ(response.body, std::string(R"({"error":"why \"it\" failed","error_type":")") + row.task_type + "\"}");
    const bool later = row.task == 429 || row.task == 503;
    EXPECT_EQ(header("retry-after").has_value(), later) << name(row.code);
    EXPECT_EQ(header("retry-after-ms").has_value(), later) << name(row.code);
    if (row.task == 429) {
      EXPECT_EQ(header("x-should-retry"), "true");
    }
    if (row.task == 400 || row.task == 401 || row.task == 413 || row.task == 422) {
      EXPECT_EQ(header("x-should-retry"), "false") << name(row.code);
    }
    EXPECT_EQ(header("www-authenticate").has_value(), row.task == 401) << name(row.code);
  }
}

}  // namespace
}  // namespace inazuma
