#pragma once
// Flags of TLS and of the gRPC port.

#include <CLI/CLI.hpp>
#include <string>

#include "frontends/transport/grpc/grpc_server.h"

namespace inazuma::cli {

struct TransportFlags {
  TlsFiles http_tls;      ///< --ssl-certfile, --ssl-keyfile, --ssl-ca-certs; gRPC's too unless it has its own
  int grpc_port = -1;     ///< -1 = none; 0 = any free one
  std::string grpc_host;  ///< "" = as HTTP's
  bool allow_grpc = true;
  int grpc_threads = 2;
  uint64_t max_message = INT_MAX;
  std::string compression = "none";
  bool grpc_ssl = false, grpc_ssl_mutual = false;
  TlsFiles grpc_tls;
  int64_t keepalive_time = 7'200'000, keepalive_timeout = 20'000;
  bool keepalive_without_calls = false;
  int max_pings_without_data = 2;  ///< of this side; it pings only in silence, so that there is nothing to bound
  int64_t min_ping_interval = 300'000;
  int max_ping_strikes = 2;
  int64_t max_age = 0, max_age_grace = 0;

  void add_to(CLI::App& app);
  bool grpc_port_given() const { return grpc_port_option_->count() > 0; }
  bool grpc() const { return allow_grpc && grpc_port >= 0; }
  /// invalid: half of a pair is missing.
  Status check() const;
  GrpcOptions grpc_options(const std::string& host, bool access_log) const;

 private:
  const CLI::Option* grpc_port_option_ = nullptr;
};

}  // namespace inazuma::cli
