#include "protocol/http2_client.h"

#include <stdexcept>

namespace inazuma::test {

namespace {

constexpr uint8_t kAck = NGHTTP2_FLAG_ACK;

}  // namespace

std::string big_endian(uint64_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i) & 0xff);
  return out;
}

std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string out = big_endian(payload.size(), 3);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  out += big_endian(stream, 4);
  out += payload;
  return out;
}

std::string header_block(const Fields& fields) {
  std::string out;
  const auto text = [&](const std::string& value) {  // length as a 7-bit prefix integer, no Huffman coding
    if (value.size() < 127) {
      out += static_cast<char>(value.size());
    } else {
      out += static_cast<char>(127);
      size_t rest = value.size() - 127;
      for (; rest >= 128; rest /= 128) out += static_cast<char>(rest % 128 + 128);
      out += static_cast<char>(rest);
    }
    out += value;
  };
  for (const auto& [name, value] : fields) {
    out += '\x10';  // never indexed, new name
    text(name);
    text(value);
  }
  return out;
}

Fields grpc_headers(std::string_view path, const Fields& more) {
  Fields out{{":method", "POST"},         {":scheme", "http"}, {":path", std::string(path)},
             {":authority", "localhost"}, {"te", "trailers"},  {"content-type", "application/grpc"}};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

std::string grpc_message(std::string_view bytes, bool compressed) {
  std::string out(1, compressed ? '\1' : '\0');
  out += big_endian(bytes.size(), 4);
  out += bytes;
  return out;
}

Http2Client::Http2Client(uint16_t port, bool greet) : client_(port) {
  nghttp2_hd_inflate_new(&inflater_);
  if (greet) send(std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + frame(NGHTTP2_SETTINGS, 0, 0, ""));
}

Http2Client::~Http2Client() {
  nghttp2_hd_inflate_del(inflater_);
}

std::optional<Frame> Http2Client::read() {
  const auto head = client_.exactly(9);
  if (!head) return std::nullopt;
  const auto number = [&](size_t from, size_t size) {
    uint32_t out = 0;
    for (size_t i = from; i < from + size; ++i) out = out << 8 | static_cast<unsigned char>((*head)[i]);
    return out;
  };
  Frame out;
  out.type = static_cast<uint8_t>((*head)[3]);
  out.flags = static_cast<uint8_t>((*head)[4]);
  out.stream = number(5, 4) & 0x7fffffff;
  auto payload = client_.exactly(number(0, 3));
  if (!payload) return std::nullopt;
  out.payload = std::move(*payload);
  if (out.type == NGHTTP2_SETTINGS && (out.flags & kAck) == 0) send(NGHTTP2_SETTINGS, kAck, 0);
  if (out.type == NGHTTP2_PING && (out.flags & kAck) == 0) send(NGHTTP2_PING, kAck, 0, out.payload);
  note(out);
  return out;
}

std::optional<Frame> Http2Client::read(uint8_t type) {
  while (auto next = read())
    if (next->type == type) return next;
  return std::nullopt;
}

void Http2Client::inflate(const std::string& block, std::map<std::string, std::string>& into) {
  auto* at = reinterpret_cast<uint8_t*>(const_cast<char*>(block.data()));
  size_t left = block.size();
  while (true) {
    nghttp2_nv field{};
    int flags = 0;
    const ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &field, &flags, at, left, 1);
    if (used < 0) throw std::runtime_error("the server's header block cannot be read");
    at += used;
    left -= static_cast<size_t>(used);
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
      into[std::string(reinterpret_cast<char*>(field.name), field.namelen)] =
          std::string(reinterpret_cast<char*>(field.value), field.valuelen);
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0 && left == 0) break;
  }
  nghttp2_hd_inflate_end_headers(inflater_);
}

void Http2Client::note(const Frame& got) {
  if (got.stream == 0) return;
  Progress& progress = streams_[got.stream];
  if (got.type == NGHTTP2_HEADERS) {
    inflate(got.payload, progress.reply.headers);
  } else if (got.type == NGHTTP2_DATA) {
    progress.body += got.payload;
    if (!got.payload.empty()) {
      send(NGHTTP2_WINDOW_UPDATE, 0, 0, big_endian(got.payload.size(), 4));
      if ((got.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        send(NGHTTP2_WINDOW_UPDATE, 0, got.stream, big_endian(got.payload.size(), 4));
    }
  } else if (got.type == NGHTTP2_RST_STREAM && !progress.ended) {
    progress.reply.reset = progress.ended = true;
    for (const char c : got.payload)
      progress.reply.reset_code = progress.reply.reset_code << 8 | static_cast<unsigned char>(c);
  }
  if ((got.type == NGHTTP2_HEADERS || got.type == NGHTTP2_DATA) && (got.flags & NGHTTP2_FLAG_END_STREAM) != 0)
    progress.ended = true;
}

uint32_t Http2Client::open(const Fields& headers, bool end) {
  const uint32_t stream = next_;
  next_ += 2;
  send(NGHTTP2_HEADERS, static_cast<uint8_t>(NGHTTP2_FLAG_END_HEADERS | (end ? NGHTTP2_FLAG_END_STREAM : 0)), stream,
       header_block(headers));
  return stream;
}

void Http2Client::data(uint32_t stream, std::string_view bytes, bool end) {
  constexpr size_t kFrame = 16384;
  while (bytes.size() > kFrame) {
    send(NGHTTP2_DATA, 0, stream, bytes.substr(0, kFrame));
    bytes.remove_prefix(kFrame);
  }
  send(NGHTTP2_DATA, end ? NGHTTP2_FLAG_END_STREAM : 0, stream, bytes);
}

GrpcReply Http2Client::call(std::string_view path, std::string_view message, const Fields& more) {
  const uint32_t stream = open(grpc_headers(path, more));
  data(stream, grpc_message(message), true);
  return finish(stream);
}

GrpcReply Http2Client::finish(uint32_t stream) {
  while (!streams_[stream].ended && read()) continue;
  Progress& progress = streams_[stream];
  if (!progress.ended) progress.reply.reset = true;
  std::string_view body = progress.body;
  while (body.size() >= 5) {
    size_t size = 0;
    for (size_t i = 1; i < 5; ++i) size = size << 8 | static_cast<unsigned char>(body[i]);
    if (body.size() < 5 + size) throw std::runtime_error("a message is cut short");
    progress.reply.compressed.push_back(body[0] != 0);
    progress.reply.messages.emplace_back(body.substr(5, size));
    body.remove_prefix(5 + size);
  }
  if (!body.empty()) throw std::runtime_error("bytes follow the last message");
  GrpcReply out = std::move(progress.reply);
  streams_.erase(stream);
  return out;
}

}  // namespace inazuma::test
