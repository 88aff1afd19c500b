#pragma once
// gRPC as values: what front ends see of a call. Frames, compression, deadlines and cancellation are transport/'s.

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "frontends/http.h"

namespace inazuma {

/// Status codes of gRPC, by their numbers on the wire.
enum class GrpcCode {
  ok = 0,
  cancelled = 1,
  unknown = 2,
  invalid_argument = 3,
  deadline_exceeded = 4,
  not_found = 5,
  already_exists = 6,
  permission_denied = 7,
  resource_exhausted = 8,
  failed_precondition = 9,
  aborted = 10,
  out_of_range = 11,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
  data_loss = 15,
  unauthenticated = 16,
};

struct GrpcStatus {
  GrpcCode code = GrpcCode::ok;
  std::string message;  ///< UTF-8, any length that a header may have
};

struct GrpcRequest {
  std::string path;    ///< "/package.Service/Method"
  Headers metadata;    ///< names in lower case; pseudo headers left out
  std::string client;  ///< address, for logs
  std::string id;      ///< request id: the client's x-request-id if well-formed, else fresh
  Clock::time_point arrival = Clock::now();
  Clock::time_point deadline = Clock::time_point::max();  ///< of grpc-timeout; the transport answers when it passes
};

/// One call being answered: `write`* (at most once unless the method streams answers), then `finish` exactly once, on
/// the connection's own thread (`post` gets there from anywhere). Kept alive by whoever still has to answer; when the
/// client has gone, answers go nowhere.
class GrpcCall {
 public:
  virtual ~GrpcCall() = default;
  virtual const GrpcRequest& request() const = 0;
  virtual void write(std::string message) = 0;
  virtual void finish(GrpcStatus status) = 0;
  /// Runs a task on the connection's thread, in order.
  virtual void post(std::function<void()> task) = 0;
  /// The connection's thread, for timers.
  virtual boost::asio::any_io_executor executor() const = 0;
  /// Set when the client goes away, cancels, or its deadline passes: give it to the Request.
  virtual const CancelFlag& cancelled() const = 0;
  /// Back-pressure of client streams: while paused, the client may send only what its window still allows.
  virtual void pause(bool paused) = 0;

  Usage usage;  ///< of the computed answer, for the access log
};

/// Messages of a client stream, as they come, then the end. Neither is called after the call has ended; `gone` is then.
struct GrpcReader {
  std::function<void(std::string)> message;
  std::function<void()> end;
  std::function<void()> gone;  ///< may be empty
};

/// One request message; the answer is one message, or many when the method streams.
using GrpcUnary = std::function<void(const std::shared_ptr<GrpcCall>&, std::string message)>;
using GrpcStream = std::function<GrpcReader(const std::shared_ptr<GrpcCall>&)>;

struct GrpcMethod {
  std::string path;  ///< "/package.Service/Method"
  std::variant<GrpcUnary, GrpcStream> handler;
  bool open = false;  ///< needs no key
  std::string group;  ///< of KServe's operations, for --grpc-restricted-protocol
};

}  // namespace inazuma
