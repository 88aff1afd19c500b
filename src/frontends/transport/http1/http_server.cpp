#include "frontends/transport/http1/http_server.h"

#include "frontends/transport/http1/http_session.h"
#include "frontends/transport/listener.h"

namespace inazuma {

struct HttpServer::Impl : SessionHost {
  Impl(HttpServerOptions o, HttpHandler h, Metrics& m, HeaderSource e)
      : options_(std::move(o)),
        handler_(std::move(h)),
        metrics_(m),
        extra_headers_(std::move(e)),
        listener_(
            {.host = options_.host, .port = options_.port, .threads = options_.threads, .flag = options_.port_flag},
            [this](boost::asio::ip::tcp::socket socket) {
              std::make_shared<HttpSession>(std::move(socket), *this)->run();
            }) {}

  const HttpServerOptions& options() const override { return options_; }
  TlsContext* tls() override { return tls_.get(); }
  void handle(const std::shared_ptr<HttpExchange>& exchange) override { handler_(exchange); }
  Headers extra_headers(const HttpRequest& request) const override {
    return extra_headers_ ? extra_headers_(request) : Headers{};
  }
  Metrics& metrics() override { return metrics_; }
  bool stopping() const override { return stopping_.load(); }
  void joined(const std::shared_ptr<HttpSession>& session) override {
    metrics_.connections(1);
    connections_.joined(session);
  }
  void left(const std::shared_ptr<HttpSession>& session) override {
    metrics_.connections(-1);
    connections_.left(session);
  }
  void busy(int delta) override { connections_.busy(delta); }

  HttpServerOptions options_;
  HttpHandler handler_;
  Metrics& metrics_;
  HeaderSource extra_headers_;
  std::shared_ptr<TlsContext> tls_;
  Connections<HttpSession> connections_;
  std::atomic<bool> stopping_ = false;
  Listener listener_;  // last: its threads use what stands above
};

HttpServer::HttpServer(HttpServerOptions options, HttpHandler handler, Metrics& metrics, HeaderSource extra_headers)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(handler), metrics, std::move(extra_headers))) {}

HttpServer::~HttpServer() {
  stop();
}

Status HttpServer::start() {
  if (!impl_->options_.tls.certificate.empty()) {
    Result<std::shared_ptr<TlsContext>> context = make_tls_context(impl_->options_.tls, "http/1.1");
    if (!context.ok()) return context.status();
    impl_->tls_ = std::move(*context);
  }
  return impl_->listener_.start();
}

uint16_t HttpServer::port() const {
  return impl_->listener_.port();
}

void HttpServer::stop_accepting() {
  impl_->stopping_ = true;
  impl_->listener_.stop_accepting(
      [impl = impl_.get()] { impl->connections_.close_door([](HttpSession& session) { session.close_when_idle(); }); });
}

bool HttpServer::wait_idle(Clock::time_point until) {
  return impl_->connections_.wait_idle(until);
}

void HttpServer::stop() {
  if (impl_->listener_.stop()) impl_->connections_.clear([](HttpSession& session) { session.abandon(); });
}

}  // namespace inazuma
