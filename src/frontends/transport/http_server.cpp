#include "frontends/transport/http_server.h"

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "base/log.h"
#include "frontends/transport/http_session.h"

namespace inazuma {

namespace asio = boost::asio;
using asio::ip::tcp;

// Handlers hold plain pointers: the threads that run them are joined before this ends, and a shared one would keep it alive
// through its own queue.
struct HttpServer::Impl : SessionHost {
  Impl(HttpServerOptions o, HttpHandler h, Metrics& m, HeaderSource e)
      : options_(std::move(o)), handler_(std::move(h)), metrics_(m), extra_headers_(std::move(e)), io_(options_.threads), acceptor_(asio::make_strand(io_)) {}

  const HttpServerOptions& options() const override { return options_; }
  void handle(const std::shared_ptr<HttpExchange>& exchange) override { handler_(exchange); }
  Headers extra_headers(const HttpRequest& request) const override { return extra_headers_ ? extra_headers_(request) : Headers{}; }
  Metrics& metrics() override { return metrics_; }
  bool stopping() const override { return stopping_.load(); }

  void joined(const std::shared_ptr<HttpSession>& session) override {
    metrics_.connections(1);
    const std::lock_guard lock(mutex_);
    sessions_.insert(session);
  }
  void left(const std::shared_ptr<HttpSession>& session) override {
    metrics_.connections(-1);
    const std::lock_guard lock(mutex_);
    sessions_.erase(session);
    idle_.notify_all();
  }
  void busy(int delta) override {
    const std::lock_guard lock(mutex_);
    busy_ += delta;
    idle_.notify_all();
  }

  // What a handler throws is a defect (or memory's end) of one connection and must not end the others.
  void work() {
    while (true) {
      const Status status = capture([&] { io_.run(); });
      if (status.ok()) return;
      log::error("a connection's handler failed", {{"error", status.message()}});
    }
  }

  void accept() {
    acceptor_.async_accept(asio::make_strand(io_), [this](boost::system::error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
      if (error) {
        // Out of descriptors, most likely: breathe, or the loop would spin.
        log::warn("cannot accept a connection", {{"error", error.message()}});
        auto timer = std::make_shared<asio::steady_timer>(acceptor_.get_executor(), std::chrono::milliseconds(100));
        return timer->async_wait([this, timer](boost::system::error_code) {
          if (acceptor_.is_open()) accept();
        });
      }
      serve(std::move(socket));
      accept();
    });
  }

  void serve(tcp::socket socket) {
    boost::system::error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    std::make_shared<HttpSession>(std::move(socket), *this)->run();
  }

  // Closing a listener resets connections that wait to be accepted, and their requests with them: take them all first.
  void accept_waiting() {
    boost::system::error_code error;
    acceptor_.non_blocking(true, error);
    while (!error) {
      tcp::socket socket(asio::make_strand(io_));
      acceptor_.accept(socket, error);
      if (!error) serve(std::move(socket));
    }
  }

  HttpServerOptions options_;
  HttpHandler handler_;
  Metrics& metrics_;
  HeaderSource extra_headers_;
  asio::io_context io_;
  tcp::acceptor acceptor_;  // on a strand of its own: accepting and closing meet there
  std::vector<std::thread> threads_;
  std::atomic<bool> stopping_ = false;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::set<std::shared_ptr<HttpSession>> sessions_;
  int busy_ = 0;
  bool listening_ = true;
};

HttpServer::HttpServer(HttpServerOptions options, HttpHandler handler, Metrics& metrics, HeaderSource extra_headers)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(handler), metrics, std::move(extra_headers))) {}

HttpServer::~HttpServer() { stop(); }

Status HttpServer::start() {
  Impl& s = *impl_;
  boost::system::error_code error;
  const auto address = asio::ip::make_address(s.options_.host == "localhost" ? "127.0.0.1" : s.options_.host, error);
  if (error) return Status(StatusCode::invalid, fmt::format("--host {} is not an IP address; use 127.0.0.1, 0.0.0.0 or ::", quoted(s.options_.host)));
  const tcp::endpoint endpoint(address, s.options_.port);
  s.acceptor_.open(endpoint.protocol(), error);
  if (!error) s.acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) s.acceptor_.bind(endpoint, error);
  if (!error) s.acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error == boost::system::errc::permission_denied)
    return Status(StatusCode::forbidden, fmt::format("no permission to listen on port {}; choose one above 1023 (--port)", s.options_.port));
  if (error) return Status(StatusCode::unavailable, fmt::format("cannot listen on {} port {}: {}; choose another (--port)", s.options_.host, s.options_.port, error.message()));
  s.accept();
  for (int i = 0; i < s.options_.threads; ++i) s.threads_.emplace_back([&s] { s.work(); });
  return Status();
}

uint16_t HttpServer::port() const { return impl_->acceptor_.local_endpoint().port(); }

void HttpServer::stop_accepting() {
  impl_->stopping_ = true;
  asio::post(impl_->acceptor_.get_executor(), [impl = impl_.get()] {
    boost::system::error_code ignored;
    impl->accept_waiting();
    impl->acceptor_.close(ignored);
    const std::lock_guard lock(impl->mutex_);
    impl->listening_ = false;
    for (const auto& session : impl->sessions_) session->close_when_idle();
    impl->idle_.notify_all();
  });
}

bool HttpServer::wait_idle(Clock::time_point until) {
  std::unique_lock lock(impl_->mutex_);
  // Not only answers under way: a request may lie unread in a connection that is still open.
  impl_->idle_.wait_until(lock, until, [&] { return !impl_->listening_ && impl_->sessions_.empty(); });
  return impl_->busy_ == 0;
}

void HttpServer::stop() {
  if (impl_->threads_.empty()) return;
  impl_->io_.stop();
  for (std::thread& thread : impl_->threads_) thread.join();
  impl_->threads_.clear();
  const std::lock_guard lock(impl_->mutex_);
  for (const auto& session : impl_->sessions_) session->abandon();
  impl_->sessions_.clear();
}

}  // namespace inazuma
