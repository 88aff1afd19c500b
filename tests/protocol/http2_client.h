#pragma once
// HTTP/2 by hand: frames exactly as a test wants them, and gRPC calls on top.

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/client.h"

namespace inazuma::test {

using Fields = std::vector<std::pair<std::string, std::string>>;

struct Frame {
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t stream = 0;
  std::string payload;
};

struct GrpcReply {
  std::map<std::string, std::string> headers;  ///< of headers and trailers
  std::vector<std::string> messages;           ///< without their prefix
  std::vector<bool> compressed;
  bool reset = false;  ///< RST_STREAM came before the end
  uint32_t reset_code = 0;
  int status() const { return headers.contains("grpc-status") ? std::stoi(headers.at("grpc-status")) : -1; }
};

std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload);
std::string big_endian(uint64_t value, int bytes);
/// Literal fields, never indexed.
std::string header_block(const Fields& fields);
Fields grpc_headers(std::string_view path, const Fields& more = {});
/// Prefix and bytes.
std::string grpc_message(std::string_view bytes, bool compressed = false);

class Http2Client {
 public:
  explicit Http2Client(uint16_t port, bool greet = true);
  ~Http2Client();

  bool send(std::string_view bytes) { return client_.send(bytes); }
  bool send(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload = "") {
    return send(frame(type, flags, stream, payload));
  }
  /// The next frame, in order; SETTINGS are acknowledged, PINGs answered. nullopt at the connection's end.
  std::optional<Frame> read();
  /// The next frame of a type, others are dropped.
  std::optional<Frame> read(uint8_t type);

  /// Opens a stream with these headers; `end`: nothing follows.
  uint32_t open(const Fields& headers, bool end = false);
  void data(uint32_t stream, std::string_view bytes, bool end = false);
  /// A whole unary call.
  GrpcReply call(std::string_view path, std::string_view message, const Fields& more = {});
  /// Everything of one stream up to its end, other streams' frames kept for later. Windows are opened as data comes.
  GrpcReply finish(uint32_t stream);
  Client& socket() { return client_; }

 private:
  void inflate(const std::string& block, std::map<std::string, std::string>& into);
  void note(const Frame& frame);
  struct Progress {
    GrpcReply reply;
    std::string body;
    bool ended = false;
  };
  Client client_;
  nghttp2_hd_inflater* inflater_ = nullptr;
  std::map<uint32_t, Progress> streams_;
  uint32_t next_ = 1;
};

}  // namespace inazuma::test
