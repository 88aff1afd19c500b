// Many users of a running server, each sending its next request when it has the answer to the last, over connections
// that stay open:
//
//   http_bench PORT PATH BODY_FILE [--users 16] [--seconds 5] [--warm-up 2]
//
// Prints requests a second and latencies. Any answer but 200 ends it.

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

class Connection {
 public:
  explicit Connection(int port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("nobody listens at the port");
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~Connection() { close(socket_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Sends a request and reads its whole answer, which must be 200 with a Content-Length.
  void ask(const std::string& request) {
    for (size_t sent = 0; sent < request.size();) {
      const ssize_t n = send(socket_, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) throw std::runtime_error("the server closed the connection");
      sent += static_cast<size_t>(n);
    }
    answer_.clear();
    size_t end = std::string::npos, total = std::string::npos;
    while (answer_.size() < total) {
      char part[16384];
      const ssize_t n = recv(socket_, part, sizeof part, 0);
      if (n <= 0) throw std::runtime_error("the server closed the connection");
      answer_.append(part, static_cast<size_t>(n));
      if (end != std::string::npos || (end = answer_.find("\r\n\r\n")) == std::string::npos) continue;
      std::string head = answer_.substr(0, end);
      std::transform(head.begin(), head.end(), head.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      const size_t length = head.find("content-length:");
      if (head.find(" 200") == std::string::npos || length == std::string::npos)
        throw std::runtime_error("the server answered " + answer_.substr(0, 300));
      total = end + 4 + std::stoul(head.substr(length + 15));
    }
  }

 private:
  int socket_;
  std::string answer_;
};

double quantile(std::vector<double>& values, double q) {
  if (values.empty()) return 0;
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

}  // namespace

int main(int count, char** values) {
  int port = 0, users = 16;
  double seconds = 5, warm_up = 2;
  std::string path, file;
  CLI::App app("Users of a running server");
  app.add_option("port", port)->required();
  app.add_option("path", path)->required();
  app.add_option("body", file)->required()->check(CLI::ExistingFile);
  app.add_option("--users", users)->capture_default_str()->check(CLI::Range(1, 10000));
  app.add_option("--seconds", seconds)->capture_default_str();
  app.add_option("--warm-up", warm_up)->capture_default_str();
  CLI11_PARSE(app, count, values);
  std::ifstream in(file);
  const std::string body((std::istreambuf_iterator<char>(in)), {});
  const std::string request = "POST " + path +
                              " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " +
                              std::to_string(body.size()) + "\r\n\r\n" + body;
  const auto in_seconds = [](double s) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s));
  };
  const Clock::time_point begin = Clock::now() + in_seconds(warm_up), end = begin + in_seconds(seconds);
  std::mutex mutex;
  std::vector<double> all;
  std::string failed;
  std::vector<std::thread> threads;
  for (int user = 0; user < users; ++user)
    threads.emplace_back([&] {
      std::vector<double> mine;
      std::string error;
      try {
        Connection connection(port);
        for (Clock::time_point start = Clock::now(); start < end;) {
          connection.ask(request);
          const Clock::time_point stop = Clock::now();
          if (start >= begin && stop <= end) mine.push_back(std::chrono::duration<double>(stop - start).count());
          start = stop;
        }
      } catch (const std::exception& what) {
        error = what.what();
      }
      const std::lock_guard lock(mutex);
      all.insert(all.end(), mine.begin(), mine.end());
      if (!error.empty()) failed = error;
    });
  for (std::thread& thread : threads) thread.join();
  if (!failed.empty()) {
    std::fprintf(stderr, "http_bench: %s\n", failed.c_str());
    return 1;
  }
  const double rate = static_cast<double>(all.size()) / seconds;
  std::printf("http %s, %d users: %.2f ms median %.2f ms p95 %.1f req/s\n", path.c_str(), users,
              quantile(all, 0.5) * 1e3, quantile(all, 0.95) * 1e3, rate);
  return 0;
}
