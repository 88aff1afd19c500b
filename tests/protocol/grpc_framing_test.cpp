// gRPC's bytes without a connection.
#include "frontends/transport/grpc/framing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "frontends/errors.h"
#include "frontends/transport/http2/flood_guard.h"
#include "protocol/http2_client.h"

namespace inazuma {
namespace {

using namespace std::chrono_literals;
using test::grpc_message;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Fed {
  GrpcStatus status;
  std::vector<std::string> messages;
};

// In pieces of `step` bytes, as a network may cut them.
Fed feed(GrpcMessageReader& reader, std::string_view bytes, size_t step) {
  Fed out;
  while (!bytes.empty() && out.status.code == GrpcCode::ok) {
    out.status = reader.feed(bytes.substr(0, step), [&](std::string one) { out.messages.push_back(std::move(one)); });
    bytes.remove_prefix(std::min(step, bytes.size()));
  }
  return out;
}

TEST(GrpcMessageReader, CutsMessagesHoweverTheyArrive) {
  const std::string big(70000, 'x');
  const std::string all = grpc_message("東京") + grpc_message("") + grpc_message(big) + grpc_message("a");
  for (const size_t step :
       {size_t{1}, size_t{2}, size_t{4}, size_t{5}, size_t{6}, size_t{11}, size_t{16384}, all.size()}) {
    GrpcMessageReader reader(std::nullopt, 1 << 20);
    const Fed fed = feed(reader, all, step);
    EXPECT_EQ(fed.status.code, GrpcCode::ok);
    EXPECT_THAT(fed.messages, ElementsAre("東京", "", big, "a")) << step;
    EXPECT_FALSE(reader.inside());
  }
}

TEST(GrpcMessageReader, SaysThatAMessageIsUnfinished) {
  for (const size_t cut : {size_t{1}, size_t{4}, size_t{5}, size_t{7}}) {
    GrpcMessageReader reader(std::nullopt, 100);
    EXPECT_THAT(feed(reader, grpc_message("abc").substr(0, cut), 100).messages, IsEmpty());
    EXPECT_TRUE(reader.inside()) << cut;
  }
}

TEST(GrpcMessageReader, InflatesBothCodings) {
  const std::string text(5000, 'y');
  for (const Coding coding : {Coding::gzip, Coding::deflate}) {
    GrpcMessageReader reader(coding, 1 << 20);
    const Fed fed = feed(reader, grpc_message(compress(text, coding), true) + grpc_message("plain"), 100);
    EXPECT_THAT(fed.messages, ElementsAre(text, "plain"));
  }
}

TEST(GrpcMessageReader, RefusesWhatIsNoMessage) {
  struct Case {
    const char* name;
    std::optional<Coding> coding;
    std::string bytes;
    GrpcCode code;
    const char* says;
  };
  const std::string zipped = compress(std::string(5000, 'y'), Coding::gzip);
  const std::vector<Case> cases = {
      {"over the limit", std::nullopt, grpc_message(std::string(1001, 'x')), GrpcCode::resource_exhausted,
       "1001 bytes, the limit is 1000"},
      {"far over the limit", std::nullopt, std::string("\0\xff\xff\xff\xff", 5), GrpcCode::resource_exhausted,
       "4294967295"},
      {"unknown flag", std::nullopt, std::string("\2\0\0\0\0", 5), GrpcCode::internal, "flag 2"},
      {"flag of text", std::nullopt, "GET / HTTP/1.1", GrpcCode::internal, "flag 71"},
      {"compressed by nothing", std::nullopt, grpc_message("x", true), GrpcCode::internal, "grpc-encoding"},
      {"a bomb", Coding::gzip, grpc_message(zipped, true), GrpcCode::resource_exhausted, "inflates to more than 1000"},
      {"cut short", Coding::gzip, grpc_message(zipped.substr(0, 20), true), GrpcCode::internal, "cannot be inflated"},
      {"not gzip", Coding::gzip, grpc_message("hello", true), GrpcCode::internal, "cannot be inflated"},
  };
  for (const Case& c : cases) {
    for (const size_t step : {size_t{1}, c.bytes.size()}) {
      GrpcMessageReader reader(c.coding, 1000);
      const Fed fed = feed(reader, c.bytes, step);
      EXPECT_EQ(fed.status.code, c.code) << c.name;
      EXPECT_THAT(fed.status.message, HasSubstr(c.says)) << c.name;
      EXPECT_THAT(fed.messages, IsEmpty()) << c.name;
    }
  }
}

TEST(GrpcTimeout, IsReadAsItsGrammarSays) {
  EXPECT_EQ(parse_grpc_timeout("1H"), 1h);
  EXPECT_EQ(parse_grpc_timeout("2M"), 2min);
  EXPECT_EQ(parse_grpc_timeout("3S"), 3s);
  EXPECT_EQ(parse_grpc_timeout("250m"), 250ms);
  EXPECT_EQ(parse_grpc_timeout("7u"), 7us);
  EXPECT_EQ(parse_grpc_timeout("9n"), 9ns);
  EXPECT_EQ(parse_grpc_timeout("0m"), 0ms);
  EXPECT_EQ(parse_grpc_timeout("99999999H"), 24h * 365);
  for (const char* wrong : {"", "1", "m", "-1m", "1.5S", "123456789m", "1s", "1h", " 1m", "1m ", "1mm", "１m"})
    EXPECT_FALSE(parse_grpc_timeout(wrong)) << wrong;
}

TEST(GrpcStatusText, IsPercentEncoded) {
  EXPECT_EQ(encode_grpc_message("plain text, 'quoted' ~"), "plain text, 'quoted' ~");
  EXPECT_EQ(encode_grpc_message("100%\n日"), "100%25%0A%E6%97%A5");
  EXPECT_EQ(encode_grpc_message("\x7f\xff"), "%7F%FF");
}

TEST(GrpcContentType, MayNameItsMessages) {
  for (const char* right : {"application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"})
    EXPECT_TRUE(is_grpc_content_type(right));
  for (const char* wrong : {"", "application/json", "application/grpc-web", "application/grp", "text/application/grpc"})
    EXPECT_FALSE(is_grpc_content_type(wrong));
}

TEST(GrpcPrefix, CountsInFourBytes) {
  EXPECT_EQ(grpc_prefix(0x01020304, true), std::string("\1\1\2\3\4"));
  EXPECT_EQ(grpc_prefix(0, false), std::string(5, '\0'));
}

TEST(GrpcCodes, EveryKindOfErrorHasOne) {
  for (int code = 0; code <= static_cast<int>(StatusCode::internal); ++code) {
    const GrpcCode mapped = grpc_code(static_cast<StatusCode>(code));
    EXPECT_NE(mapped, GrpcCode::unknown) << code;
    EXPECT_EQ(mapped == GrpcCode::ok, code == 0);
  }
}

TEST(TokenBucket, FillsWithTime) {
  TokenBucket bucket(2, 10);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(bucket.take(begin));
  EXPECT_TRUE(bucket.take(begin));
  EXPECT_FALSE(bucket.take(begin));
  EXPECT_FALSE(bucket.take(begin + 50ms));
  EXPECT_TRUE(bucket.take(begin + 150ms));
  EXPECT_FALSE(bucket.take(begin + 150ms));
  EXPECT_TRUE(bucket.take(begin + 1h));
  EXPECT_TRUE(bucket.take(begin + 1h));
  EXPECT_FALSE(bucket.take(begin + 1h));
}

TEST(TokenBucket, IsFilledByWhatWasDone) {
  TokenBucket bucket(2, 0);
  const TokenBucket::Time now{std::chrono::seconds(1)};
  EXPECT_TRUE(bucket.take(now) && bucket.take(now));
  EXPECT_FALSE(bucket.take(now));
  bucket.give(1);
  EXPECT_TRUE(bucket.take(now));
  EXPECT_FALSE(bucket.take(now));
  bucket.give(100);  // never more than the burst
  EXPECT_TRUE(bucket.take(now) && bucket.take(now));
  EXPECT_FALSE(bucket.take(now));
}

TEST(PingGuard, ForgivesAfterData) {
  PingGuard guard(1min, 2);
  auto now = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(guard.ping(now += 2min)) << i;
  EXPECT_TRUE(guard.ping(now += 1s));
  EXPECT_TRUE(guard.ping(now += 1s));
  guard.data_sent();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(guard.ping(now += 1s)) << i;
  EXPECT_FALSE(guard.ping(now += 1s));
  PingGuard lax(1min, 0);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(lax.ping(now));
}

}  // namespace
}  // namespace inazuma
