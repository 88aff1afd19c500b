#include "frontends/transport/http2/http2_server.h"

#include "frontends/transport/http2/http2_session.h"
#include "frontends/transport/listener.h"

namespace inazuma {

struct Http2Server::Impl : Http2Host {
  Impl(Http2Options options, Http2Open open, Metrics& metrics)
      : options_(std::move(options)),
        open_(std::move(open)),
        metrics_(metrics),
        listener_(
            {.host = options_.host, .port = options_.port, .threads = options_.threads, .flag = options_.port_flag},
            [this](boost::asio::ip::tcp::socket socket) {
              std::make_shared<Http2Session>(std::move(socket), *this)->run();
            }) {}

  const Http2Options& options() const override { return options_; }
  TlsContext* tls() override { return tls_.get(); }
  bool stopping() const override { return stopping_.load(); }
  std::shared_ptr<Http2Receiver> open(const std::shared_ptr<Http2Stream>& stream, Headers headers) override {
    return open_(stream, std::move(headers));
  }
  void joined(const std::shared_ptr<Http2Session>& session) override {
    metrics_.connections(1);
    connections_.joined(session);
  }
  void left(const std::shared_ptr<Http2Session>& session) override {
    metrics_.connections(-1);
    connections_.left(session);
  }
  void busy(int delta) override { connections_.busy(delta); }

  Http2Options options_;
  Http2Open open_;
  Metrics& metrics_;
  std::shared_ptr<TlsContext> tls_;
  Connections<Http2Session> connections_;
  std::atomic<bool> stopping_ = false;
  Listener listener_;  // last: its threads use what stands above
};

Http2Server::Http2Server(Http2Options options, Http2Open open, Metrics& metrics)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(open), metrics)) {}

Http2Server::~Http2Server() {
  stop();
}

Status Http2Server::start() {
  if (!impl_->options_.tls.certificate.empty()) {
    Result<std::shared_ptr<TlsContext>> context = make_tls_context(impl_->options_.tls, "h2");
    if (!context.ok()) return context.status();
    impl_->tls_ = std::move(*context);
  }
  return impl_->listener_.start();
}

uint16_t Http2Server::port() const {
  return impl_->listener_.port();
}

void Http2Server::stop_accepting() {
  impl_->stopping_ = true;
  impl_->listener_.stop_accepting(
      [impl = impl_.get()] { impl->connections_.close_door([](Http2Session& session) { session.drain(); }); });
}

bool Http2Server::wait_idle(Clock::time_point until) {
  return impl_->connections_.wait_idle(until);
}

void Http2Server::stop() {
  // Streams and connections hold each other until they are closed.
  if (impl_->listener_.stop()) impl_->connections_.clear([](Http2Session& session) { session.close(); });
}

}  // namespace inazuma
