#include "frontends/transport/http1/http_session.h"

#include <poll.h>
#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include "base/log.h"
#include "base/version.h"
#include "frontends/errors.h"
#include "frontends/transport/access_log.h"
#include "frontends/transport/compression.h"

namespace inazuma {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

namespace {

constexpr size_t kHeaderGuess = 512;  // bytes
constexpr std::chrono::seconds kLinger{2};
constexpr std::chrono::seconds kLastRequest{1};
constexpr std::chrono::milliseconds kHangUpLook{100};

// Label values are bounded: a client may send any word as its method.
std::string_view known_method(std::string_view method) {
  for (const std::string_view known : {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
    if (method == known) return known;
  return "other";
}

std::string lower(beast::string_view text) {
  std::string out(text.data(), text.size());
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

// "http://host/path?q" (absolute form, from proxies) -> "/path?q".
std::string_view origin_form(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    const size_t slash = target.find('/', scheme.size());
    return slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  return target;
}

}  // namespace

// What handlers hold. Outlives the connection if it must; then answers go nowhere.
class HttpSession::Exchange : public HttpExchange, public std::enable_shared_from_this<HttpSession::Exchange> {
 public:
  Exchange(std::shared_ptr<HttpSession> session, bool keep, unsigned http_version)
      : session_(std::move(session)), keep_alive(keep), version(http_version) {}

  const HttpRequest& request() const override { return incoming; }
  void respond(HttpResponse response) override { session_->send(shared_from_this(), std::move(response)); }
  void begin_stream(HttpResponse head) override { session_->begin(shared_from_this(), std::move(head)); }
  void write(std::string chunk) override { session_->push(shared_from_this(), std::move(chunk), false); }
  void end_stream() override { session_->push(shared_from_this(), "", true); }
  void post(std::function<void()> task) override { asio::post(session_->stream_.get_executor(), std::move(task)); }
  const CancelFlag& cancelled() const override { return cancel; }

  std::shared_ptr<HttpSession> session_;
  HttpRequest incoming;
  CancelFlag cancel = std::make_shared<std::atomic<bool>>(false);
  bool keep_alive;
  unsigned version;
  bool answered = false;
  int status = 0;
  size_t bytes_out = 0;
};

HttpSession::HttpSession(asio::ip::tcp::socket socket, SessionHost& host)
    : stream_(std::move(socket), host.tls()),
      ping_(stream_.get_executor()),
      hang_up_(stream_.get_executor()),
      idle_(stream_.get_executor()),
      host_(host) {
  beast::error_code error;
  const auto remote = stream_.socket().remote_endpoint(error);
  client_ = error ? "unknown" : fmt::format("{}:{}", remote.address().to_string(), remote.port());
}

void HttpSession::run() {
  host_.joined(shared_from_this());
  asio::dispatch(stream_.get_executor(), [self = shared_from_this()] { self->handshake(); });
}

void HttpSession::handshake() {
  if (!stream_.encrypted()) return read_header();
  stream_.expires_after(host_.options().header_timeout);
  stream_.async_handshake([self = shared_from_this()](beast::error_code error) {
    if (self->closed_) return;
    if (!error) return self->read_header();
    log::debug("a TLS handshake failed", {{"client", self->client_}, {"error", error.message()}});
    self->close();
  });
}

// The waiting read is cancelled rather than the socket closed: a read that has already taken a request's first bytes,
// and only waits for its turn to tell, cannot be cancelled any more and goes on.
void HttpSession::close_when_idle() {
  asio::post(stream_.get_executor(), [self = shared_from_this()] {
    if (self->waiting_ && !self->closed_) self->stream_.cancel();
  });
}

void HttpSession::abandon() {
  closed_ = true;
  current_.reset();
}

bool HttpSession::bytes_waiting() {
  beast::error_code error;
  return stream_.socket().available(error) > 0 && !error;
}

void HttpSession::close() {
  if (closed_) return;
  closed_ = true;
  ping_.cancel();
  hang_up_.cancel();
  idle_.cancel();
  beast::error_code ignored;
  stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
  stream_.close();
  if (current_) {
    current_->cancel->store(true);
    host_.busy(-1);
    current_.reset();
  }
  host_.left(shared_from_this());
}

void HttpSession::read_header() {
  if (host_.stopping() && buffer_.size() == 0 && !bytes_waiting()) return close();
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(host_.options().max_header));
  parser_->body_limit(boost::none);  // known when the path is
  reading_ = buffer_.size() > 0;
  // Posted: requests that came in one piece must not answer each other's way down the stack.
  if (reading_) return asio::post(stream_.get_executor(), [self = shared_from_this()] { self->parse_header(); });
  // Between requests the long timeout counts; from the first byte on, the short one. A server that stops waits only for
  // what was on its way (under TLS the bytes that wait may be no request).
  expect_request(host_.stopping()
                     ? std::min<std::chrono::milliseconds>(kLastRequest, host_.options().keep_alive_timeout)
                     : host_.options().keep_alive_timeout);
  stream_.expires_never();
  waiting_ = true;
  stream_.async_read_some(buffer_.prepare(4096), [self = shared_from_this()](beast::error_code error, size_t bytes) {
    self->waiting_ = false;
    if (self->closed_) return;
    if (error == asio::error::operation_aborted && self->host_.stopping())
      return self->read_header();  // closes, unless bytes came in between
    if (error) return self->close();
    self->buffer_.commit(bytes);
    self->reading_ = true;
    self->parse_header();
  });
}

// Most requests come in one piece: then nothing is waited for, and no timer is set.
void HttpSession::parse_header() {
  if (closed_) return;
  beast::error_code error;
  buffer_.consume(parser_->put(buffer_.data(), error));
  if (error == http::error::need_more) error = {};
  if (error || parser_->is_header_done()) return on_header(error);
  stream_.expires_after(host_.options().header_timeout);
  http::async_read_header(stream_, buffer_, *parser_,
                          [self = shared_from_this()](beast::error_code e, size_t) { self->on_header(e); });
}

// One timer for all waits of a connection: it is left running while requests come, and looks when it fires.
void HttpSession::expect_request(Clock::duration within) {
  idle_until_ = Clock::now() + within;
  if (idle_armed_ && idle_.expiry() <= idle_until_) return;
  idle_armed_ = true;
  idle_.expires_at(idle_until_);
  idle_.async_wait([self = shared_from_this()](beast::error_code error) {
    if (error || self->closed_) return;
    self->idle_armed_ = false;
    if (!self->waiting_) return;
    const Clock::time_point now = Clock::now();
    if (now >= self->idle_until_) return self->close();
    self->expect_request(self->idle_until_ - now);
  });
}

void HttpSession::on_header(beast::error_code error) {
  if (closed_) return;
  if (error == http::error::header_limit)
    return reject(431, Status(StatusCode::too_large,
                              fmt::format("the request's headers exceed {} bytes", host_.options().max_header)));
  if (error == beast::error::timeout || error == http::error::end_of_stream || error == http::error::partial_message ||
      error == asio::error::connection_reset || error == asio::error::operation_aborted || error == asio::error::eof)
    return close();
  if (error)
    return reject(400, Status(StatusCode::malformed, fmt::format("this is not HTTP/1.1: {}", error.message())));
  const auto& header = parser_->get();
  if (header.target().size() > host_.options().max_target)
    return reject(414,
                  Status(StatusCode::too_large, fmt::format("the URL exceeds {} bytes", host_.options().max_target)));
  const std::string_view target(header.target().data(), header.target().size());
  max_body_ = host_.options().body_limit ? host_.options().body_limit(origin_form(target)) : host_.options().max_body;
  if (parser_->content_length() && *parser_->content_length() > max_body_) return refuse_body();
  parser_->body_limit(max_body_);
  // Two ways to say where the body ends is how requests are smuggled past proxies.
  if (header.count(http::field::transfer_encoding) > 0 && header.count(http::field::content_length) > 0)
    return reject(400, Status(StatusCode::malformed, "the request has both Content-Length and Transfer-Encoding"));
  // Only "chunked", and only where it exists: anything else leaves the body's end to guessing.
  if (header.count(http::field::transfer_encoding) > 0 &&
      (header.version() != 11 || header.count(http::field::transfer_encoding) > 1 ||
       !beast::iequals(header[http::field::transfer_encoding], "chunked")))
    return reject(400, Status(StatusCode::malformed, "Transfer-Encoding must be 'chunked', on HTTP/1.1, once"));
  if (header.count(http::field::content_length) > 1 || header.count(http::field::host) > 1)
    return reject(400, Status(StatusCode::malformed, "the request repeats Content-Length or Host"));
  if (header.version() == 11 && header.count(http::field::host) == 0)
    return reject(400, Status(StatusCode::malformed, "the request has no Host header"));
  if (beast::iequals(header[http::field::expect], "100-continue") && !parser_->is_done()) {
    auto proceed = std::make_shared<std::string>("HTTP/1.1 100 Continue\r\n\r\n");
    return asio::async_write(stream_, asio::buffer(*proceed),
                             [self = shared_from_this(), proceed](beast::error_code e, size_t) {
                               if (e) return self->close();
                               self->read_body();
                             });
  }
  read_body();
}

void HttpSession::refuse_body() {
  reject(413, Status(StatusCode::too_large, fmt::format("the body exceeds {} bytes (--max-body-size)", max_body_)));
}

void HttpSession::read_body() {
  while (!parser_->is_done() && buffer_.size() > 0) {
    beast::error_code error;
    const size_t used = parser_->put(buffer_.data(), error);
    buffer_.consume(used);
    if (error == http::error::need_more) break;
    if (error) return on_body(error, used);
    if (used == 0) break;
  }
  if (parser_->is_done()) return dispatch();
  // Not the stream's own timeout: that closes the socket, and the client would never hear why.
  late_ = false;
  stream_.expires_never();
  ping_.expires_after(host_.options().body_timeout);
  ping_.async_wait([self = shared_from_this()](beast::error_code error) {
    if (error || self->closed_ || !self->reading_ || self->ping_.expiry() > Clock::now()) return;
    self->late_ = true;
    self->stream_.cancel();
  });
  http::async_read_some(stream_, buffer_, *parser_, [self = shared_from_this()](beast::error_code error, size_t bytes) {
    self->on_body(error, bytes);
  });
}

void HttpSession::on_body(beast::error_code error, size_t) {
  if (closed_) return;
  if (error == http::error::body_limit) return refuse_body();
  if (error == asio::error::operation_aborted && late_)
    return reject(408, Status(StatusCode::deadline_exceeded, "the body did not arrive in time"));
  if (error == http::error::partial_message || error == asio::error::connection_reset || error == asio::error::eof ||
      error == http::error::end_of_stream || error == asio::error::operation_aborted)
    return close();
  if (error)
    return reject(400, Status(StatusCode::malformed, fmt::format("the body cannot be read: {}", error.message())));
  read_body();
}

Status HttpSession::build_request(HttpRequest& request) {
  auto& message = parser_->get();
  request.method = std::string(message.method_string());
  request.client = client_;
  for (const auto& field : message)
    request.headers.emplace_back(lower(field.name_string()), std::string(field.value()));
  request.id = request_id(find_header(request.headers, "x-request-id"));
  const std::string_view target = origin_form(std::string_view(message.target().data(), message.target().size()));
  const size_t question = target.find('?');
  const auto path = percent_decode(target.substr(0, question));
  if (!path || path->empty() || path->front() != '/')
    return Status(StatusCode::malformed, fmt::format("the URL {} is not a path", quoted(target)));
  request.path = *path;
  if (question != std::string_view::npos) request.query = std::string(target.substr(question + 1));
  request.body = std::move(message.body());
  const Result<Coding> coding = parse_coding(find_header(request.headers, "content-encoding").value_or(""));
  if (!coding.ok()) return coding.status();
  if (*coding == Coding::identity) return Status();
  Result<std::string> inflated = decompress(request.body, *coding, max_body_);
  if (!inflated.ok()) return inflated.status();
  request.body = std::move(*inflated);
  return Status();
}

void HttpSession::dispatch() {
  reading_ = false;
  ping_.cancel();
  stream_.expires_never();
  host_.busy(1);
  current_ = std::make_shared<Exchange>(shared_from_this(), parser_->get().keep_alive(), parser_->get().version());
  const Status status = build_request(current_->incoming);
  const std::shared_ptr<Exchange> exchange = current_;
  if (!status.ok()) {
    exchange->route = "unknown";
    if (host_.options().unreadable) return exchange->respond(host_.options().unreadable(exchange->incoming, status));
    HttpResponse response = error_response(status, Dialect::task);
    if (status.code() == StatusCode::unsupported) response.status = 415;
    return exchange->respond(std::move(response));
  }
  host_.handle(exchange);
  if (!closed_ && current_ == exchange) watch_client();  // else it is answered already
}

// A client that goes away while its answer is computed is noticed by the end of its stream; its work is then cancelled.
void HttpSession::watch_client() {
  if (buffer_.size() > 0) return;  // the next request is here already
  stream_.socket().async_wait(
      asio::ip::tcp::socket::wait_read,
      [self = shared_from_this(), exchange = std::weak_ptr<Exchange>(current_)](beast::error_code error) {
        const std::shared_ptr<Exchange> watched = exchange.lock();
        if (error || !watched || self->current_ != watched || self->closed_) return;
        if (self->stream_.encrypted()) return self->watch_hang_up();
        char byte = 0;
        const ssize_t got = ::recv(self->stream_.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
          watched->cancel->store(true);
      });
}

// Under TLS readable bytes may be the farewell or the next request, and only TLS can tell: the end of the TCP stream,
// which follows a farewell at once, is looked for instead.
void HttpSession::watch_hang_up() {
  pollfd wait{stream_.socket().native_handle(), POLLRDHUP, 0};
  if (::poll(&wait, 1, 0) > 0) return current_->cancel->store(true);
  hang_up_.expires_after(kHangUpLook);
  hang_up_.async_wait(
      [self = shared_from_this(), exchange = std::weak_ptr<Exchange>(current_)](beast::error_code error) {
        const std::shared_ptr<Exchange> watched = exchange.lock();
        if (!error && watched && self->current_ == watched && !self->closed_) self->watch_hang_up();
      });
}

void HttpSession::reject(int code, const Status& status) {
  host_.busy(1);
  reading_ = false;
  ping_.cancel();
  current_ = std::make_shared<Exchange>(shared_from_this(), false, 11);
  current_->incoming.id = request_id(std::nullopt);
  current_->incoming.client = client_;
  current_->incoming.method = "?";
  current_->route = "unreadable";
  HttpResponse response = error_response(status, Dialect::task);
  response.status = code;
  send(current_, std::move(response));
}

void HttpSession::fill_header(Outgoing& message, const Exchange& exchange, const HttpResponse& response) const {
  message.version(exchange.version);
  message.result(static_cast<unsigned>(response.status));
  if (response.status == 499) message.reason("Client Closed Request");
  message.set(http::field::server, fmt::format("inazuma/{}", kVersion));
  if (!response.content_type.empty()) message.set(http::field::content_type, response.content_type);
  message.set("x-request-id", exchange.incoming.id);
  for (const auto& [name, value] : response.headers) message.insert(name, value);
  for (const auto& [name, value] : host_.extra_headers(exchange.incoming))
    if (message.find(name) == message.end()) message.insert(name, value);
}

void HttpSession::send(const std::shared_ptr<Exchange>& exchange, HttpResponse response) {
  if (closed_ || current_ != exchange || exchange->answered) return;
  exchange->answered = true;
  exchange->status = response.status;
  auto message = std::make_shared<Outgoing>();
  const Coding coding = response.body.size() >= kCompressFrom
                            ? accepted_coding(find_header(exchange->incoming.headers, "accept-encoding").value_or(""))
                            : Coding::identity;
  if (coding != Coding::identity) {
    response.body = compress(response.body, coding);
    response.headers.emplace_back("content-encoding", coding == Coding::gzip ? "gzip" : "deflate");
    response.headers.emplace_back("vary", "accept-encoding");
  }
  fill_header(*message, *exchange, response);
  const bool keep_alive = exchange->keep_alive && !host_.stopping();
  message->keep_alive(keep_alive);
  const bool bodiless = response.status == 204 || response.status == 304;
  if (!bodiless) message->content_length(response.body.size());
  if (exchange->incoming.method != "HEAD" && !bodiless) message->body() = std::move(response.body);
  exchange->bytes_out = message->body().size();
  outgoing_ = message;
  if (stream_.encrypted() || exchange->incoming.method == "HEAD") stream_.expires_after(host_.options().write_timeout);
  const auto done = [self = shared_from_this(), exchange, message, keep_alive](beast::error_code error, size_t) {
    if (error) return self->account(*exchange), self->close();
    self->finished(exchange, keep_alive);
  };
  if (exchange->incoming.method == "HEAD") {  // the length of the body that GET would bring, and none of it
    auto serializer = std::make_shared<http::response_serializer<http::string_body>>(*message);
    serializer->split(true);
    return http::async_write_header(stream_, *serializer,
                                    [done, serializer](beast::error_code error, size_t bytes) { done(error, bytes); });
  }
  if (stream_.encrypted()) return http::async_write(stream_, *message, done);
  send_at_once(exchange, *message, keep_alive);
}

// An answer that the socket's buffer takes needs neither a timer nor a turn of the loop; what is left is waited for.
void HttpSession::send_at_once(const std::shared_ptr<Exchange>& exchange, const Outgoing& message, bool keep_alive) {
  auto bytes = std::make_shared<std::string>();
  bytes->reserve(message.body().size() + kHeaderGuess);
  http::response_serializer<http::string_body> serializer(message);
  beast::error_code error;
  while (!serializer.is_done() && !error)
    serializer.next(error, [&](beast::error_code&, const auto& buffers) {
      for (const auto buffer : beast::buffers_range_ref(buffers))
        bytes->append(static_cast<const char*>(buffer.data()), buffer.size());
      serializer.consume(beast::buffer_bytes(buffers));
    });
  const ssize_t sent =
      error ? -1 : ::send(stream_.socket().native_handle(), bytes->data(), bytes->size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && (error || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)))
    return account(*exchange), close();
  const size_t done = sent < 0 ? 0 : static_cast<size_t>(sent);
  if (done == bytes->size()) return finished(exchange, keep_alive);
  stream_.expires_after(host_.options().write_timeout);
  asio::async_write(stream_, asio::buffer(*bytes) + done,
                    [self = shared_from_this(), exchange, bytes, keep_alive](beast::error_code failed, size_t) {
                      if (failed) return self->account(*exchange), self->close();
                      self->finished(exchange, keep_alive);
                    });
}

void HttpSession::begin(const std::shared_ptr<Exchange>& exchange, HttpResponse head) {
  if (closed_ || current_ != exchange || exchange->answered) return;
  exchange->answered = true;
  exchange->status = head.status;
  auto message = std::make_shared<Outgoing>();
  fill_header(*message, *exchange, head);
  chunked_ = exchange->version >= 11;
  message->chunked(chunked_);
  message->keep_alive(chunked_ && exchange->keep_alive && !host_.stopping());
  outgoing_ = message;
  streaming_done_ = false;
  chunks_.clear();
  writing_ = true;
  stream_.expires_after(host_.options().write_timeout);
  auto serializer = std::make_shared<http::response_serializer<http::string_body>>(*message);
  serializer->split(true);
  http::async_write_header(stream_, *serializer,
                           [self = shared_from_this(), exchange, message, serializer](beast::error_code error, size_t) {
                             self->writing_ = false;
                             if (error) return exchange->cancel->store(true), self->account(*exchange), self->close();
                             self->write_next(exchange);
                           });
  arm_ping(exchange);
}

void HttpSession::push(const std::shared_ptr<Exchange>& exchange, std::string bytes, bool last) {
  if (closed_ || current_ != exchange || streaming_done_) return;
  if (!bytes.empty()) {
    exchange->bytes_out += bytes.size();
    chunks_.push_back(chunked_ ? fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes) : std::move(bytes));
  }
  if (last) {
    streaming_done_ = true;
    if (chunked_) chunks_.emplace_back("0\r\n\r\n");
  }
  arm_ping(exchange);
  write_next(exchange);
}

void HttpSession::write_next(const std::shared_ptr<Exchange>& exchange) {
  if (writing_ || closed_) return;
  if (chunks_.empty()) {
    if (streaming_done_) finished(exchange, outgoing_->keep_alive() && chunked_);
    return;
  }
  writing_ = true;
  auto bytes = std::make_shared<std::string>();
  for (std::string& chunk : chunks_) bytes->append(chunk);
  chunks_.clear();
  stream_.expires_after(host_.options().write_timeout);
  asio::async_write(stream_, asio::buffer(*bytes),
                    [self = shared_from_this(), exchange, bytes](beast::error_code error, size_t) {
                      self->writing_ = false;
                      if (error) return exchange->cancel->store(true), self->account(*exchange), self->close();
                      self->stream_.expires_never();
                      self->write_next(exchange);
                    });
}

void HttpSession::arm_ping(const std::shared_ptr<Exchange>& exchange) {
  if (streaming_done_) {
    ping_.cancel();
    return;
  }
  ping_.expires_after(host_.options().ping_interval);
  ping_.async_wait([self = shared_from_this(), exchange](beast::error_code error) {
    if (!error && !self->closed_ && self->current_ == exchange && !self->streaming_done_)
      self->push(exchange, ": ping\n\n", false);
  });
}

void HttpSession::finished(const std::shared_ptr<Exchange>& exchange, bool keep_alive) {
  ping_.cancel();
  hang_up_.cancel();
  account(*exchange);
  current_.reset();
  outgoing_.reset();
  host_.busy(-1);
  if (!keep_alive) return linger();
  read_header();
}

// A connection closed while bytes of the client are unread is reset, and a reset can destroy the answer on its way (a
// body over the limit, say): the sending side ends first, then the rest of what comes is read and thrown away, for a
// while.
void HttpSession::linger() {
  buffer_.clear();
  stream_.expires_after(kLinger);
  stream_.async_end([self = shared_from_this()](beast::error_code) {
    if (self->closed_) return;
    beast::error_code ignored;
    self->stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    self->stream_.expires_after(kLinger);
    self->discard();
  });
}

void HttpSession::discard() {
  stream_.tcp().async_read_some(buffer_.prepare(65536),
                                [self = shared_from_this()](beast::error_code error, size_t bytes) {
                                  self->lingered_ += bytes;
                                  if (error || self->closed_ || self->lingered_ > 4 * self->host_.options().max_body)
                                    return self->close();
                                  self->discard();
                                });
}

void HttpSession::account(const Exchange& exchange) const {
  const HttpRequest& request = exchange.incoming;
  const std::chrono::duration<double> took = Clock::now() - request.arrival;
  host_.metrics().count_http(exchange.route.empty() ? "unknown" : exchange.route, known_method(request.method),
                             exchange.status, took);
  if (!host_.options().access_log) return;
  const bool routine = exchange.route.starts_with("/health") || exchange.route == "/metrics" ||
                       exchange.route == "/livez" || exchange.route == "/readyz" || exchange.route == "/ping" ||
                       exchange.route.starts_with("/v2/health");
  log_access({.id = request.id,
              .method = request.method,
              .route = exchange.route,
              .status = exchange.status,
              .bytes_in = request.body.size(),
              .bytes_out = exchange.bytes_out,
              .took = took,
              .usage = exchange.usage,
              .client = request.client,
              .routine = routine});
}

}  // namespace inazuma
