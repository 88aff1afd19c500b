#pragma once
// HTTP as values: what front ends see of it. Sockets, framing and timeouts are transport/'s.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/sequence.h"
#include "serving/response.h"

namespace inazuma {

/// Names are lower case; a name that came several times keeps every value in order.
using Headers = std::vector<std::pair<std::string, std::string>>;
std::optional<std::string_view> find_header(const Headers& headers, std::string_view name);
/// The id a client gave its request, when it is well-formed (up to 128 of letters, digits, "._:-"); else a fresh one.
std::string request_id(std::optional<std::string_view> given);

struct HttpRequest {
  std::string method;
  std::string path;   ///< decoded, without query, "." and ".." refused by the transport
  std::string query;  ///< raw, without '?'
  Headers headers;
  std::string body;    ///< already inflated
  std::string client;  ///< address, for logs
  std::string id;      ///< request id: the client's if well-formed, else fresh
  Clock::time_point arrival = Clock::now();
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  Headers headers;
};

/// One request being answered. `respond`, or `begin_stream` then `write`* then `end_stream`, exactly once, on the
/// connection's own thread (`receiver_post` gets there from anywhere). Kept alive by whoever still has to answer.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  virtual const HttpRequest& request() const = 0;
  virtual void respond(HttpResponse response) = 0;
  virtual void begin_stream(HttpResponse head) = 0;
  virtual void write(std::string chunk) = 0;
  virtual void end_stream() = 0;
  /// Runs a task on the connection's thread, in order.
  virtual void post(std::function<void()> task) = 0;
  /// Set when the client goes away: give it to the Request.
  virtual const CancelFlag& cancelled() const = 0;

  std::string route;  ///< template of the matched route, for logs and metrics ("/models/{id}/generate")
  Usage usage;        ///< of the computed answer, for the access log
};

using HttpHandler = std::function<void(const std::shared_ptr<HttpExchange>&)>;

/// application/x-www-form-urlencoded pieces of a query, decoded, in order.
std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query);
/// %XX decoding; nullopt for a broken escape or an encoded NUL.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space = false);

}  // namespace inazuma
