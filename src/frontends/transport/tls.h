#pragma once
// TLS (OpenSSL 3) for both transports: certificate and key from PEM files, and a connection that is plain or encrypted.

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"

namespace inazuma {

struct TlsFiles {
  std::string certificate;  ///< PEM chain, the server's own first; "" = no TLS
  std::string key;          ///< PEM, unencrypted
  std::string client_ca;    ///< PEM; when given, clients must show a certificate signed by it
};

using TlsContext = boost::asio::ssl::context;

/// TLS 1.2 and newer, offering the one application protocol `alpn` ("h2", "http/1.1").
/// invalid: a file is missing, is not PEM, or the key does not belong to the certificate; the message names the file.
Result<std::shared_ptr<TlsContext>> make_tls_context(const TlsFiles& files, const std::string& alpn);

/// What runs once a read or write of a Wire is over: any move-only function of (error_code, bytes). Asio's operations
/// are written out for each type of handler, and each of Beast's operations is one: with one type here, reading and
/// writing over TLS and TCP are compiled once instead of once for each of them.
class WireHandler {
 public:
  template <class Function>
  requires(!std::is_same_v<std::decay_t<Function>, WireHandler>) explicit WireHandler(Function&& function)
      : held_(std::make_unique<Held<std::decay_t<Function>>>(std::forward<Function>(function))) {}
  void operator()(const boost::system::error_code& error, size_t bytes) { held_->call(std::move(held_), error, bytes); }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual void call(std::unique_ptr<Base> self, const boost::system::error_code& error, size_t bytes) = 0;
  };
  template <class Function>
  struct Held : Base {
    explicit Held(Function given) : function(std::move(given)) {}
    // Its memory is free again before the function begins the next operation.
    void call(std::unique_ptr<Base> self, const boost::system::error_code& error, size_t bytes) override {
      Function last = std::move(function);
      self.reset();
      last(error, bytes);
    }
    Function function;
  };
  std::unique_ptr<Base> held_;
};

/// A connection as the sessions see it: Asio's stream requirements, and Beast's timeouts, over TCP or TLS.
/// Everything runs on the socket's executor (a loop of one thread); handlers bound to another one are not honoured.
class Wire {
 public:
  using executor_type = boost::beast::tcp_stream::executor_type;

  /// `tls` null: plain. The context must outlive the wire.
  Wire(boost::asio::ip::tcp::socket socket, TlsContext* tls) : tcp_(std::move(socket)) {
    if (tls != nullptr) tls_.emplace(tcp_, *tls);
  }

  executor_type get_executor() { return tcp_.get_executor(); }
  boost::asio::ip::tcp::socket& socket() { return tcp_.socket(); }
  boost::beast::tcp_stream& tcp() { return tcp_; }
  bool encrypted() const { return tls_.has_value(); }

  void expires_after(std::chrono::nanoseconds timeout) { tcp_.expires_after(timeout); }
  void expires_never() { tcp_.expires_never(); }
  void cancel() { tcp_.cancel(); }
  void close() { tcp_.close(); }

  /// At once (through the executor) when the connection is plain.
  void async_handshake(std::function<void(boost::system::error_code)> handler);

  /// Tells the other side that nothing more will come.
  void async_end(std::function<void(boost::system::error_code)> handler);

  /// Fills the first buffer that has room.
  template <class Buffers, class Handler>
  auto async_read_some(const Buffers& buffers, Handler&& handler) {
    return initiate(std::forward<Handler>(handler),
                    [this, into = first_of(buffers)](WireHandler done) { read(into, std::move(done)); });
  }

  template <class Buffers, class Handler>
  auto async_write_some(const Buffers& buffers, Handler&& handler) {
    return initiate(std::forward<Handler>(handler),
                    [this, from = gather(buffers)](WireHandler done) { write(from, std::move(done)); });
  }

 private:
  /// What one write takes: the first buffers of a sequence.
  struct Gathered {
    std::array<boost::asio::const_buffer, 16> buffers;
    size_t count = 0;
    const boost::asio::const_buffer* begin() const { return buffers.data(); }
    const boost::asio::const_buffer* end() const { return buffers.data() + count; }
  };

  template <class Buffers>
  static Gathered gather(const Buffers& buffers) {
    Gathered out;
    const auto end = boost::asio::buffer_sequence_end(buffers);
    for (auto at = boost::asio::buffer_sequence_begin(buffers); at != end && out.count < out.buffers.size(); ++at)
      if (const boost::asio::const_buffer buffer = *at; buffer.size() > 0) out.buffers[out.count++] = buffer;
    return out;
  }

  template <class Buffers>
  static boost::asio::mutable_buffer first_of(const Buffers& buffers) {
    const auto end = boost::asio::buffer_sequence_end(buffers);
    for (auto at = boost::asio::buffer_sequence_begin(buffers); at != end; ++at)
      if (const boost::asio::mutable_buffer buffer = *at; buffer.size() > 0) return buffer;
    return {};
  }

  template <class Handler, class Begin>
  static auto initiate(Handler&& handler, Begin begin) {
    return boost::asio::async_initiate<Handler, void(boost::system::error_code, size_t)>(
        [](auto&& done, Begin& go) { go(WireHandler(std::forward<decltype(done)>(done))); }, handler, begin);
  }

  void read(boost::asio::mutable_buffer into, WireHandler done);
  void write(const Gathered& from, WireHandler done);

  boost::beast::tcp_stream tcp_;
  std::optional<boost::asio::ssl::stream<boost::beast::tcp_stream&>> tls_;
};

}  // namespace inazuma
