#include "frontends/transport/listener.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>

#include "base/log.h"

namespace inazuma {

namespace asio = boost::asio;
using asio::ip::tcp;

// Handlers hold plain pointers: the threads that run them are joined before this ends, and a shared one would keep it
// alive through its own queue.
Listener::Listener(ListenOptions options, Accepted accepted)
    : options_(std::move(options)),
      accepted_(std::move(accepted)),
      loops_([this] {
        std::vector<std::unique_ptr<Loop>> loops;
        for (int i = 0; i < std::max(options_.threads, 1); ++i) loops.push_back(std::make_unique<Loop>());
        return loops;
      }()),
      acceptor_(loops_.front()->io) {}

Listener::~Listener() {
  stop();
}

// What a handler throws is a defect (or memory's end) of one connection and must not end the others.
void Listener::work(Loop& loop) {
  while (true) {
    const Status status = capture([&] { loop.io.run(); });
    if (status.ok()) return;
    log::error("a connection's handler failed", {{"error", status.message()}});
  }
}

void Listener::accept() {
  acceptor_.async_accept(next_loop(), [this](boost::system::error_code error, tcp::socket socket) {
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

asio::io_context& Listener::next_loop() {
  return loops_[next_++ % loops_.size()]->io;
}

void Listener::serve(tcp::socket socket) {
  boost::system::error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  accepted_(std::move(socket));
}

// Closing a listener resets connections that wait to be accepted, and their requests with them: take them all first.
void Listener::accept_waiting() {
  boost::system::error_code error;
  acceptor_.non_blocking(true, error);
  while (!error) {
    tcp::socket socket(next_loop());
    acceptor_.accept(socket, error);
    if (!error) serve(std::move(socket));
  }
}

Status Listener::start() {
  boost::system::error_code error;
  const auto address = asio::ip::make_address(options_.host == "localhost" ? "127.0.0.1" : options_.host, error);
  if (error)
    return Status(StatusCode::invalid,
                  fmt::format("--host {} is not an IP address; use 127.0.0.1, 0.0.0.0 or ::", quoted(options_.host)));
  const tcp::endpoint endpoint(address, options_.port);
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error == boost::system::errc::permission_denied)
    return Status(StatusCode::forbidden, fmt::format("no permission to listen on port {}; choose one above 1023 ({})",
                                                     options_.port, options_.flag));
  if (error)
    return Status(StatusCode::unavailable, fmt::format("cannot listen on {} port {}: {}; choose another ({})",
                                                       options_.host, options_.port, error.message(), options_.flag));
  accept();
  for (const auto& loop : loops_) loop->thread = std::thread([&loop = *loop] { work(loop); });
  return Status();
}

uint16_t Listener::port() const {
  return acceptor_.local_endpoint().port();
}

void Listener::stop_accepting(std::function<void()> closed) {
  asio::post(acceptor_.get_executor(), [this, closed = std::move(closed)] {
    boost::system::error_code ignored;
    accept_waiting();
    acceptor_.close(ignored);
    closed();
  });
}

bool Listener::stop() {
  if (!loops_.front()->thread.joinable()) return false;
  for (const auto& loop : loops_) loop->io.stop();
  for (const auto& loop : loops_) loop->thread.join();
  return true;
}

}  // namespace inazuma
