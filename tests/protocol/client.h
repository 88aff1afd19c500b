#pragma once
// A client that says exactly the bytes it is told to, one socket at a time.

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace inazuma::test {

/// How long something that happens at once may take on a busy machine.
inline constexpr std::chrono::seconds kSoon{15};

struct Reply {
  int status = 0;
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::string body;                            ///< chunks joined
  std::string chunked_as;                      ///< the raw chunks, if it came so
};

/// Blocking; every call gives up after twenty seconds.
class Client {
 public:
  explicit Client(uint16_t port);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// False when the server has closed.
  bool send(std::string_view bytes);
  /// The next reply; nullopt at the end of the connection (also inside a reply: then `broken` is true).
  std::optional<Reply> read(bool head_only = false);
  /// Bytes as they come, at least one; "" at the end.
  std::string read_some();
  /// So many bytes; nullopt when the connection ends before.
  std::optional<std::string> exactly(size_t size);
  /// Reads up to the connection's end; false when it does not come in `limit`.
  bool closed_within(std::chrono::milliseconds limit);
  void close();

  bool broken = false;

 private:
  bool fill();
  std::optional<std::string> line();
  int socket_ = -1;
  std::string buffer_;
};

/// "POST /echo" with Host, Content-Length and the body.
std::string post(std::string_view path, std::string_view body, std::string_view extra_headers = "");
std::string get(std::string_view path, std::string_view extra_headers = "");

}  // namespace inazuma::test
