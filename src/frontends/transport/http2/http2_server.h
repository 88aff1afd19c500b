#pragma once
// HTTP/2 on nghttp2 and Asio, plain (prior knowledge) or over TLS (ALPN h2): listener, limits, drain. Knows no API.

#include <chrono>
#include <memory>
#include <string>

#include "frontends/transport/http2/http2.h"
#include "frontends/transport/tls.h"
#include "serving/metrics.h"

namespace inazuma {

struct Http2Options {
  std::string host = "127.0.0.1";
  uint16_t port = 8001;  ///< 0 = any free one
  std::string port_flag = "--grpc-port";
  int threads = 2;
  TlsFiles tls;
  uint32_t max_streams = 1024;        ///< at once, per connection
  size_t max_header_list = 32 << 10;  ///< names and values, 32 bytes more each (RFC 9113, 6.5.2)
  uint32_t stream_window = 1 << 20;   ///< bytes a stream may send ahead of its reader
  uint32_t connection_window = 16 << 20;
  std::chrono::milliseconds preface_timeout{10'000};    ///< TLS handshake and first SETTINGS
  std::chrono::milliseconds write_timeout{30'000};      ///< a client that does not read
  std::chrono::milliseconds keepalive_time{7'200'000};  ///< silence after which the client is pinged
  std::chrono::milliseconds keepalive_timeout{20'000};  ///< for the answer
  bool keepalive_without_calls = false;
  std::chrono::milliseconds min_ping_interval{300'000};  ///< pings of the client between which no data was sent
  int max_ping_strikes = 2;                              ///< tolerated before the connection is ended; 0 = any number
  std::chrono::milliseconds max_age{0};                  ///< then the connection is drained; 0 = never
  std::chrono::milliseconds max_age_grace{0};            ///< then it is closed; 0 = when its streams have ended
};

/// Listens and serves on its own threads until stopped.
class Http2Server {
 public:
  /// `open` runs on the connection's thread and must not block.
  Http2Server(Http2Options options, Http2Open open, Metrics& metrics);
  ~Http2Server();  ///< stop()

  /// unavailable: port in use; forbidden: no permission; invalid: not an address, or a certificate that cannot be used.
  Status start();
  uint16_t port() const;
  /// No new connections; those there are told (GOAWAY) and close after their streams.
  void stop_accepting();
  /// Waits until every stream is answered, or `until`; true when all are.
  bool wait_idle(Clock::time_point until);
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace inazuma
