// The gRPC server on a free port, spoken to frame by frame.
#include "frontends/transport/grpc/grpc_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "protocol/http2_client.h"

namespace inazuma {
namespace {

using namespace std::chrono_literals;
using test::big_endian;
using test::Fields;
using test::frame;
using test::grpc_headers;
using test::grpc_message;
using test::GrpcReply;
using test::header_block;
using test::Http2Client;
using test::kSoon;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Grpc : public testing::Test {
 protected:
  Grpc() {
    options_.http2.port = 0;
    options_.access_log = false;
  }
  void TearDown() override {
    held_.clear();
    server_.reset();
  }

  uint16_t start() {
    server_ = std::make_unique<GrpcServer>(
        options_, methods(), metrics_, [](const GrpcMethod& method, const Headers& metadata) {
          if (method.path != "/test.T/Secret" || find_header(metadata, "x-api-key") == "yes") return GrpcStatus{};
          return GrpcStatus{GrpcCode::unauthenticated, "a key is needed"};
        });
    const Status status = server_->start();
    EXPECT_TRUE(status.ok()) << status.message();
    return server_->port();
  }

  std::vector<GrpcMethod> methods() {
    const GrpcUnary echo = [](const auto& call, std::string message) {
      call->write(std::move(message));
      call->finish({});
    };
    return {{.path = "/test.T/Echo", .handler = echo},
            {.path = "/test.T/Secret", .handler = echo},
            {.path = "/test.T/Fail", .handler = GrpcUnary([](const auto& call, std::string message) {
                                       call->finish({GrpcCode::not_found, message});
                                     })},
            {.path = "/test.T/Throw",
             .handler = GrpcUnary([](const auto&, std::string) { throw fail(StatusCode::overloaded, "too much"); })},
            {.path = "/test.T/Hold", .handler = GrpcUnary([this](const auto& call, std::string) {
                                       const std::lock_guard lock(mutex_);
                                       held_.push_back(call);
                                       changed_.notify_all();
                                     })},
            {.path = "/test.T/Count", .handler = GrpcUnary([](const auto& call, std::string message) {
                                        const std::string piece(
                                            static_cast<size_t>(std::stoi(message.substr(message.find(',') + 1))), 'x');
                                        for (int i = 0; i < std::stoi(message); ++i) call->write(piece);
                                        call->finish({GrpcCode::ok, ""});
                                      })},
            {.path = "/test.T/Chat", .handler = GrpcStream([this](const std::shared_ptr<GrpcCall>& call) {
                                       return GrpcReader{
                                           .message = [call](std::string message) { call->write(std::move(message)); },
                                           .end = [call] { call->finish({}); },
                                           .gone = [this] { ++gone_; }};
                                     })},
            {.path = "/test.T/Stopped", .handler = GrpcStream([this](const std::shared_ptr<GrpcCall>& call) {
                                          call->pause(true);
                                          const std::lock_guard lock(mutex_);
                                          held_.push_back(call);
                                          changed_.notify_all();
                                          return GrpcReader{
                                              .message = [this](std::string message) { heard_ += message.size(); },
                                              .end = [call] { call->finish({}); },
                                              .gone = {}};
                                        })}};
  }

  std::shared_ptr<GrpcCall> wait_held(size_t count = 1) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kSoon, [&] { return held_.size() >= count; })) return nullptr;
    return held_.back();
  }
  static bool eventually(const std::function<bool()>& holds) {
    const auto until = Clock::now() + kSoon;
    while (!holds() && Clock::now() < until) std::this_thread::sleep_for(2ms);
    return holds();
  }
  /// Whether the server ends this connection, and with which error; frames before it are dropped.
  static uint32_t goaway_code(Http2Client& client) {
    uint32_t code = ~0u;
    while (const auto goaway = client.read(NGHTTP2_GOAWAY)) {
      code = 0;
      for (const char c : goaway->payload.substr(4, 4)) code = code << 8 | static_cast<unsigned char>(c);
      if (code != 0) return code;
    }
    return code;
  }
  void expect_alive(uint16_t port) {
    Http2Client client(port);
    EXPECT_THAT(client.call("/test.T/Echo", "alive").messages, ElementsAre("alive"));
  }

  GrpcOptions options_;
  Metrics metrics_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<GrpcCall>> held_;
  std::atomic<int> gone_ = 0;
  std::atomic<size_t> heard_ = 0;
  std::unique_ptr<GrpcServer> server_;
};

TEST_F(Grpc, AnswersUnaryCalls) {
  Http2Client client(start());
  for (int i = 0; i < 50; ++i) {
    const std::string text = "東京👩‍👩‍👧 ｶﾅ " + std::to_string(i);
    const GrpcReply reply = client.call("/test.T/Echo", text);
    EXPECT_EQ(reply.headers.at(":status"), "200");
    EXPECT_EQ(reply.headers.at("content-type"), "application/grpc");
    EXPECT_EQ(reply.status(), 0);
    EXPECT_FALSE(reply.reset);
    EXPECT_THAT(reply.messages, ElementsAre(text));
  }
}

TEST_F(Grpc, ManyStreamsShareAConnection) {
  Http2Client client(start());
  std::vector<uint32_t> streams;
  for (int i = 0; i < 500; ++i) {
    streams.push_back(client.open(grpc_headers("/test.T/Echo")));
    client.data(streams.back(), grpc_message(std::to_string(i)).substr(0, 3));
  }
  for (int i = 499; i >= 0; --i)
    client.data(streams[static_cast<size_t>(i)], grpc_message(std::to_string(i)).substr(3), true);
  for (int i = 0; i < 500; ++i)
    EXPECT_THAT(client.finish(streams[static_cast<size_t>(i)]).messages, ElementsAre(std::to_string(i)));
}

TEST_F(Grpc, SaysWhatWentWrong) {
  Http2Client client(start());
  const GrpcReply failed = client.call("/test.T/Fail", "100% 日本");
  EXPECT_EQ(failed.status(), 5);
  EXPECT_EQ(failed.headers.at("grpc-message"), "100%25 %E6%97%A5%E6%9C%AC");
  EXPECT_THAT(failed.messages, IsEmpty());
  const GrpcReply thrown = client.call("/test.T/Throw", "");
  EXPECT_EQ(thrown.status(), 14);
  EXPECT_EQ(thrown.headers.at("grpc-message"), "too much");
  EXPECT_EQ(client.call("/test.T/Secret", "").status(), 16);
  EXPECT_EQ(client.call("/test.T/Secret", "", {{"x-api-key", "yes"}}).status(), 0);
}

TEST_F(Grpc, RefusesCallsThatAreNone) {
  struct Case {
    const char* name;
    Fields headers;
    std::string body;
    const char* http;
    int status;
  };
  const auto with = [](const char* name, const char* value) {
    Fields fields = grpc_headers("/test.T/Echo");
    for (auto& [key, old] : fields)
      if (key == name) old = value;
    return fields;
  };
  const std::string one = grpc_message("x");
  const std::vector<Case> cases = {
      {"GET", with(":method", "GET"), one, "405", -1},
      {"content type", with("content-type", "application/json"), one, "415", -1},
      {"grpc-web", with("content-type", "application/grpc-web"), one, "415", -1},
      {"no such method", grpc_headers("/test.T/None"), one, "200", 12},
      {"no such service", grpc_headers("/other.T/Echo"), one, "200", 12},
      {"a path with a query finds its method", grpc_headers("/test.T/Echo?x=1"), one, "200", 0},
      {"no path", grpc_headers("/"), one, "200", 12},
      {"timeout", grpc_headers("/test.T/Echo", {{"grpc-timeout", "1 second"}}), one, "200", 3},
      {"coding", grpc_headers("/test.T/Echo", {{"grpc-encoding", "snappy"}}), one, "200", 12},
      {"no message", grpc_headers("/test.T/Echo"), "", "200", 13},
      {"two messages", grpc_headers("/test.T/Echo"), one + one, "200", 13},
      {"half a message", grpc_headers("/test.T/Echo"), one.substr(0, 5), "200", 13},
      {"half a prefix", grpc_headers("/test.T/Echo"), one.substr(0, 2), "200", 13},
      {"flag", grpc_headers("/test.T/Echo"), "\7" + one.substr(1), "200", 13},
      {"compressed by nothing", grpc_headers("/test.T/Echo"), grpc_message("x", true), "200", 13},
  };
  Http2Client client(start());
  for (const Case& c : cases) {
    const uint32_t stream = client.open(c.headers);
    client.data(stream, c.body, true);
    const GrpcReply reply = client.finish(stream);
    EXPECT_EQ(reply.headers.at(":status"), c.http) << c.name;
    EXPECT_EQ(reply.status(), c.status) << c.name;
  }
  EXPECT_EQ(client.call("/test.T/Echo", "still").status(), 0);
}

TEST_F(Grpc, MessagesMayBeLarge) {
  options_.http2.stream_window = 65535;
  Http2Client client(start());
  std::string big(5 << 20, '\0');
  for (size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>(i * 7 >> 3);
  // Frames are sent as the windows that the server opens allow.
  const uint32_t stream = client.open(grpc_headers("/test.T/Echo"));
  const std::string bytes = grpc_message(big);
  int64_t stream_window = 65535, connection_window = 65535;
  size_t sent = 0;
  while (sent < bytes.size()) {
    const int64_t part =
        std::min({int64_t{16384}, stream_window, connection_window, static_cast<int64_t>(bytes.size() - sent)});
    if (part > 0) {
      client.data(stream, std::string_view(bytes).substr(sent, static_cast<size_t>(part)),
                  sent + static_cast<size_t>(part) == bytes.size());
      sent += static_cast<size_t>(part), stream_window -= part, connection_window -= part;
      continue;
    }
    const auto update = client.read(NGHTTP2_WINDOW_UPDATE);
    ASSERT_TRUE(update) << "no credit after " << sent;
    int64_t credit = 0;
    for (const char c : update->payload) credit = credit << 8 | static_cast<unsigned char>(c);
    (update->stream == 0 ? connection_window : stream_window) += credit;
  }
  const GrpcReply reply = client.finish(stream);
  ASSERT_EQ(reply.messages.size(), 1u);
  EXPECT_TRUE(reply.messages[0] == big);
}

TEST_F(Grpc, MessagesHaveALimit) {
  options_.max_message = 1000;
  const uint16_t port = start();
  Http2Client client(port);
  EXPECT_EQ(client.call("/test.T/Echo", std::string(1000, 'x')).status(), 0);
  const uint32_t stream = client.open(grpc_headers("/test.T/Echo"));
  client.data(stream, grpc_message(std::string(1001, 'x')).substr(0, 5));  // refused before it comes
  const GrpcReply refused = client.finish(stream);
  EXPECT_EQ(refused.status(), 8);
  EXPECT_THAT(refused.headers.at("grpc-message"), HasSubstr("--grpc-max-message-size"));
  EXPECT_EQ(client.call("/test.T/Echo", compress(std::string(5000, 'x'), Coding::gzip)).status(), 0);
  const std::string bomb = grpc_message(compress(std::string(500'000, 'x'), Coding::gzip), true);
  const uint32_t bombed = client.open(grpc_headers("/test.T/Echo", {{"grpc-encoding", "gzip"}}));
  client.data(bombed, bomb, true);
  EXPECT_EQ(client.finish(bombed).status(), 8);
}

TEST_F(Grpc, CompressesForThoseWhoAsk) {
  options_.compression_level = 6;
  Http2Client client(start());
  const std::string text(5000, 'z');
  for (const auto& [name, coding] :
       std::map<std::string, Coding>{{"gzip", Coding::gzip}, {"deflate", Coding::deflate}}) {
    const uint32_t stream = client.open(
        grpc_headers("/test.T/Echo", {{"grpc-encoding", name}, {"grpc-accept-encoding", "identity," + name}}));
    client.data(stream, grpc_message(compress(text, coding), true), true);
    const GrpcReply reply = client.finish(stream);
    EXPECT_EQ(reply.headers.at("grpc-encoding"), name);
    ASSERT_THAT(reply.compressed, ElementsAre(true));
    EXPECT_EQ(decompress(reply.messages[0], coding, 1 << 20).value(), text);
  }
  const GrpcReply plain = client.call("/test.T/Echo", text, {{"grpc-accept-encoding", "identity"}});
  EXPECT_THAT(plain.compressed, ElementsAre(false));
  EXPECT_FALSE(plain.headers.contains("grpc-encoding"));
  EXPECT_THAT(client.call("/test.T/Echo", "short", {{"grpc-accept-encoding", "gzip"}}).compressed, ElementsAre(false));
}

TEST_F(Grpc, StreamsAnswers) {
  Http2Client client(start());
  const GrpcReply reply = client.call("/test.T/Count", "100,3");
  EXPECT_EQ(reply.messages, std::vector<std::string>(100, "xxx"));
  EXPECT_EQ(client.call("/test.T/Count", "0,1").messages.size(), 0u);
  const GrpcReply large = client.call("/test.T/Count", "30,100000");
  EXPECT_EQ(large.messages, std::vector<std::string>(30, std::string(100000, 'x')));
}

TEST_F(Grpc, StreamsBothWays) {
  Http2Client client(start());
  const uint32_t stream = client.open(grpc_headers("/test.T/Chat"));
  for (int i = 0; i < 100; ++i) {
    client.data(stream, grpc_message("m" + std::to_string(i)));
    const auto answer = client.read(NGHTTP2_DATA);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->payload, grpc_message("m" + std::to_string(i)));
  }
  client.data(stream, "", true);
  EXPECT_EQ(client.finish(stream).status(), 0);
  EXPECT_EQ(gone_, 0);
}

TEST_F(Grpc, ABrokenStreamEndsItsCallOnly) {
  Http2Client client(start());
  const uint32_t good = client.open(grpc_headers("/test.T/Chat")), bad = client.open(grpc_headers("/test.T/Chat"));
  client.data(bad, "\7nonsense");
  EXPECT_EQ(client.finish(bad).status(), 13);
  EXPECT_EQ(gone_, 1);
  client.data(good, grpc_message("on"), true);
  EXPECT_THAT(client.finish(good).messages, ElementsAre("on"));
}

TEST_F(Grpc, DeadlinesPass) {
  Http2Client client(start());
  const uint32_t stream = client.open(grpc_headers("/test.T/Hold", {{"grpc-timeout", "50m"}}));
  client.data(stream, grpc_message(""), true);
  const auto begin = Clock::now();
  const GrpcReply reply = client.finish(stream);
  EXPECT_EQ(reply.status(), 4);
  EXPECT_GE(Clock::now() - begin, 40ms);
  const auto call = wait_held();
  ASSERT_TRUE(call);
  EXPECT_TRUE(call->cancelled()->load());
  call->post([call] { call->finish({}); });  // late: goes nowhere
  EXPECT_EQ(client.call("/test.T/Echo", "", {{"grpc-timeout", "20S"}}).status(), 0);
}

TEST_F(Grpc, ClientsCancel) {
  Http2Client client(start());
  const uint32_t stream = client.open(grpc_headers("/test.T/Hold"));
  client.data(stream, grpc_message(""), true);
  const auto call = wait_held();
  ASSERT_TRUE(call);
  EXPECT_FALSE(call->cancelled()->load());
  client.send(NGHTTP2_RST_STREAM, 0, stream, big_endian(NGHTTP2_CANCEL, 4));
  EXPECT_TRUE(eventually([&] { return call->cancelled()->load(); }));
  call->post([call] { call->write("late"), call->finish({}); });
  EXPECT_EQ(client.call("/test.T/Echo", "x").status(), 0);
  const uint32_t chat = client.open(grpc_headers("/test.T/Chat"));
  client.send(NGHTTP2_RST_STREAM, 0, chat, big_endian(NGHTTP2_CANCEL, 4));
  EXPECT_TRUE(eventually([&] { return gone_ == 1; }));
}

TEST_F(Grpc, ALostConnectionCancelsItsCalls) {
  const uint16_t port = start();
  auto client = std::make_unique<Http2Client>(port);
  for (int i = 0; i < 3; ++i) client->data(client->open(grpc_headers("/test.T/Hold")), grpc_message(""), true);
  ASSERT_TRUE(wait_held(3));
  client->socket().close();
  EXPECT_TRUE(eventually([&] {
    for (const auto& call : held_)
      if (!call->cancelled()->load()) return false;
    return true;
  }));
  expect_alive(port);
}

TEST_F(Grpc, AnEarlyAnswerStopsTheUpload) {
  Http2Client client(start());
  const uint32_t stream = client.open(grpc_headers("/test.T/None"));
  const GrpcReply reply = client.finish(stream);
  EXPECT_EQ(reply.status(), 12);
  const auto reset = client.read(NGHTTP2_RST_STREAM);
  ASSERT_TRUE(reset);
  EXPECT_EQ(reset->payload, big_endian(NGHTTP2_NO_ERROR, 4));
  client.data(stream, grpc_message(std::string(1000, 'x')), true);  // was on its way
  EXPECT_EQ(client.call("/test.T/Echo", "x").status(), 0);
}

TEST_F(Grpc, APausedReaderHoldsItsClientBack) {
  options_.http2.stream_window = 65535;
  Http2Client client(start());
  const uint32_t stopped = client.open(grpc_headers("/test.T/Stopped"));
  const auto call = wait_held();
  ASSERT_TRUE(call);
  for (int i = 0; i < 3; ++i) client.data(stopped, grpc_message(std::string(16000, 'x')));
  EXPECT_TRUE(eventually([&] { return heard_ == 48000; }));
  // Other streams are not held back, and no credit came for this one.
  EXPECT_EQ(client.call("/test.T/Echo", std::string(10000, 'e')).status(), 0);
  call->post([call] { call->pause(false); });
  while (true) {
    const auto update = client.read(NGHTTP2_WINDOW_UPDATE);
    ASSERT_TRUE(update);
    if (update->stream != stopped) continue;
    EXPECT_EQ(update->payload, big_endian(3 * 16005, 4));
    break;
  }
  client.data(stopped, "", true);
  EXPECT_EQ(client.finish(stopped).status(), 0);
}

TEST_F(Grpc, HeadersHaveALimit) {
  options_.http2.max_header_list = 4096;
  const uint16_t port = start();
  Http2Client client(port);
  EXPECT_EQ(client.call("/test.T/Echo", "", {{"x-long", std::string(2000, 'h')}}).status(), 0);
  const GrpcReply refused = client.call("/test.T/Echo", "", {{"x-long", std::string(5000, 'h')}});
  EXPECT_EQ(refused.status(), 8);
  EXPECT_THAT(refused.headers.at("grpc-message"), HasSubstr("4096"));
  EXPECT_EQ(client.call("/test.T/Echo", "after").status(), 0);
}

// Each flood is sent until the server ends the connection; another connection is served all the while.
TEST_F(Grpc, FloodsEndTheirConnection) {
  const std::string ping(8, 'p');
  struct Flood {
    const char* name;
    std::function<std::string(uint32_t)> piece;
    int pieces;
  };
  const std::vector<Flood> floods = {
      {"ping", [&](uint32_t) { return frame(NGHTTP2_PING, 0, 0, ping); }, 20},
      {"settings", [](uint32_t) { return frame(NGHTTP2_SETTINGS, 0, 0, ""); }, 200},
      {"priority", [](uint32_t) { return frame(NGHTTP2_PRIORITY, 0, 99, std::string("\0\0\0\1\7", 5)); }, 3000},
      {"window", [](uint32_t) { return frame(NGHTTP2_WINDOW_UPDATE, 0, 0, big_endian(1, 4)); }, 60000},
      {"rapid reset",
       [](uint32_t i) {
         return frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1 + 2 * i,
                      header_block(grpc_headers("/test.T/Chat"))) +
                frame(NGHTTP2_RST_STREAM, 0, 1 + 2 * i, big_endian(NGHTTP2_CANCEL, 4));
       },
       3000},
      {"continuation",
       [](uint32_t i) {
         return i == 0 ? frame(NGHTTP2_HEADERS, 0, 1, header_block(grpc_headers("/test.T/Echo")))
                       : frame(NGHTTP2_CONTINUATION, 0, 1, "");
       },
       1000},
      {"empty data",
       [](uint32_t i) {
         return (i == 0
                     ? frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, header_block(grpc_headers("/test.T/Chat")))
                     : "") +
                frame(NGHTTP2_DATA, 0, 1, "");
       },
       5000},
      {"unknown frames on stream 0 with a bad length", [](uint32_t) { return frame(NGHTTP2_RST_STREAM, 0, 1, "xx"); },
       1},
      {"data on an idle stream", [](uint32_t) { return frame(NGHTTP2_DATA, 0, 77, "xx"); }, 1},
      {"an even stream",
       [](uint32_t) {
         return frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 2, header_block(grpc_headers("/test.T/Echo")));
       },
       1},
      {"broken header block",
       [](uint32_t) { return frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, "\xff\xff\xff\xff\xff\xff"); }, 1},
      {"an oversized frame",
       [](uint32_t) {
         return big_endian(1 << 20, 3) + std::string(1, '\0') + std::string(1, '\0') + big_endian(1, 4) +
                std::string(1000, 'x');
       },
       1},
      {"window overflow", [](uint32_t) { return frame(NGHTTP2_WINDOW_UPDATE, 0, 0, big_endian(0x7fffffff, 4)); }, 1},
  };
  const uint16_t port = start();
  for (const Flood& flood : floods) {
    Http2Client client(port);
    std::string all;
    for (int i = 0; i < flood.pieces; ++i) all += flood.piece(static_cast<uint32_t>(i));
    client.send(all);
    EXPECT_THAT(goaway_code(client), testing::AllOf(testing::Ne(0u), testing::Ne(~0u))) << flood.name;
    expect_alive(port);
  }
}

TEST_F(Grpc, TellsHttp1ClientsWhereTheyAre) {
  const uint16_t port = start();
  test::Client client(port);
  client.send(test::get("/v2/health/live"));
  const auto reply = client.read();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 400);
  EXPECT_THAT(reply->body, HasSubstr("gRPC"));
  EXPECT_TRUE(client.closed_within(kSoon));
  expect_alive(port);
}

TEST_F(Grpc, SilentAndSlowClientsAreLetGo) {
  options_.http2.preface_timeout = 100ms;
  const uint16_t port = start();
  test::Client silent(port);
  EXPECT_TRUE(silent.closed_within(kSoon));
  test::Client slow(port);
  slow.send("PRI * HTTP/2.0\r\n");
  EXPECT_TRUE(slow.closed_within(kSoon));
  Http2Client greeted(port);
  std::this_thread::sleep_for(300ms);
  EXPECT_EQ(greeted.call("/test.T/Echo", "").status(), 0);
}

TEST_F(Grpc, KeepaliveFindsTheDead) {
  options_.http2.keepalive_time = 100ms;
  options_.http2.keepalive_timeout = 100ms;
  options_.http2.keepalive_without_calls = true;
  const uint16_t port = start();
  Http2Client alive(port);
  int pings = 0;
  while (pings < 3) {
    const auto ping = alive.read(NGHTTP2_PING);  // answered by the client
    ASSERT_TRUE(ping);
    ++pings;
  }
  test::Client dead(port);
  dead.send(std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + frame(NGHTTP2_SETTINGS, 0, 0, ""));
  EXPECT_TRUE(dead.closed_within(kSoon));
}

TEST_F(Grpc, OldConnectionsAreReplaced) {
  options_.http2.max_age = 100ms;
  const uint16_t port = start();
  Http2Client client(port);
  EXPECT_EQ(client.call("/test.T/Echo", "").status(), 0);
  EXPECT_TRUE(client.read(NGHTTP2_GOAWAY));
  EXPECT_TRUE(client.socket().closed_within(kSoon));
}

TEST_F(Grpc, ConnectionsBeyondTheirStreamsWait) {
  options_.http2.max_streams = 4;
  Http2Client client(start());
  std::vector<uint32_t> streams;
  for (int i = 0; i < 5; ++i) {  // before the limit was heard: later it would be a connection error
    streams.push_back(client.open(grpc_headers("/test.T/Hold")));
    client.data(streams.back(), grpc_message(""), true);
  }
  const GrpcReply refused = client.finish(streams.back());
  EXPECT_TRUE(refused.reset);
  EXPECT_EQ(refused.reset_code, NGHTTP2_REFUSED_STREAM);
  ASSERT_TRUE(wait_held(4));
  for (const auto& call : held_) call->post([call] { call->finish({}); });
  for (int i = 0; i < 4; ++i) EXPECT_EQ(client.finish(streams[static_cast<size_t>(i)]).status(), 0);
}

TEST_F(Grpc, DrainingAnswersWhatWasBegun) {
  const uint16_t port = start();
  Http2Client busy(port), idle(port);
  EXPECT_EQ(idle.call("/test.T/Echo", "").status(), 0);
  const uint32_t stream = busy.open(grpc_headers("/test.T/Hold"));
  busy.data(stream, grpc_message(""), true);
  const auto call = wait_held();
  ASSERT_TRUE(call);
  server_->stop_accepting();
  const auto notice = busy.read(NGHTTP2_GOAWAY);
  ASSERT_TRUE(notice);
  EXPECT_EQ(notice->payload, big_endian(0x7fffffff, 4) + big_endian(0, 4));
  // Sent before the notice was heard: answered. (The drain's ping has not been answered yet.)
  const uint32_t late = busy.open(grpc_headers("/test.T/Echo"));
  busy.data(late, grpc_message("late"), true);
  EXPECT_THAT(busy.finish(late).messages, ElementsAre("late"));
  EXPECT_FALSE(server_->wait_idle(Clock::now() + 50ms));
  call->post([call] { call->write("held"), call->finish({}); });
  EXPECT_THAT(busy.finish(stream).messages, ElementsAre("held"));
  EXPECT_TRUE(server_->wait_idle(Clock::now() + kSoon));
  EXPECT_TRUE(busy.socket().closed_within(kSoon));
}

TEST_F(Grpc, StopsWithCallsUnderWay) {
  const uint16_t port = start();
  Http2Client client(port);
  client.data(client.open(grpc_headers("/test.T/Hold")), grpc_message(""), true);
  client.open(grpc_headers("/test.T/Chat"));
  const auto call = wait_held();
  ASSERT_TRUE(call);
  server_->stop();
  EXPECT_TRUE(call->cancelled()->load());
}

}  // namespace
}  // namespace inazuma
