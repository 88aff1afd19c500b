#pragma once
// An exchange without a socket, and models without weights.

#include <string>
#include <utility>
#include <vector>

#include "frontends/http.h"
#include "serving/core.h"

namespace inazuma::test {

/// Remembers what it was answered; posts run at once.
class FakeExchange : public HttpExchange {
 public:
  explicit FakeExchange(HttpRequest request) : request_(std::move(request)) {}
  const HttpRequest& request() const override { return request_; }
  void respond(HttpResponse response) override { ++answers, answer = std::move(response); }
  void begin_stream(HttpResponse head) override { ++answers, answer = std::move(head), streamed = true; }
  void write(std::string chunk) override { chunks.push_back(std::move(chunk)); }
  void end_stream() override { ++ends; }
  void post(std::function<void()> task) override { task(); }
  const CancelFlag& cancelled() const override { return cancel_; }

  HttpResponse answer;
  std::vector<std::string> chunks;
  int answers = 0;
  int ends = 0;
  bool streamed = false;

 private:
  HttpRequest request_;
  CancelFlag cancel_ = std::make_shared<std::atomic<bool>>(false);
};

inline HttpRequest request_of(std::string method, std::string path, Headers headers = {}, std::string body = "") {
  HttpRequest request;
  request.method = std::move(method);
  request.path = std::move(path);
  request.headers = std::move(headers);
  request.body = std::move(body);
  request.id = "test";
  return request;
}

/// Answers every request by `script`, or keeps it for later when there is none.
class FakeBackend : public Backend {
 public:
  FakeBackend(std::string id, Task task) {
    info_.id = info_.directory_name = std::move(id);
    info_.model.task = task;
  }
  const BackendInfo& info() const override { return info_; }
  void submit(Request request, Receiver receiver) override {
    ++submitted;
    last = request;
    if (script)
      script(std::move(request), std::move(receiver));
    else
      kept.emplace_back(std::move(request), std::move(receiver));
  }
  EngineStats stats() const override {
    EngineStats stats;
    stats.heartbeat = heartbeat;
    return stats;
  }
  bool drain(Clock::time_point) override { return kept.empty(); }

  std::function<void(Request, Receiver)> script;
  std::vector<std::pair<Request, Receiver>> kept;
  Request last;
  int submitted = 0;
  Clock::time_point heartbeat = Clock::time_point::max() - std::chrono::hours(1);

 private:
  BackendInfo info_;
};

}  // namespace inazuma::test
