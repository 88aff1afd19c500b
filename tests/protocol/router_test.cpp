// Paths, keys, hosts and origins: the whole application's table over models that only pretend.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "frontends/app.h"
#include "protocol/fakes.h"

namespace inazuma {
namespace {

using test::FakeBackend;
using test::FakeExchange;
using test::request_of;
using testing::HasSubstr;

constexpr const char* kKey = "s3cret";

class Routes : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(core_.repository().announce({"gpt", "org/name", "org", "late"}).ok());
    for (const char* id : {"gpt", "org/name", "org"}) {
      auto backend = std::make_shared<FakeBackend>(id, Task::text_generation);
      backend->script = [id = std::string(id)](const Request&, const Receiver& receiver) {
        Response response;
        GenerationResult result;
        result.texts.emplace_back().text = id;
        result.texts.back().tokens.emplace_back();
        response.outcome = result;
        receiver.on_event(std::move(response));
      };
      core_.repository().set_ready(id, backend);
    }
  }

  std::shared_ptr<FakeExchange> ask(const std::string& method, const std::string& path, Headers headers = {},
                                    std::string body = R"({"inputs": "a"})") {
    if (!app_) app_ = std::make_unique<App>(core_, options_);
    auto exchange = std::make_shared<FakeExchange>(request_of(method, path, std::move(headers), std::move(body)));
    app_->handle(exchange);
    EXPECT_EQ(exchange->answers, 1) << method << " " << path;
    return exchange;
  }
  int status(const std::string& method, const std::string& path, Headers headers = {}) {
    return ask(method, path, std::move(headers))->answer.status;
  }
  std::optional<std::string> header(const FakeExchange& exchange, const char* key) {
    const auto found = find_header(exchange.answer.headers, key);
    return found ? std::optional<std::string>(*found) : std::nullopt;
  }

  Core core_;
  AppOptions options_;
  std::unique_ptr<App> app_;
};

const char* const kComputed[] = {"/",        "/generate",   "/generate_stream", "/embed",    "/embed_all",
                                 "/predict", "/similarity", "/rerank",          "/tokenize", "/decode"};
const char* const kOpen[] = {"/health", "/health/live",    "/health/ready",    "/livez",  "/readyz",
                             "/ping",   "/v2/health/live", "/v2/health/ready", "/metrics"};

std::vector<std::pair<std::string, std::string>> guarded_routes() {
  std::vector<std::pair<std::string, std::string>> out;
  for (const std::string path : kComputed) {
    const std::string tail = path == "/" ? "" : path;
    for (const std::string& full : {path, "/models/gpt" + tail, "/models/org/name" + tail, "/models/unknown" + tail})
      out.emplace_back("POST", full);
  }
  for (const char* path :
       {"/models/gpt/pipeline/text-generation", "/pipeline/text-generation/gpt", "/pipeline/text-generation"})
    out.emplace_back("POST", path);
  for (const char* path : {"/info", "/version", "/models/gpt/info", "/"}) out.emplace_back("GET", path);
  return out;
}

TEST_F(Routes, EveryGuardedRouteNeedsTheKey) {
  options_.guard.api_keys->replace({"other", kKey});
  for (const auto& [method, path] : guarded_routes()) {
    for (const std::string& variant : {path, path == "/" ? path : path + "/"}) {
      EXPECT_EQ(status(method, variant), 401) << method << " " << variant;
      EXPECT_EQ(status(method, variant, {{"authorization", "Bearer wrong"}}), 401) << variant;
      EXPECT_EQ(status(method, variant, {{"authorization", "Bearer "}}), 401) << variant;
      EXPECT_EQ(status(method, variant, {{"authorization", std::string("Basic ") + kKey}}), 401) << variant;
      EXPECT_EQ(status(method, variant, {{"x-api-key", std::string(kKey) + " "}}), 401) << variant;
      EXPECT_NE(status(method, variant, {{"authorization", std::string("Bearer ") + kKey}}), 401) << variant;
      EXPECT_NE(status(method, variant, {{"authorization", std::string("bearer ") + kKey}}), 401) << variant;
      EXPECT_NE(status(method, variant, {{"x-api-key", kKey}}), 401) << variant;
    }
  }
  EXPECT_EQ(header(*ask("POST", "/generate"), "www-authenticate"), "Bearer");
}

TEST_F(Routes, OtherSpellingsOpenNothing) {
  options_.guard.api_keys->replace({kKey});
  for (const char* path : {"//generate",
                           "/./generate",
                           "/generate/.",
                           "/x/../generate",
                           "/GENERATE",
                           "/generate//",
                           "/models//generate",
                           "/models/./generate",
                           "/models/../generate",
                           "/models/gpt/../../generate",
                           "/health/../generate",
                           "/health/../info",
                           "/health/",
                           "/Health",
                           "/health//",
                           "/metrics/../info",
                           "/models/gpt/health",
                           "",
                           "generate",
                           "/generate\n",
                           "/generate ",
                           "/no/such"}) {
    const int without = status("POST", path);
    EXPECT_TRUE(without == 401 || without == 404) << path << " " << without;
    const int with = status("POST", path, {{"x-api-key", kKey}});
    EXPECT_TRUE(with == 404 || with == 405) << path << " " << with;
  }
}

TEST_F(Routes, WithoutKeysEverybodyMayCall) {
  for (const auto& [method, path] : guarded_routes()) EXPECT_NE(status(method, path), 401) << path;
  EXPECT_EQ(status("POST", "/generate"), 200);
}

TEST_F(Routes, HealthNeedsNoKey) {
  options_.guard.api_keys->replace({kKey});
  for (const char* path : kOpen) {
    EXPECT_NE(status("GET", path), 401) << path;
    EXPECT_EQ(status("GET", path), status("HEAD", path)) << path;
  }
  EXPECT_EQ(status("GET", "/health"), 503) << "one model is still loading";
  EXPECT_EQ(status("GET", "/v2/health/ready"), 400);
  EXPECT_EQ(status("GET", "/livez"), 200);
  core_.repository().set_ready("late", std::make_shared<FakeBackend>("late", Task::fill_mask));
  EXPECT_EQ(status("GET", "/health"), 200);
  EXPECT_EQ(status("GET", "/health/"), 200);
  EXPECT_EQ(status("GET", "/v2/health/ready"), 200);
  core_.start_draining();
  EXPECT_EQ(status("GET", "/readyz"), 503);
  EXPECT_EQ(status("GET", "/livez"), 200);
  EXPECT_EQ(status("POST", "/generate", {{"x-api-key", kKey}}), 200) << "draining still takes work";
}

TEST_F(Routes, MetricsMayNeedTheKey) {
  options_.guard.api_keys->replace({kKey});
  options_.metrics_auth = true;
  EXPECT_EQ(status("GET", "/metrics"), 401);
  EXPECT_EQ(status("GET", "/metrics", {{"x-api-key", kKey}}), 200);
}

TEST_F(Routes, PagesAreForBrowsers) {
  options_.guard.api_keys->replace({kKey});
  const auto page = ask("GET", "/", {{"accept", "text/html,*/*"}});
  EXPECT_EQ(page->answer.status, 200);
  EXPECT_THAT(page->answer.content_type, HasSubstr("text/html"));
  EXPECT_EQ(status("GET", "/"), 401);
  EXPECT_THAT(ask("GET", "/", {{"x-api-key", kKey}})->answer.content_type, HasSubstr("json"));
  EXPECT_EQ(status("GET", "/docs"), 200);
}

TEST_F(Routes, WrongMethodsNameTheRightOnes) {
  for (const char* path : {"/generate", "/models/gpt/embed", "/predict/"}) {
    const auto exchange = ask("GET", path);
    EXPECT_EQ(exchange->answer.status, 405) << path;
    EXPECT_EQ(header(*exchange, "allow"), "POST") << path;
    EXPECT_EQ(status("DELETE", path), 405);
    EXPECT_EQ(status("HEAD", path), 405);
  }
  const auto info = ask("POST", "/info");
  EXPECT_EQ(info->answer.status, 405);
  EXPECT_EQ(header(*info, "allow"), "GET, HEAD");
  EXPECT_EQ(status("BREW", "/no/such"), 404);
}

TEST_F(Routes, ModelsByPathHeaderAndDefault) {
  const auto text = [&](const std::string& path, Headers headers = {}) {
    return ask("POST", path, std::move(headers))->answer.body;
  };
  EXPECT_EQ(text("/generate"), R"({"generated_text":"gpt"})");
  EXPECT_EQ(text("/generate", {{"x-model", "org"}}), R"({"generated_text":"org"})");
  EXPECT_EQ(text("/models/org/generate"), R"({"generated_text":"org"})");
  EXPECT_EQ(text("/models/org/name/generate"), R"({"generated_text":"org/name"})");
  EXPECT_EQ(text("/models/org/name/generate/", {{"x-model", "gpt"}}), R"({"generated_text":"org/name"})")
      << "the path decides";
  EXPECT_EQ(text("/models/org/name"), R"([{"generated_text":"org/name"}])");
  EXPECT_EQ(text("/models/org/name/pipeline/text2text-generation"), R"([{"generated_text":"org/name"}])");
  EXPECT_EQ(text("/pipeline/summarization/org/name"), R"([{"summary_text":"org/name"}])");
  EXPECT_EQ(text("/pipeline/translation"), R"([{"translation_text":"gpt"}])");
  const auto unknown = ask("POST", "/models/nobody/generate");
  EXPECT_EQ(unknown->answer.status, 404);
  EXPECT_THAT(unknown->answer.body, HasSubstr("'org/name'"));
  const auto loading = ask("POST", "/models/late/generate");
  EXPECT_EQ(loading->answer.status, 503);
  EXPECT_EQ(header(*loading, "retry-after"), "1");
  core_.repository().set_failed("late", "the weights are cut short");
  EXPECT_THAT(ask("POST", "/models/late/generate")->answer.body, HasSubstr("cut short"));
}

TEST_F(Routes, RouteTemplatesAreBounded) {
  EXPECT_EQ(ask("POST", "/models/org/name/generate")->route, "/models/{id}/generate");
  EXPECT_EQ(ask("POST", "/models/gpt")->route, "/models/{id}");
  EXPECT_EQ(ask("POST", "/models/gpt/pipeline/ner")->route, "/models/{id}/pipeline/{task}");
  EXPECT_EQ(ask("POST", "/pipeline/ner/gpt")->route, "/pipeline/{task}/{id}");
  EXPECT_EQ(ask("GET", "/models/gpt/secret")->route, "unknown");
}

TEST_F(Routes, RebindingAndForeignPagesAreRefused) {
  EXPECT_EQ(status("POST", "/generate", {{"host", "127.0.0.1:8000"}}), 200);
  EXPECT_EQ(status("POST", "/generate", {{"host", "LOCALHOST"}}), 200);
  EXPECT_EQ(status("POST", "/generate", {{"host", "[::1]:8000"}}), 200);
  EXPECT_EQ(status("POST", "/generate", {{"host", "evil.example"}}), 403);
  EXPECT_EQ(status("GET", "/info", {{"host", "127.evil.example"}}), 403);
  EXPECT_EQ(status("GET", "/health", {{"host", "[evil"}}), 403);
  EXPECT_EQ(status("POST", "/generate", {{"host", "localhost:8000"}, {"origin", "http://evil.example"}}), 403);
  EXPECT_EQ(status("POST", "/generate", {{"host", "localhost:8000"}, {"origin", "null"}}), 403);
  EXPECT_EQ(status("POST", "/generate", {{"host", "localhost:8000"}, {"origin", "http://localhost:8000"}}), 200);
}

TEST_F(Routes, AllowedOriginsGetTheirPreflight) {
  options_.guard.cors_origins = {"https://app.example"};
  options_.guard.api_keys->replace({kKey});
  const Headers asked = {{"origin", "https://app.example"},
                         {"access-control-request-headers", "content-type, x-api-key"}};
  const auto preflight = ask("OPTIONS", "/models/gpt/generate", asked);
  EXPECT_EQ(preflight->answer.status, 204);
  EXPECT_EQ(header(*preflight, "access-control-allow-origin"), "https://app.example");
  EXPECT_EQ(header(*preflight, "access-control-allow-methods"), "POST, OPTIONS");
  EXPECT_EQ(header(*preflight, "access-control-allow-headers"), "content-type, x-api-key");
  EXPECT_EQ(header(*preflight, "access-control-max-age"), "600");
  const auto foreign = ask("OPTIONS", "/generate", {{"origin", "https://evil.example"}});
  EXPECT_EQ(foreign->answer.status, 204);
  EXPECT_EQ(header(*foreign, "access-control-allow-origin"), std::nullopt);
  EXPECT_EQ(header(*foreign, "allow"), "POST, OPTIONS");
  EXPECT_EQ(status("POST", "/generate", {{"origin", "https://app.example"}, {"x-api-key", kKey}}), 200);
  EXPECT_EQ(status("POST", "/generate", {{"origin", "https://app.example"}}), 401);
  EXPECT_NE(status("OPTIONS", "/no/such"), 204);
}

TEST_F(Routes, DeadlinesAreChecked) {
  EXPECT_EQ(status("POST", "/generate", {{"x-request-timeout-ms", "1000"}}), 200);
  for (const char* bad : {"-1", "soon", "1.5", "", "86400001", "99999999999999999999"})
    EXPECT_EQ(status("POST", "/generate", {{"x-request-timeout-ms", bad}}), 422) << bad;
}

TEST_F(Routes, UnknownParametersWarnOrFail) {
  const std::string body = R"({"inputs": "a", "parameters": {"max_new_token": 3, "\r\nset-cookie: x": 1}})";
  const auto lenient = ask("POST", "/generate", {}, body);
  EXPECT_EQ(lenient->answer.status, 200);
  EXPECT_THAT(header(*lenient, "x-warning").value_or(""), HasSubstr("did you mean 'max_new_tokens'?"));
  EXPECT_EQ(header(*lenient, "x-warning").value_or("").find('\n'), std::string::npos);
  EXPECT_EQ(ask("POST", "/generate", {{"x-strict", "1"}}, body)->answer.status, 422);
  std::string many = R"({"inputs": "a", "parameters": {)";
  for (int i = 0; i < 5000; ++i) many += (i == 0 ? "\"p" : ",\"p") + std::to_string(i) + "\":0";
  EXPECT_LT(header(*ask("POST", "/generate", {}, many + "}}"), "x-warning").value_or("").size(), 4000u);
}

TEST_F(Routes, FailuresOfTheModelKeepTheirDialect) {
  auto broken = std::make_shared<FakeBackend>("broken", Task::feature_extraction);
  broken->script = [](const Request&, const Receiver& receiver) {
    receiver.on_event(Response{Status(StatusCode::internal, "numbers melted"), {}, {}});
  };
  ASSERT_TRUE(core_.repository().announce({"broken"}).ok());
  core_.repository().set_ready("broken", broken);
  EXPECT_EQ(ask("POST", "/models/broken/embed")->answer.body, R"({"error":"numbers melted","error_type":"Backend"})");
  EXPECT_EQ(ask("POST", "/models/broken")->answer.status, 500);
  EXPECT_EQ(ask("POST", "/models/broken/generate")->answer.status, 424);
  EXPECT_EQ(ask("POST", "/generate", {}, "{")->answer.body.find("\"error_type\":\"validation\"") != std::string::npos,
            true);
}

TEST_F(Routes, StreamsBeginWithTheFirstTokenOnly) {
  auto backend = std::make_shared<FakeBackend>("s", Task::text_generation);
  ASSERT_TRUE(core_.repository().announce({"s"}).ok());
  core_.repository().set_ready("s", backend);
  const auto exchange = [&] {
    if (!app_) app_ = std::make_unique<App>(core_, options_);
    auto out =
        std::make_shared<FakeExchange>(request_of("POST", "/models/s/generate_stream", {}, R"({"inputs": "a"})"));
    app_->handle(out);
    return out;
  };
  const auto early = exchange();
  EXPECT_EQ(early->answers, 0);
  backend->kept.back().second.on_event(Response{Status(StatusCode::overloaded, "full"), {}, {}});
  EXPECT_EQ(early->answer.status, 429);
  EXPECT_FALSE(early->streamed);

  const auto late = exchange();
  backend->kept.back().second.on_event(StreamToken{1, {7, "あ", -0.5f, false}, {}});
  EXPECT_TRUE(late->streamed);
  EXPECT_EQ(late->answer.content_type, "text/event-stream");
  backend->kept.back().second.on_event(Response{Status(StatusCode::internal, "melted"), {}, {}});
  EXPECT_EQ(late->chunks,
            (std::vector<std::string>{"data:{\"index\":1,\"token\":{\"id\":7,\"text\":\"あ\",\"logprob\":-0.5,"
                                      "\"special\":false},\"generated_text\":null,\"details\":null}\n\n",
                                      "data:{\"error\":\"melted\",\"error_type\":\"generation\"}\n\n"}));
  EXPECT_EQ(late->ends, 1);
}

TEST(KeyRing, IsReplacedWhileOthersRead) {
  KeyRing keys;
  keys.replace({"one", "both"});
  std::thread other([&] {
    for (int i = 0; i < 2000; ++i)
      keys.replace(i % 2 == 0 ? std::vector<std::string>{"two", "both"} : std::vector<std::string>{"one", "both"});
  });
  for (int i = 0; i < 2000; ++i) EXPECT_TRUE(keys.holds("both"));
  other.join();
  EXPECT_TRUE(keys.holds("one") && !keys.holds("two") && !keys.empty());
}

}  // namespace
}  // namespace inazuma
