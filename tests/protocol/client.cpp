#include "protocol/client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>
#include <utility>

namespace inazuma::test {

namespace {

constexpr int kPatienceMs = 20000;

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return text;
}

}  // namespace

Client::Client(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("cannot connect");
  const int no_delay = 1;  // tests send small pieces and wait for what comes of them
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay);
  const timeval patience{kPatienceMs / 1000, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

Client::~Client() {
  close();
}

void Client::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

bool Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool Client::fill() {
  pollfd wait{socket_, POLLIN, 0};
  if (::poll(&wait, 1, kPatienceMs) <= 0) throw std::runtime_error("the server says nothing");
  char block[65536];
  const ssize_t got = ::recv(socket_, block, sizeof block, 0);
  if (got <= 0) return false;
  buffer_.append(block, static_cast<size_t>(got));
  return true;
}

std::optional<std::string> Client::line() {
  size_t end = 0;
  while ((end = buffer_.find("\r\n")) == std::string::npos)
    if (!fill()) return std::nullopt;
  std::string out = buffer_.substr(0, end);
  buffer_.erase(0, end + 2);
  return out;
}

std::optional<std::string> Client::exactly(size_t size) {
  while (buffer_.size() < size)
    if (!fill()) return std::nullopt;
  std::string out = buffer_.substr(0, size);
  buffer_.erase(0, size);
  return out;
}

std::string Client::read_some() {
  if (buffer_.empty()) fill();
  return std::exchange(buffer_, "");
}

bool Client::closed_within(std::chrono::milliseconds limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
    pollfd wait{socket_, POLLIN, 0};
    if (left <= 0 || ::poll(&wait, 1, static_cast<int>(left)) <= 0) return false;
    char block[65536];
    if (::recv(socket_, block, sizeof block, 0) <= 0) return true;
  }
}

std::optional<Reply> Client::read(bool head_only) {
  const std::optional<std::string> first = line();
  if (!first) {
    broken = !buffer_.empty();
    return std::nullopt;
  }
  broken = true;  // until the end is seen
  Reply reply;
  if (!first->starts_with("HTTP/1.") || first->size() < 12) throw std::runtime_error("not a status line: " + *first);
  reply.status = std::stoi(first->substr(9, 3));
  while (true) {
    const std::optional<std::string> field = line();
    if (!field) return std::nullopt;
    if (field->empty()) break;
    const size_t colon = field->find(": ");
    if (colon == std::string::npos) throw std::runtime_error("not a header: " + *field);
    reply.headers[lower(field->substr(0, colon))] = field->substr(colon + 2);
  }
  const bool bodiless = head_only || reply.status == 204 || reply.status == 100;
  if (!bodiless && reply.headers.contains("content-length")) {
    auto body = exactly(std::stoul(reply.headers["content-length"]));
    if (!body) return std::nullopt;
    reply.body = std::move(*body);
  } else if (!bodiless && reply.headers.contains("transfer-encoding")) {
    while (true) {
      const auto size_line = line();
      if (!size_line) return std::nullopt;
      const size_t size = std::stoul(*size_line, nullptr, 16);
      const auto chunk = exactly(size + 2);
      if (!chunk || !chunk->ends_with("\r\n")) return std::nullopt;
      reply.chunked_as += *size_line + "|";
      if (size == 0) break;
      reply.body += chunk->substr(0, size);
    }
  } else if (!bodiless) {
    while (fill()) continue;
    reply.body = std::exchange(buffer_, "");
  }
  broken = false;
  return reply;
}

std::string post(std::string_view path, std::string_view body, std::string_view extra_headers) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{}\r\n{}", path, body.size(),
                     extra_headers, body);
}

std::string get(std::string_view path, std::string_view extra_headers) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", path, extra_headers);
}

}  // namespace inazuma::test
