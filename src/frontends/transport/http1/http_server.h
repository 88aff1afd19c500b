#pragma once
// HTTP/1.1 on Boost.Asio and Beast, plain or over TLS: framing, limits, timeouts. Knows no API.

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "frontends/http.h"
#include "frontends/transport/tls.h"
#include "serving/metrics.h"

namespace inazuma {

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8000;              ///< 0 = any free one
  std::string port_flag = "--port";  ///< named in messages
  TlsFiles tls;                      ///< --ssl-certfile, --ssl-keyfile
  int threads = 2;
  size_t max_body = 2 << 20;                                ///< --max-body-size, compressed and inflated
  std::function<size_t(std::string_view path)> body_limit;  ///< where paths differ in it; empty: max_body for all
  /// The reply to a request whose body cannot be inflated; empty: 400, or 415 for an unknown coding.
  std::function<HttpResponse(const HttpRequest&, const Status&)> unreadable;
  size_t max_header = 32 << 10;
  size_t max_target = 8 << 10;
  std::chrono::milliseconds header_timeout{10'000};
  std::chrono::milliseconds body_timeout{10'000};  ///< between two pieces of a body
  std::chrono::milliseconds keep_alive_timeout{75'000};
  std::chrono::milliseconds write_timeout{30'000};  ///< a client that does not read
  std::chrono::milliseconds ping_interval{15'000};  ///< comment on a silent event stream
  bool access_log = true;
};

/// Listens and serves on its own threads until stopped.
class HttpServer {
 public:
  /// `extra_headers` are added to every reply (CORS). `handler` runs on the connection's thread and must not block.
  using HeaderSource = std::function<Headers(const HttpRequest&)>;
  HttpServer(HttpServerOptions options, HttpHandler handler, Metrics& metrics, HeaderSource extra_headers = {});
  ~HttpServer();  ///< stop()

  /// unavailable: port in use; forbidden: no permission; invalid: not an address, or a certificate that cannot be used.
  Status start();
  uint16_t port() const;  ///< the one bound

  /// No new connections; idle ones close, busy ones close after their answer.
  void stop_accepting();
  /// Waits until every answer is written, or `until`; true when all are.
  bool wait_idle(Clock::time_point until);
  /// Ends connections and threads.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace inazuma
