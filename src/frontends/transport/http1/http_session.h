#pragma once
// One HTTP/1.1 connection: one request at a time, read, answered, kept alive.

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <deque>
#include <memory>
#include <optional>

#include "frontends/transport/http1/http_server.h"

namespace inazuma {

class HttpSession;

/// What a connection needs of its server.
class SessionHost {
 public:
  virtual ~SessionHost() = default;
  virtual const HttpServerOptions& options() const = 0;
  virtual TlsContext* tls() = 0;  ///< null: plain
  virtual void handle(const std::shared_ptr<HttpExchange>& exchange) = 0;
  virtual Headers extra_headers(const HttpRequest& request) const = 0;
  virtual Metrics& metrics() = 0;
  virtual bool stopping() const = 0;
  virtual void joined(const std::shared_ptr<HttpSession>& session) = 0;
  virtual void left(const std::shared_ptr<HttpSession>& session) = 0;
  virtual void busy(int delta) = 0;
};

/// Everything runs on the connection's thread.
class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(boost::asio::ip::tcp::socket socket, SessionHost& host);
  void run();
  /// From any thread: close now if no request is being read or answered, else after the answer.
  void close_when_idle();
  /// Once no thread runs handlers any more: lets go of a request that nobody answered, which holds this session.
  void abandon();

 private:
  class Exchange;
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  using Outgoing = boost::beast::http::response<boost::beast::http::string_body>;

  /// A request that reached this host before the listener closed is answered, read or not.
  bool bytes_waiting();
  void handshake();
  void read_header();
  void parse_header();
  /// Closes the connection when no byte of a request has come within this time.
  void expect_request(Clock::duration within);
  void on_header(boost::system::error_code error);
  void read_body();
  void on_body(boost::system::error_code error, size_t bytes);
  void dispatch();
  void watch_client();
  void watch_hang_up();
  /// An answer to a request that could not be read; closes the connection.
  void reject(int status, const Status& status_text);
  Status build_request(HttpRequest& request);
  void refuse_body();

  void send(const std::shared_ptr<Exchange>& exchange, HttpResponse response);
  void send_at_once(const std::shared_ptr<Exchange>& exchange, const Outgoing& message, bool keep_alive);
  void begin(const std::shared_ptr<Exchange>& exchange, HttpResponse head);
  void push(const std::shared_ptr<Exchange>& exchange, std::string bytes, bool last);
  void write_next(const std::shared_ptr<Exchange>& exchange);
  void arm_ping(const std::shared_ptr<Exchange>& exchange);
  void finished(const std::shared_ptr<Exchange>& exchange, bool keep_alive);
  void fill_header(Outgoing& message, const Exchange& exchange, const HttpResponse& response) const;
  void account(const Exchange& exchange) const;
  void linger();
  void discard();
  void close();

  Wire stream_;
  boost::asio::steady_timer ping_;     // of a body that is awaited, then of a stream that is silent
  boost::asio::steady_timer hang_up_;  // looks whether the client is still there, under TLS
  boost::asio::steady_timer idle_;     // of a connection without a request
  Clock::time_point idle_until_{};
  bool idle_armed_ = false;
  SessionHost& host_;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::shared_ptr<Exchange> current_;
  std::shared_ptr<Outgoing> outgoing_;
  std::deque<std::string> chunks_;
  bool writing_ = false;
  bool streaming_done_ = false;
  bool chunked_ = false;
  size_t max_body_ = 0;   // of the request being read
  size_t lingered_ = 0;   // bytes thrown away since the last answer
  bool waiting_ = false;  // for the first byte of a request
  bool reading_ = false;  // inside a request's header or body
  bool late_ = false;     // the body was waited for long enough
  bool closed_ = false;
  std::string client_;
};

}  // namespace inazuma
