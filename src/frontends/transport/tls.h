#pragma once
// TLS (OpenSSL 3) for both transports: certificate and key from PEM files, and a connection that is plain or encrypted.

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/tcp_stream.hpp>
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

/// A connection as the sessions see it: Asio's stream requirements, and Beast's timeouts, over TCP or TLS.
/// Everything runs on the socket's executor (a loop of one thread).
class Wire {
 public:
  using executor_type = boost::beast::tcp_stream::executor_type;
  using Buffer = boost::asio::const_buffer;

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

  /// handler(error_code): at once (through the executor) when the connection is plain.
  template <class Handler>
  void async_handshake(Handler&& handler) {
    if (tls_)
      tls_->async_handshake(boost::asio::ssl::stream_base::server, std::forward<Handler>(handler));
    else
      boost::asio::post(get_executor(), [handler = std::forward<Handler>(handler)]() mutable { handler({}); });
  }

  /// Tells the other side that nothing more will come; handler(error_code).
  template <class Handler>
  void async_end(Handler&& handler) {
    if (tls_)
      tls_->async_shutdown(std::forward<Handler>(handler));
    else
      boost::asio::post(get_executor(), [handler = std::forward<Handler>(handler)]() mutable { handler({}); });
  }

  template <class Buffers, class Handler>
  auto async_read_some(const Buffers& buffers, Handler&& handler) {
    using Signature = void(boost::system::error_code, size_t);
    return boost::asio::async_initiate<Handler, Signature>(
        [this](auto&& done, const Buffers& into) {
          if (tls_)
            tls_->async_read_some(into, std::forward<decltype(done)>(done));
          else
            tcp_.async_read_some(into, std::forward<decltype(done)>(done));
        },
        handler, buffers);
  }

  template <class Buffers, class Handler>
  auto async_write_some(const Buffers& buffers, Handler&& handler) {
    using Signature = void(boost::system::error_code, size_t);
    return boost::asio::async_initiate<Handler, Signature>(
        [this](auto&& done, const Buffers& from) {
          if (tls_)
            tls_->async_write_some(from, std::forward<decltype(done)>(done));
          else
            tcp_.async_write_some(from, std::forward<decltype(done)>(done));
        },
        handler, buffers);
  }

 private:
  boost::beast::tcp_stream tcp_;
  std::optional<boost::asio::ssl::stream<boost::beast::tcp_stream&>> tls_;
};

}  // namespace inazuma
