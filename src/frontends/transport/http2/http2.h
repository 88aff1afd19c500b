#pragma once
// HTTP/2 streams as values: what stands on the transport sees of them. Frames, windows and floods are the session's.

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "frontends/http.h"

namespace inazuma {

/// Hears of one stream, on its connection's thread.
class Http2Receiver {
 public:
  virtual ~Http2Receiver() = default;
  /// A piece of the body. The client may send as much again once Http2Stream::consumed was told of it.
  virtual void on_data(std::string_view bytes) = 0;
  /// The client has said everything.
  virtual void on_end() = 0;
  /// What was written has left for the socket, down to the low mark.
  virtual void on_drained() = 0;
  /// The stream is gone: answered to the end, or given up (client, connection). Nothing is heard after it.
  virtual void on_close(bool answered) = 0;
};

/// One stream being answered: `respond`, or `begin` then `write`* then `end`; on the connection's thread. After the
/// stream is closed all of it goes nowhere.
class Http2Stream {
 public:
  virtual ~Http2Stream() = default;
  /// Headers that are the whole answer.
  virtual void respond(int status, Headers headers) = 0;
  virtual void begin(int status, Headers headers) = 0;
  virtual void write(std::string bytes) = 0;
  virtual void end(Headers trailers) = 0;
  /// Gives flow-control credit back for bytes heard by on_data.
  virtual void consumed(size_t bytes) = 0;
  /// Bytes written that have not left yet.
  virtual size_t unsent() const = 0;
  /// Runs a task on that thread, in order; from any thread.
  virtual void post(std::function<void()> task) = 0;
  virtual boost::asio::any_io_executor executor() const = 0;  ///< that thread's loop, for timers
  virtual const std::string& client() const = 0;
  /// The headers passed the limit; only what came before it was kept.
  virtual bool headers_cut() const = 0;
};

/// Makes the receiver of a stream whose headers are complete (pseudo headers included, names in lower case).
using Http2Open = std::function<std::shared_ptr<Http2Receiver>(const std::shared_ptr<Http2Stream>&, Headers)>;

}  // namespace inazuma
