// inazuma check [URL]: exit 0 when the server is ready; a container's health check needs no other program.

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include "base/version.h"
#include "cli/command_line.h"

namespace inazuma::cli {

namespace {

namespace beast = boost::beast;
namespace http = beast::http;

struct Address {
  std::string host;
  std::string port;
};

Address parse_url(std::string_view url) {
  if (url.starts_with("http://"))
    url.remove_prefix(7);
  else if (url.find("://") != std::string_view::npos)
    throw fail(StatusCode::invalid, "URL {} is not http://HOST[:PORT]", quoted(url));
  url = url.substr(0, url.find('/'));
  if (url.starts_with('[')) {
    const size_t end = url.find(']');
    return {std::string(url.substr(1, end - 1)), end + 2 <= url.size() ? std::string(url.substr(end + 2)) : "8000"};
  }
  const size_t colon = url.find(':');
  return {std::string(url.substr(0, colon)),
          colon == std::string_view::npos ? "8000" : std::string(url.substr(colon + 1))};
}

unsigned readiness(const Address& address, std::chrono::seconds timeout) {
  boost::asio::io_context io;
  boost::asio::ip::tcp::resolver resolver(io);
  beast::tcp_stream stream(io);
  unsigned status = 0;
  beast::error_code failure;
  http::request<http::empty_body> request(http::verb::get, "/health/ready", 11);
  request.set(http::field::host, address.host);
  http::response<http::string_body> response;
  beast::flat_buffer buffer;
  beast::error_code error;
  const auto endpoints = resolver.resolve(address.host, address.port, error);
  if (error) throw fail(StatusCode::unavailable, "cannot resolve {}: {}", address.host, error.message());
  stream.expires_after(timeout);
  stream.async_connect(endpoints, [&](beast::error_code e, const auto&) {
    if (e) return void(failure = e);
    http::async_write(stream, request, [&](beast::error_code w, size_t) {
      if (w) return void(failure = w);
      http::async_read(stream, buffer, response, [&](beast::error_code r, size_t) {
        r ? void(failure = r) : void(status = response.result_int());
      });
    });
  });
  io.run();
  if (failure)
    throw fail(StatusCode::unavailable, "no answer from {} port {}: {}", address.host, address.port, failure.message());
  return status;
}

}  // namespace

Run add_check(CLI::App& app) {
  auto url = std::make_shared<std::string>("http://127.0.0.1:8000");
  auto seconds = std::make_shared<int>(5);
  CLI::App* command = app.add_subcommand("check", "Exit 0 when a server is ready (for container health checks)");
  command->add_option("URL", *url, "Server")->capture_default_str();
  command->add_option("--timeout", *seconds, "Seconds to wait for an answer")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  return [url, seconds] {
    const unsigned status = readiness(parse_url(*url), std::chrono::seconds(*seconds));
    if (status == 200) return static_cast<int>(kOk);
    return complain(Status(StatusCode::unavailable, fmt::format("{} is not ready (status {})", *url, status)), kFailed);
  };
}

Run add_version(CLI::App& app) {
  app.add_subcommand("version", "Version and commit");
  return [] {
    fmt::print("inazuma {} {}\n", kVersion, kCommit);
    return static_cast<int>(kOk);
  };
}

}  // namespace inazuma::cli
