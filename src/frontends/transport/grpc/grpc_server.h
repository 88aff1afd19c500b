#pragma once
// A table of gRPC methods served over HTTP/2.

#include <climits>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "frontends/grpc/call.h"
#include "frontends/transport/compression.h"
#include "frontends/transport/http2/http2_server.h"

namespace inazuma {

struct GrpcOptions {
  Http2Options http2;
  size_t max_message = INT_MAX;  ///< received, inflated; --grpc-max-message-size
  int compression_level = 0;     ///< of answers to clients that accept it: 0 = none, 1 to 9 as zlib
  bool access_log = true;
};

class GrpcServer {
 public:
  /// Whether a call may be made: by its path and metadata. Not ok: the call ends with this status.
  using Guard = std::function<GrpcStatus(const GrpcMethod&, const Headers& metadata)>;
  GrpcServer(GrpcOptions options, std::vector<GrpcMethod> methods, Metrics& metrics, Guard guard = {});
  ~GrpcServer();

  /// As Http2Server.
  Status start();
  uint16_t port() const;
  void stop_accepting();
  bool wait_idle(Clock::time_point until);
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace inazuma
