#include "frontends/transport/grpc/framing.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace inazuma {

GrpcStatus GrpcMessageReader::read_prefix() {
  const unsigned char flag = prefix_[0];
  length_ = 0;
  for (int i = 1; i <= 4; ++i) length_ = length_ << 8 | prefix_[i];
  if (flag > 1)
    return {GrpcCode::internal,
            fmt::format("a message begins with the flag {}, must be 0 or 1: these are not gRPC frames", flag)};
  if (flag == 1 && !coding_)
    return {GrpcCode::internal, "a message is marked as compressed, and grpc-encoding names no coding"};
  if (length_ > limit_)
    return {GrpcCode::resource_exhausted,
            fmt::format("the message has {} bytes, the limit is {} (--grpc-max-message-size)", length_, limit_)};
  return {};
}

GrpcStatus GrpcMessageReader::deliver(std::string body, const std::function<void(std::string)>& message) const {
  if (prefix_[0] == 0 || *coding_ == Coding::identity) {
    message(std::move(body));
    return {};
  }
  Result<std::string> inflated = decompress(body, *coding_, limit_);
  if (inflated.ok()) {
    message(std::move(*inflated));
    return {};
  }
  if (inflated.status().code() == StatusCode::too_large)
    return {GrpcCode::resource_exhausted,
            fmt::format("the message inflates to more than {} bytes (--grpc-max-message-size)", limit_)};
  return {GrpcCode::internal, fmt::format("the message cannot be inflated: {}", inflated.status().message())};
}

GrpcStatus GrpcMessageReader::feed(std::string_view bytes, const std::function<void(std::string)>& message) {
  while (!bytes.empty()) {
    if (prefix_size_ < kGrpcPrefix) {
      const size_t part = std::min(kGrpcPrefix - prefix_size_, bytes.size());
      std::memcpy(prefix_ + prefix_size_, bytes.data(), part);
      bytes.remove_prefix(part);
      prefix_size_ += part;
      if (prefix_size_ < kGrpcPrefix) return {};
      if (GrpcStatus status = read_prefix(); status.code != GrpcCode::ok) return status;
    }
    const size_t part = std::min(length_ - body_.size(), bytes.size());
    body_.append(bytes.substr(0, part));
    bytes.remove_prefix(part);
    if (body_.size() < length_) return {};
    prefix_size_ = 0;
    if (GrpcStatus status = deliver(std::exchange(body_, ""), message); status.code != GrpcCode::ok) return status;
  }
  return {};
}

std::string grpc_prefix(size_t length, bool compressed) {
  std::string out(kGrpcPrefix, '\0');
  out[0] = compressed ? 1 : 0;
  for (int i = 0; i < 4; ++i) out[static_cast<size_t>(4 - i)] = static_cast<char>(length >> (8 * i) & 0xff);
  return out;
}

std::optional<std::chrono::nanoseconds> parse_grpc_timeout(std::string_view text) {
  constexpr size_t kMostDigits = 8;
  if (text.size() < 2 || text.size() > kMostDigits + 1) return std::nullopt;
  int64_t value = 0;
  for (const char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  constexpr std::chrono::nanoseconds kYear = std::chrono::hours(24 * 365);
  int64_t unit = 0;
  switch (text.back()) {
    case 'H': unit = 3'600'000'000'000; break;
    case 'M': unit = 60'000'000'000; break;
    case 'S': unit = 1'000'000'000; break;
    case 'm': unit = 1'000'000; break;
    case 'u': unit = 1'000; break;
    case 'n': unit = 1; break;
    default: return std::nullopt;
  }
  if (value > kYear.count() / unit) return kYear;
  return std::chrono::nanoseconds(value * unit);
}

std::string encode_grpc_message(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte <= 0x7e && c != '%') {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

bool is_grpc_content_type(std::string_view text) {
  constexpr std::string_view kName = "application/grpc";
  if (!text.starts_with(kName)) return false;
  return text.size() == kName.size() || text[kName.size()] == '+' || text[kName.size()] == ';';
}

}  // namespace inazuma
