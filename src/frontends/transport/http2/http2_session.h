#pragma once
// One HTTP/2 connection: bytes to nghttp2 and back, its streams, its timers.

#include <nghttp2/nghttp2.h>

#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "frontends/transport/http2/flood_guard.h"
#include "frontends/transport/http2/http2_server.h"

namespace inazuma {

class Http2Session;

/// What a connection needs of its server.
class Http2Host {
 public:
  virtual ~Http2Host() = default;
  virtual const Http2Options& options() const = 0;
  virtual TlsContext* tls() = 0;  ///< null: plain
  virtual bool stopping() const = 0;
  virtual std::shared_ptr<Http2Receiver> open(const std::shared_ptr<Http2Stream>& stream, Headers headers) = 0;
  virtual void joined(const std::shared_ptr<Http2Session>& session) = 0;
  virtual void left(const std::shared_ptr<Http2Session>& session) = 0;
  virtual void busy(int delta) = 0;
};

/// Everything runs on the connection's thread.
class Http2Session : public std::enable_shared_from_this<Http2Session> {
 public:
  Http2Session(boost::asio::ip::tcp::socket socket, Http2Host& host);
  ~Http2Session();
  void run();
  /// From any thread: tells the client to open no more streams, and closes when those there are have ended.
  void drain();
  /// Ends the connection at once; on its thread, or when no thread serves any more.
  void close();

 private:
  class Stream;
  struct Callbacks;  // nghttp2 calls these

  void start();
  void read();
  void on_read(boost::system::error_code error, size_t bytes);
  /// Writes what nghttp2 has to say, soon: once for all that this turn of the loop brings.
  void wake();
  void flush();
  void tell_drained();
  void on_written(boost::system::error_code error);
  void speak_http1();
  void end_when_written();
  void linger();
  void discard();

  void begin_drain();
  void finish_drain();
  /// Ends the connection because its client misbehaves.
  void calm_down(const char* reason);
  bool guard_frame(const nghttp2_frame& frame);
  void open_stream(const std::shared_ptr<Stream>& stream);
  std::shared_ptr<Stream> find(int32_t id) const;
  void arm_timer();
  void on_timer();

  Wire wire_;
  boost::asio::steady_timer timer_;
  Http2Host& host_;
  nghttp2_session* session_ = nullptr;
  std::unordered_map<int32_t, std::shared_ptr<Stream>> streams_;
  size_t full_streams_ = 0;  // with more unsent than they should
  FloodGuard floods_;
  std::string client_;
  std::vector<uint8_t> incoming_;
  std::string outgoing_;  // collected from nghttp2
  std::string leaving_;   // being written
  Clock::time_point accepted_ = Clock::now();
  Clock::time_point last_read_ = accepted_;
  Clock::time_point write_began_{}, ping_sent_{}, drain_began_{};
  bool greeted_ = false;  // the client's SETTINGS came
  bool reading_ = false;
  bool writing_ = false;
  bool inside_ = false;  // nghttp2 is calling us: it must not be called to send
  bool wake_posted_ = false;
  bool drain_finished_ = false;
  bool ending_ = false;  // close when what is collected is written
  bool lingering_ = false;
  bool said_end_ = false;  // lingering, and our side of the connection is closed
  bool closed_ = false;
};

}  // namespace inazuma
