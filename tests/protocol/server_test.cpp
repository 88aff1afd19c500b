// The HTTP server on a free port, spoken to byte by byte.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "frontends/transport/compression.h"
#include "frontends/transport/http1/http_server.h"
#include "protocol/client.h"

namespace inazuma {
namespace {

using namespace std::chrono_literals;
using test::Client;
using test::get;
using test::kSoon;
using test::post;
using testing::HasSubstr;

class Server : public testing::Test {
 protected:
  Server() {
    options_.port = 0;
    options_.access_log = false;
    options_.header_timeout = options_.body_timeout = options_.keep_alive_timeout = options_.write_timeout = 20s;
  }
  void TearDown() override {
    release_held();
    server_.reset();
  }

  uint16_t start() {
    server_ = std::make_unique<HttpServer>(
        options_, [this](const auto& exchange) { handle(exchange); }, metrics_);
    const Status status = server_->start();
    EXPECT_TRUE(status.ok()) << status.message();
    return server_->port();
  }

  void handle(const std::shared_ptr<HttpExchange>& exchange) {
    const HttpRequest& request = exchange->request();
    exchange->route = "test";
    if (request.path == "/hold") {
      const std::lock_guard lock(mutex_);
      held_.push_back(exchange);
      changed_.notify_all();
    } else if (request.path == "/stream") {
      stream(exchange);
    } else if (request.path == "/twice") {
      exchange->respond({.status = 200, .content_type = "text/plain", .body = "first", .headers = {}});
      exchange->respond({.status = 500, .content_type = "text/plain", .body = "second", .headers = {}});
    } else {
      exchange->respond({.status = 200,
                         .content_type = "text/plain",
                         .body = request.method + " " + request.path + " " + request.body,
                         .headers = {}});
    }
  }
  // As many pieces as the query says, each of the size after the comma.
  static void stream(const std::shared_ptr<HttpExchange>& exchange) {
    const std::string& query = exchange->request().query;
    const int count = std::stoi(query);
    const std::string piece(static_cast<size_t>(std::stoi(query.substr(query.find(',') + 1))), 'x');
    exchange->begin_stream({.status = 200, .content_type = "text/event-stream", .body = "", .headers = {}});
    for (int i = 0; i < count; ++i) exchange->write(piece);
    exchange->end_stream();
  }

  std::shared_ptr<HttpExchange> wait_held(size_t count = 1) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kSoon, [&] { return held_.size() >= count; })) return nullptr;
    return held_.back();
  }
  void release_held() {
    std::vector<std::shared_ptr<HttpExchange>> all;
    {
      const std::lock_guard lock(mutex_);
      all.swap(held_);
    }
    for (const auto& exchange : all)
      exchange->post([exchange] {
        exchange->respond({.status = 200, .content_type = "text/plain", .body = "released", .headers = {}});
      });
  }
  static bool eventually(const std::function<bool()>& holds) {
    const auto until = Clock::now() + kSoon;
    while (!holds() && Clock::now() < until) std::this_thread::sleep_for(2ms);
    return holds();
  }
  int status_of(uint16_t port, const std::string& bytes) {
    Client client(port);
    client.send(bytes);
    const auto reply = client.read();
    return reply ? reply->status : 0;
  }
  void expect_alive(uint16_t port) { EXPECT_EQ(status_of(port, get("/alive")), 200); }

  HttpServerOptions options_;
  Metrics metrics_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<HttpExchange>> held_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(Server, KeepsConnectionsAlive) {
  Client client(start());
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(client.send(post("/echo/" + std::to_string(i), "東京👩‍👩‍👧")));
    const auto reply = client.read();
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->body, "POST /echo/" + std::to_string(i) + " 東京👩‍👩‍👧");
    EXPECT_EQ(reply->headers.at("x-request-id").size(), 32u);
  }
  ASSERT_TRUE(client.send(get("/last", "Connection: close\r\n")));
  EXPECT_EQ(client.read()->headers.at("connection"), "close");
  EXPECT_TRUE(client.closed_within(kSoon));
}

TEST_F(Server, AnswersPipelinedRequestsInOrder) {
  Client client(start());
  std::string all;
  for (int i = 0; i < 100; ++i)
    all += i % 3 == 0   ? get("/" + std::to_string(i))
           : i % 3 == 1 ? post("/" + std::to_string(i), "b")
                        : get("/stream?2,3", "");
  ASSERT_TRUE(client.send(all));
  for (int i = 0; i < 100; ++i) {
    const auto reply = client.read();
    ASSERT_TRUE(reply) << i;
    EXPECT_EQ(reply->body, i % 3 == 0   ? "GET /" + std::to_string(i) + " "
                           : i % 3 == 1 ? "POST /" + std::to_string(i) + " b"
                                        : "xxxxxx");
  }
}

TEST_F(Server, ReadsRequestsCutAtEveryByte) {
  const uint16_t port = start();
  const std::string whole =
      "POST /cut HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
      "chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n";
  Client client(port);
  for (size_t cut = 1; cut < whole.size(); ++cut) {
    ASSERT_TRUE(client.send(whole.substr(0, cut)));
    std::this_thread::sleep_for(300us);
    ASSERT_TRUE(client.send(whole.substr(cut)));
    const auto reply = client.read();
    ASSERT_TRUE(reply) << cut;
    ASSERT_EQ(reply->body, "POST /cut abc0123456789") << cut;
  }
  for (const char byte : whole) {
    ASSERT_TRUE(client.send(std::string(1, byte)));
    std::this_thread::sleep_for(100us);
  }
  EXPECT_EQ(client.read()->body, "POST /cut abc0123456789");
}

TEST_F(Server, ForgetsRequestsThatEndEarly) {
  const uint16_t port = start();
  const std::string whole = post("/cut", "body");
  for (size_t cut = 0; cut < whole.size(); ++cut) {
    Client client(port);
    ASSERT_TRUE(client.send(whole.substr(0, cut)));
    client.close();
  }
  expect_alive(port);
  EXPECT_TRUE(server_->wait_idle(Clock::now() + kSoon));
}

TEST_F(Server, TellsClientsThatAskToContinue) {
  options_.max_body = 100;
  const uint16_t port = start();
  Client client(port);
  ASSERT_TRUE(client.send("POST /c HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"));
  EXPECT_EQ(client.read()->status, 100);
  ASSERT_TRUE(client.send("abc"));
  EXPECT_EQ(client.read()->body, "POST /c abc");
  Client eager(port);
  ASSERT_TRUE(eager.send("POST /c HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 101\r\n\r\n"));
  EXPECT_EQ(eager.read()->status, 413);
}

TEST_F(Server, InflatesBodiesWithinTheLimit) {
  options_.max_body = 1000;
  const uint16_t port = start();
  const auto ask = [&](const std::string& body, const std::string& coding) {
    return status_of(port, post("/z", body, "Content-Encoding: " + coding + "\r\n"));
  };
  EXPECT_EQ(ask(compress(std::string(900, 'a'), Coding::gzip), "gzip"), 200);
  EXPECT_EQ(ask(compress(std::string(1001, 'a'), Coding::gzip), "gzip"), 413);
  EXPECT_EQ(ask(compress(std::string(100000, 'a'), Coding::deflate), "deflate"), 413);
  EXPECT_EQ(ask("no gzip at all", "gzip"), 400);
  EXPECT_EQ(ask("x", "br"), 415);
}

TEST_F(Server, CompressesLongAnswersOnRequest) {
  Client client(start());
  const std::string text(5000, 'a');
  ASSERT_TRUE(client.send(post("/z", text, "Accept-Encoding: gzip\r\n")));
  const auto reply = client.read();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->headers.at("content-encoding"), "gzip");
  EXPECT_EQ(*decompress(reply->body, Coding::gzip, 10000), "POST /z " + text);
  ASSERT_TRUE(client.send(get("/short", "Accept-Encoding: gzip\r\n")));
  EXPECT_EQ(client.read()->headers.count("content-encoding"), 0u);
}

TEST_F(Server, RefusesWhatIsTooBig) {
  options_.max_body = 1000;
  options_.max_header = 4096;
  options_.max_target = 1024;
  const uint16_t port = start();
  EXPECT_EQ(status_of(port, get("/", "X: " + std::string(5000, 'x') + "\r\n")), 431);
  EXPECT_EQ(status_of(port, get("/" + std::string(1100, 'x'))), 414);
  EXPECT_EQ(status_of(port, get("/" + std::string(900, 'x'))), 200);
  EXPECT_EQ(status_of(port, post("/", std::string(1000, 'x'))), 200);
  EXPECT_EQ(status_of(port, post("/", std::string(1001, 'x'))), 413);
  EXPECT_EQ(status_of(port, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999\r\n\r\n"), 413);
  std::string chunks = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 20; ++i) chunks += "64\r\n" + std::string(100, 'x') + "\r\n";
  EXPECT_EQ(status_of(port, chunks), 413);
  EXPECT_EQ(status_of(port, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFF\r\n"),
            413);
  expect_alive(port);
}

// The client is still sending when the answer comes: it must not be lost in a reset.
TEST_F(Server, TheRefusalOfALongBodyArrives) {
  options_.max_body = 1 << 20;
  const uint16_t port = start();
  for (int round = 0; round < 20; ++round) {
    Client client(port);
    client.send(post("/", std::string(3 << 20, 'x')));
    const auto reply = client.read();
    ASSERT_TRUE(reply) << round;
    EXPECT_EQ(reply->status, 413);
    EXPECT_THAT(reply->body, HasSubstr("--max-body-size"));
  }
}

TEST_F(Server, RefusesWhatCouldBeReadTwoWays) {
  const uint16_t port = start();
  const auto refused = [&](const std::string& head, const std::string& rest = "") {
    Client client(port);
    client.send("POST / HTTP/1.1\r\n" + head + "\r\n" + rest + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    const auto reply = client.read();
    ASSERT_TRUE(reply) << head;
    EXPECT_EQ(reply->status, 400) << head;
    EXPECT_FALSE(client.read()) << head << ": the connection must end";
  };
  refused("Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n");
  refused("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n");
  refused("Host: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n", "hello");
  refused("Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n", "hello");
  refused("Host: a\r\nContent-Length: 5, 6\r\n", "hello");
  refused("Host: a\r\nContent-Length: +5\r\n", "hello");
  refused("Host: a\r\nContent-Length: -1\r\n");
  refused("Host: a\r\nContent-Length: 0x5\r\n", "hello");
  refused("Host: a\r\nContent-Length: 99999999999999999999999\r\n");
  refused("Host: a\r\nContent-Length : 5\r\n", "hello");
  refused("Host: a\r\nTransfer-Encoding: xchunked\r\n", "0\r\n\r\n");
  refused("Host: a\r\nTransfer-Encoding: identity\r\n");
  refused("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n");
  refused("Host: a\r\nTransfer-Encoding: chunked, identity\r\n", "0\r\n\r\n");
  refused("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n");
  refused(
      "Host: a\r\nTransfer-Encoding:\x0b"
      "chunked\r\n",
      "0\r\n\r\n");
  refused("Host: a\r\nTransfer-Encoding: chunked\r\n", "xyz\r\n");
  refused("Host: a\r\nTransfer-Encoding: chunked\r\n", "-1\r\n\r\n");
  refused("Host: a\r\nTransfer-Encoding: chunked\r\n", "3\r\nabcdef\r\n0\r\n\r\n");
  refused("Host: a\r\nTransfer-Encoding: chunked\r\n", "11111111111111111\r\n");
  refused("Host: a\r\nHost: b\r\n");
  refused("");
  refused("Host: a\r\nBroken\r\n");
  refused("Host: a\r\n: empty\r\n");
  refused(std::string("Host: a\r\nX: a\0b\r\n", 17));
  expect_alive(port);
}

TEST_F(Server, RefusesWhatIsNotHttp) {
  const uint16_t port = start();
  for (const char* bytes :
       {"hello\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "GET nopath HTTP/1.1\r\nHost: a\r\n\r\n"})
    EXPECT_EQ(status_of(port, bytes), 400) << bytes;
  expect_alive(port);
}

TEST_F(Server, DecodesThePathOnceAndTakesAbsoluteForm) {
  Client client(start());
  const auto path = [&](const std::string& target) {
    client.send(get(target));
    return client.read()->body;
  };
  EXPECT_EQ(path("/a%2Fb?x=%41"), "GET /a/b ");
  EXPECT_EQ(path("/%252e"), "GET /%2e ");
  EXPECT_EQ(path("http://other.example/abs?q"), "GET /abs ");
  EXPECT_EQ(path("http://other.example"), "GET / ");
}

TEST_F(Server, EchoesGoodRequestIdsOnly) {
  Client client(start());
  const auto id = [&](const std::string& given) {
    client.send(get("/", "X-Request-Id: " + given + "\r\n"));
    return client.read()->headers.at("x-request-id");
  };
  EXPECT_EQ(id("abc-1.2_3:Z"), "abc-1.2_3:Z");
  EXPECT_EQ(id(std::string(128, 'a')), std::string(128, 'a'));
  EXPECT_NE(id(std::string(129, 'a')), std::string(129, 'a'));
  EXPECT_NE(id("a b"), "a b");
  EXPECT_NE(id("あ"), "あ");
}

TEST_F(Server, HeadBringsTheLengthOnly) {
  Client client(start());
  ASSERT_TRUE(client.send("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n"));
  const auto reply = client.read(true);
  EXPECT_EQ(reply->headers.at("content-length"), std::to_string(std::string("HEAD /x ").size()));
  ASSERT_TRUE(client.send(get("/y")));
  EXPECT_EQ(client.read()->body, "GET /y ") << "nothing of a body may follow HEAD";
}

TEST_F(Server, SpeaksToHttp10) {
  const uint16_t port = start();
  Client client(port);
  ASSERT_TRUE(client.send("GET /old HTTP/1.0\r\n\r\n"));
  EXPECT_EQ(client.read()->body, "GET /old ");
  EXPECT_TRUE(client.closed_within(kSoon));
  Client streaming(port);
  ASSERT_TRUE(streaming.send("GET /stream?3,4 HTTP/1.0\r\n\r\n"));
  const auto reply = streaming.read();
  EXPECT_EQ(reply->headers.count("transfer-encoding"), 0u);
  EXPECT_EQ(reply->body, std::string(12, 'x')) << "no chunk sizes in it";
}

TEST_F(Server, StreamsInChunks) {
  Client client(start());
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(client.send(get("/stream?5,3")));
    const auto reply = client.read();
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->body, std::string(15, 'x'));
    EXPECT_TRUE(reply->chunked_as.ends_with("0|")) << reply->chunked_as;
  }
}

TEST_F(Server, StreamsToSlowReaders) {
  Client client(start());
  ASSERT_TRUE(client.send(get("/stream?64,200000")));
  std::this_thread::sleep_for(300ms);
  const auto reply = client.read();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->body.size(), 64u * 200000u);
  ASSERT_TRUE(client.send(get("/after")));
  EXPECT_EQ(client.read()->body, "GET /after ");
}

TEST_F(Server, GivesUpOnReadersWhoStop) {
  options_.write_timeout = 300ms;
  const uint16_t port = start();
  Client client(port);
  ASSERT_TRUE(client.send(get("/hold")));
  const auto exchange = wait_held();
  ASSERT_TRUE(exchange);
  exchange->post([exchange] {
    exchange->begin_stream({.status = 200, .content_type = "text/event-stream", .body = "", .headers = {}});
    for (int i = 0; i < 64; ++i) exchange->write(std::string(1 << 20, 'x'));
  });
  EXPECT_TRUE(eventually([&] { return exchange->cancelled()->load(); }));
  EXPECT_TRUE(server_->wait_idle(Clock::now() + kSoon));
  expect_alive(port);
}

TEST_F(Server, SilentStreamsAreKeptAwake) {
  options_.ping_interval = 50ms;
  Client client(start());
  ASSERT_TRUE(client.send(get("/hold")));
  const auto exchange = wait_held();
  ASSERT_TRUE(exchange);
  exchange->post([exchange] {
    exchange->begin_stream({.status = 200, .content_type = "text/event-stream", .body = "", .headers = {}});
  });
  std::string seen;
  while (seen.find(": ping") == std::string::npos || seen.find(": ping") == seen.rfind(": ping")) {
    const std::string more = client.read_some();
    ASSERT_FALSE(more.empty());
    seen += more;
  }
  exchange->post([exchange] { exchange->end_stream(); });
  while (!seen.ends_with("0\r\n\r\n")) seen += client.read_some();
}

TEST_F(Server, ADisconnectCancels) {
  const uint16_t port = start();
  auto client = std::make_unique<Client>(port);
  ASSERT_TRUE(client->send(post("/hold", "x")));
  const auto exchange = wait_held();
  ASSERT_TRUE(exchange);
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(exchange->cancelled()->load());
  client.reset();
  EXPECT_TRUE(eventually([&] { return exchange->cancelled()->load(); }));
  release_held();
  EXPECT_TRUE(server_->wait_idle(Clock::now() + kSoon));
  expect_alive(port);
}

TEST_F(Server, ADisconnectInsideAStreamCancels) {
  const uint16_t port = start();
  auto client = std::make_unique<Client>(port);
  ASSERT_TRUE(client->send(get("/hold")));
  const auto exchange = wait_held();
  ASSERT_TRUE(exchange);
  exchange->post([exchange] {
    exchange->begin_stream({.status = 200, .content_type = "text/event-stream", .body = "", .headers = {}});
    exchange->write("x");
  });
  EXPECT_FALSE(client->read_some().empty());
  client.reset();
  EXPECT_TRUE(eventually([&] {
    exchange->post([exchange] { exchange->write("y"); });
    return exchange->cancelled()->load();
  }));
  exchange->post([exchange] { exchange->end_stream(); });
  expect_alive(port);
}

TEST_F(Server, AnsweringTwiceAnswersOnce) {
  Client client(start());
  ASSERT_TRUE(client.send(get("/twice") + get("/next")));
  EXPECT_EQ(client.read()->body, "first");
  EXPECT_EQ(client.read()->body, "GET /next ");
}

TEST_F(Server, SlowHeadersAndBodiesTimeOut) {
  options_.header_timeout = options_.body_timeout = 200ms;
  const uint16_t port = start();
  Client header(port);
  ASSERT_TRUE(header.send("GET / HTT"));
  EXPECT_TRUE(header.closed_within(kSoon));
  Client body(port);
  ASSERT_TRUE(body.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"));
  const auto reply = body.read();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 408);
  EXPECT_TRUE(body.closed_within(kSoon));
  Client trickle(port);  // a byte now and then keeps nothing alive for ever
  ASSERT_TRUE(trickle.send("GET / HTTP/1.1\r\n"));
  bool open = true;
  for (int i = 0; i < 100 && open; ++i) {
    open = trickle.send("X");
    std::this_thread::sleep_for(20ms);
  }
  EXPECT_FALSE(open);
}

TEST_F(Server, IdleConnectionsTimeOut) {
  options_.keep_alive_timeout = 200ms;
  Client client(start());
  ASSERT_TRUE(client.send(get("/")));
  ASSERT_TRUE(client.read());
  EXPECT_TRUE(client.closed_within(kSoon));
}

TEST_F(Server, DrainsWithoutLosingAnAcceptedRequest) {
  const uint16_t port = start();
  Client idle(port), busy(port), pipelined(port);
  ASSERT_TRUE(idle.send(get("/")));
  ASSERT_TRUE(idle.read());
  ASSERT_TRUE(busy.send(get("/hold")));
  ASSERT_TRUE(pipelined.send(get("/hold")));
  ASSERT_TRUE(wait_held(2));
  server_->stop_accepting();
  EXPECT_TRUE(idle.closed_within(kSoon));
  EXPECT_FALSE(server_->wait_idle(Clock::now() + 50ms));
  EXPECT_TRUE(eventually([&] {
    try {
      Client late(port);
      return !late.send(get("/")) || !late.read();
    } catch (const std::exception&) {
      return true;
    }
  })) << "new connections must be refused";
  release_held();
  for (Client* client : {&busy, &pipelined}) {
    const auto reply = client->read();
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->body, "released");
    EXPECT_EQ(reply->headers.at("connection"), "close");
    EXPECT_TRUE(client->closed_within(kSoon));
  }
  EXPECT_TRUE(server_->wait_idle(Clock::now() + kSoon));
}

TEST_F(Server, StopsWithRequestsOpen) {
  const uint16_t port = start();
  Client held(port), halfway(port), idle(port);
  ASSERT_TRUE(held.send(get("/hold")));
  ASSERT_TRUE(halfway.send("POST / HTTP/1.1\r\n"));
  ASSERT_TRUE(wait_held());
  server_->stop();
  EXPECT_FALSE(server_->wait_idle(Clock::now() + 10ms));
}

TEST_F(Server, SaysWhyItCannotListen) {
  options_.port = start();
  HttpServer second(
      options_, [](const auto&) {}, metrics_);
  const Status taken = second.start();
  EXPECT_EQ(taken.code(), StatusCode::unavailable);
  EXPECT_THAT(taken.message(), HasSubstr("--port"));
  options_.host = "not-an-address";
  HttpServer third(
      options_, [](const auto&) {}, metrics_);
  EXPECT_EQ(third.start().code(), StatusCode::invalid);
}

TEST_F(Server, ServesManyConnectionsAtOnce) {
  const uint16_t port = start();
  constexpr int kThreads = 8, kEach = 25, kRounds = 10;
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      std::vector<std::unique_ptr<Client>> clients;
      for (int c = 0; c < kEach; ++c) clients.push_back(std::make_unique<Client>(port));
      for (int round = 0; round < kRounds; ++round) {
        const auto body = [&](int c) {
          return std::to_string(t) + "/" + std::to_string(c) + "/" + std::to_string(round);
        };
        for (int c = 0; c < kEach; ++c)
          clients[static_cast<size_t>(c)]->send(c % 4 == 3 ? get("/stream?7,11") : post("/", body(c)));
        for (int c = 0; c < kEach; ++c) {
          const auto reply = clients[static_cast<size_t>(c)]->read();
          if (reply && reply->body == (c % 4 == 3 ? std::string(77, 'x') : "POST / " + body(c))) ++good;
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good.load(), kThreads * kEach * kRounds);
}

}  // namespace
}  // namespace inazuma
