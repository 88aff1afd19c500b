// Any bytes as a gRPC stream, cut anywhere: the same messages and the same end, however they arrive.
//
// Input: one byte of settings (coding, size of the pieces), then the stream.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "frontends/transport/grpc/framing.h"

namespace {

using namespace inazuma;

struct Heard {
  std::vector<std::string> messages;
  GrpcCode code = GrpcCode::ok;
  bool inside = false;
  bool operator==(const Heard&) const = default;
};

Heard hear(std::string_view stream, std::optional<Coding> coding, size_t piece) {
  constexpr size_t kLimit = 1 << 16;
  GrpcMessageReader reader(coding, kLimit);
  Heard out;
  while (!stream.empty() && out.code == GrpcCode::ok) {
    out.code = reader
                   .feed(stream.substr(0, piece),
                         [&](std::string message) {
                           if (message.size() > kLimit) std::abort();
                           out.messages.push_back(std::move(message));
                         })
                   .code;
    stream.remove_prefix(std::min(piece, stream.size()));
  }
  out.inside = out.code == GrpcCode::ok && reader.inside();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::optional<Coding> codings[] = {std::nullopt, Coding::identity, Coding::gzip, Coding::deflate};
  const std::optional<Coding> coding = codings[data[0] & 3];
  const Heard whole = hear(stream, coding, stream.size());
  if (!(hear(stream, coding, 1 + (data[0] >> 2)) == whole)) {
    std::fprintf(stderr, "broken promise: pieces change what is heard\n");
    std::abort();
  }
  const std::string text(stream.substr(0, 64));
  (void)parse_grpc_timeout(text);
  (void)encode_grpc_message(text);
  return 0;
}
