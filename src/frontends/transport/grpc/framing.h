#pragma once
// gRPC's bytes on HTTP/2: length-prefixed messages, grpc-timeout, grpc-message. Pure functions and one small reader.
// Source: the gRPC project's PROTOCOL-HTTP2 document.

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "frontends/grpc/call.h"
#include "frontends/transport/compression.h"

namespace inazuma {

/// Cuts a stream of bytes into messages.
class GrpcMessageReader {
 public:
  /// `coding`: of messages whose flag says compressed; nullopt: the call named none, and such a message is an error.
  GrpcMessageReader(std::optional<Coding> coding, size_t limit) : coding_(coding), limit_(limit) {}

  /// Calls `message` for each that is complete, in order. Not ok: the call must end with this status, and nothing more
  /// be fed.
  GrpcStatus feed(std::string_view bytes, const std::function<void(std::string)>& message);
  /// Whether bytes of an unfinished message are held: an end here is an error.
  bool inside() const { return prefix_size_ > 0; }

 private:
  GrpcStatus read_prefix();
  GrpcStatus deliver(std::string body, const std::function<void(std::string)>& message) const;
  std::optional<Coding> coding_;
  size_t limit_;
  unsigned char prefix_[5] = {};
  size_t prefix_size_ = 0;
  size_t length_ = 0;  // of the message whose prefix is complete
  std::string body_;   // what came of it
};

constexpr size_t kGrpcPrefix = 5;
/// Flag and length, to be put before a message.
std::string grpc_prefix(size_t length, bool compressed);

/// "250m" -> 250 ms; nullopt for what the grammar does not allow. More than a year counts as a year.
std::optional<std::chrono::nanoseconds> parse_grpc_timeout(std::string_view text);

/// Percent-encoding of grpc-message: bytes outside printable ASCII, and '%'.
std::string encode_grpc_message(std::string_view text);

/// application/grpc, application/grpc+proto, application/grpc;...
bool is_grpc_content_type(std::string_view text);

}  // namespace inazuma
