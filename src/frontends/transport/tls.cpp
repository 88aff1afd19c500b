#include "frontends/transport/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <boost/asio/post.hpp>

namespace inazuma {

namespace {

namespace ssl = boost::asio::ssl;

// The client's list against our one protocol (its length-prefixed form); no common one ends the handshake (RFC
// 7301, 3.2).
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* offered,
                    unsigned offered_size, void* ours) {
  const auto& wanted = *static_cast<const std::string*>(ours);
  unsigned char* chosen = nullptr;
  const int result = SSL_select_next_proto(&chosen, out_size, reinterpret_cast<const unsigned char*>(wanted.data()),
                                           static_cast<unsigned>(wanted.size()), offered, offered_size);
  *out = chosen;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

void check(const boost::system::error_code& error, const char* what, const std::string& file) {
  if (error) throw fail(StatusCode::invalid, "{} {} cannot be used: {}", what, quoted(file, 4096), error.message());
}

// Contexts live as long as the program serves, and OpenSSL keeps only a pointer to the callback's argument.
const std::string& wire_form(const std::string& alpn) {
  static const std::string h2 = "\x02h2", http1 = "\x08http/1.1";
  return alpn == "h2" ? h2 : http1;
}

}  // namespace

Result<std::shared_ptr<TlsContext>> make_tls_context(const TlsFiles& files, const std::string& alpn) {
  return capture([&] {
    auto context = std::make_shared<TlsContext>(ssl::context::tls_server);
    context->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 | ssl::context::no_sslv3 |
                         ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1 | ssl::context::no_compression);
    SSL_CTX_set_options(context->native_handle(), SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context->native_handle(), SSL_MODE_RELEASE_BUFFERS);
    boost::system::error_code error;
    context->use_certificate_chain_file(files.certificate, error);
    check(error, "certificate", files.certificate);
    context->use_private_key_file(files.key, ssl::context::pem, error);
    check(error, "key", files.key);
    if (SSL_CTX_check_private_key(context->native_handle()) != 1)
      throw fail(StatusCode::invalid, "key {} does not belong to certificate {}", quoted(files.key),
                 quoted(files.certificate));
    if (!files.client_ca.empty()) {
      context->load_verify_file(files.client_ca, error);
      check(error, "client certificate authority", files.client_ca);
      context->set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert);
    }
    SSL_CTX_set_alpn_select_cb(context->native_handle(), choose_protocol, const_cast<std::string*>(&wire_form(alpn)));
    return context;
  });
}

void Wire::async_handshake(std::function<void(boost::system::error_code)> handler) {
  if (tls_) return tls_->async_handshake(ssl::stream_base::server, std::move(handler));
  boost::asio::post(get_executor(), [handler = std::move(handler)] { handler({}); });
}

void Wire::async_end(std::function<void(boost::system::error_code)> handler) {
  if (tls_) return tls_->async_shutdown(std::move(handler));
  boost::asio::post(get_executor(), [handler = std::move(handler)] { handler({}); });
}

void Wire::read(boost::asio::mutable_buffer into, WireHandler done) {
  if (tls_) return tls_->async_read_some(into, std::move(done));
  tcp_.async_read_some(into, std::move(done));
}

void Wire::write(const Gathered& from, WireHandler done) {
  if (tls_) return tls_->async_write_some(from, std::move(done));
  tcp_.async_write_some(from, std::move(done));
}

}  // namespace inazuma
