#include "cli/flags/transport_flags.h"

namespace inazuma::cli {

void TransportFlags::add_to(CLI::App& app) {
  const auto tls = app.add_option_group("TLS");
  tls->add_option("--ssl-certfile", http_tls.certificate, "Certificate chain (PEM); serves HTTPS, and gRPC over TLS")
      ->envname("INAZUMA_SSL_CERTFILE");
  tls->add_option("--ssl-keyfile", http_tls.key, "Its private key (PEM)")->envname("INAZUMA_SSL_KEYFILE");
  tls->add_option("--ssl-ca-certs", http_tls.client_ca,
                  "Authorities (PEM) that must have signed a client's certificate")
      ->envname("INAZUMA_SSL_CA_CERTS");
  tls->add_option("--grpc-use-ssl", grpc_ssl, "gRPC over TLS with files of its own")->envname("INAZUMA_GRPC_USE_SSL");
  tls->add_option("--grpc-use-ssl-mutual", grpc_ssl_mutual, "The same, and clients show certificates too")
      ->envname("INAZUMA_GRPC_USE_SSL_MUTUAL");
  tls->add_option("--grpc-server-cert", grpc_tls.certificate, "Certificate chain (PEM)")
      ->envname("INAZUMA_GRPC_SERVER_CERT");
  tls->add_option("--grpc-server-key", grpc_tls.key, "Its private key (PEM)")->envname("INAZUMA_GRPC_SERVER_KEY");
  tls->add_option("--grpc-root-cert", grpc_tls.client_ca, "Authorities (PEM) of client certificates")
      ->envname("INAZUMA_GRPC_ROOT_CERT");
  const auto grpc = app.add_option_group("gRPC");
  grpc_port_option_ = grpc->add_option("--grpc-port", grpc_port, "Port for gRPC; 0 = any free one, -1 = none")
                          ->envname("INAZUMA_GRPC_PORT")
                          ->check(CLI::Range(-1, 65535))
                          ->capture_default_str();
  grpc->add_option("--grpc-address", grpc_host, "Address for gRPC when it is not HTTP's")
      ->envname("INAZUMA_GRPC_ADDRESS");
  grpc->add_option("--allow-grpc", allow_grpc, "Whether the gRPC port is opened at all")
      ->envname("INAZUMA_ALLOW_GRPC")
      ->capture_default_str();
  grpc->add_option("--grpc-threads,--grpc-infer-thread-count", grpc_threads, "Threads for gRPC connections")
      ->envname("INAZUMA_GRPC_THREADS")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  grpc->add_option("--grpc-max-message-size", max_message, "Largest message received, bytes (also after inflating)")
      ->envname("INAZUMA_GRPC_MAX_MESSAGE_SIZE")
      ->check(CLI::Range(uint64_t{1024}, uint64_t{INT_MAX}))
      ->capture_default_str();
  grpc->add_option("--grpc-infer-response-compression-level", compression, "Of answers to clients that accept it")
      ->envname("INAZUMA_GRPC_INFER_RESPONSE_COMPRESSION_LEVEL")
      ->check(CLI::IsMember({"none", "low", "medium", "high"}))
      ->capture_default_str();
  const auto milliseconds = CLI::Range(int64_t{0}, int64_t{INT_MAX});
  grpc->add_option("--grpc-keepalive-time", keepalive_time, "Milliseconds of silence after which a client is pinged")
      ->envname("INAZUMA_GRPC_KEEPALIVE_TIME")
      ->check(CLI::Range(1, INT_MAX))
      ->capture_default_str();
  grpc->add_option("--grpc-keepalive-timeout", keepalive_timeout, "Milliseconds for its answer")
      ->envname("INAZUMA_GRPC_KEEPALIVE_TIMEOUT")
      ->check(milliseconds)
      ->capture_default_str();
  grpc->add_option("--grpc-keepalive-permit-without-calls", keepalive_without_calls,
                   "Ping clients that have no call too")
      ->envname("INAZUMA_GRPC_KEEPALIVE_PERMIT_WITHOUT_CALLS")
      ->capture_default_str();
  grpc->add_option("--grpc-http2-max-pings-without-data", max_pings_without_data,
                   "Taken for compatibility: this server pings in silence only")
      ->check(milliseconds)
      ->capture_default_str();
  grpc->add_option("--grpc-http2-min-recv-ping-interval-without-data", min_ping_interval,
                   "Milliseconds between a client's pings that are no strike")
      ->envname("INAZUMA_GRPC_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA")
      ->check(milliseconds)
      ->capture_default_str();
  grpc->add_option("--grpc-http2-max-ping-strikes", max_ping_strikes,
                   "Strikes after which its connection is ended; 0 = any number")
      ->envname("INAZUMA_GRPC_HTTP2_MAX_PING_STRIKES")
      ->check(milliseconds)
      ->capture_default_str();
  grpc->add_option("--grpc-max-connection-age", max_age, "Milliseconds after which a connection is drained; 0 = never")
      ->envname("INAZUMA_GRPC_MAX_CONNECTION_AGE")
      ->check(milliseconds)
      ->capture_default_str();
  grpc->add_option("--grpc-max-connection-age-grace", max_age_grace, "Milliseconds it then has for its calls; 0 = any")
      ->envname("INAZUMA_GRPC_MAX_CONNECTION_AGE_GRACE")
      ->check(milliseconds)
      ->capture_default_str();
}

Status TransportFlags::check() const {
  if (http_tls.certificate.empty() != http_tls.key.empty())
    return Status(StatusCode::invalid, "--ssl-certfile and --ssl-keyfile belong together: give both");
  if (!http_tls.client_ca.empty() && http_tls.certificate.empty())
    return Status(StatusCode::invalid, "--ssl-ca-certs needs --ssl-certfile and --ssl-keyfile");
  if ((grpc_ssl || grpc_ssl_mutual) && (grpc_tls.certificate.empty() || grpc_tls.key.empty()))
    return Status(StatusCode::invalid, "--grpc-use-ssl needs --grpc-server-cert and --grpc-server-key");
  if (grpc_ssl_mutual && grpc_tls.client_ca.empty())
    return Status(StatusCode::invalid, "--grpc-use-ssl-mutual needs --grpc-root-cert");
  return Status();
}

GrpcOptions TransportFlags::grpc_options(const std::string& host, bool access_log) const {
  using std::chrono::milliseconds;
  GrpcOptions out;
  out.access_log = access_log;
  out.max_message = max_message;
  out.compression_level = compression == "low" ? 1 : compression == "medium" ? 6 : compression == "high" ? 9 : 0;
  Http2Options& http2 = out.http2;
  http2.host = grpc_host.empty() ? host : grpc_host;
  http2.port = static_cast<uint16_t>(grpc_port);
  http2.threads = grpc_threads;
  if (grpc_ssl || grpc_ssl_mutual) {
    http2.tls = grpc_tls;
    if (!grpc_ssl_mutual) http2.tls.client_ca.clear();
  } else {
    http2.tls = http_tls;
  }
  http2.keepalive_time = milliseconds(keepalive_time);
  http2.keepalive_timeout = milliseconds(keepalive_timeout);
  http2.keepalive_without_calls = keepalive_without_calls;
  http2.min_ping_interval = milliseconds(min_ping_interval);
  http2.max_ping_strikes = max_ping_strikes;
  http2.max_age = milliseconds(max_age);
  http2.max_age_grace = milliseconds(max_age_grace);
  return out;
}

}  // namespace inazuma::cli
