#pragma once
// One stream of a connection: what is to be sent waits here until flow control lets it go.

#include <boost/asio/post.hpp>
#include <deque>

#include "frontends/transport/http2/http2_session.h"

namespace inazuma {

class Http2Session::Stream : public Http2Stream, public std::enable_shared_from_this<Http2Session::Stream> {
 public:
  Stream(std::shared_ptr<Http2Session> session, int32_t id);

  void respond(int status, Headers fields) override;
  void begin(int status, Headers fields) override;
  void write(std::string bytes) override;
  void end(Headers trailers) override;
  void consumed(size_t bytes) override;
  size_t unsent() const override { return unsent_; }
  void post(std::function<void()> task) override;
  boost::asio::any_io_executor executor() const override { return executor_; }
  const std::string& client() const override { return client_; }
  bool headers_cut() const override { return headers_cut_; }

  // For the session.
  void add_header(std::string_view name, std::string_view value, size_t limit);
  void client_sent(std::string_view bytes);
  void client_ended();
  void drained();
  void closed();
  /// Moves `length` waiting bytes to the end of `out`.
  void take(size_t length, std::string& out);

  Headers headers;        ///< of the request, until it is opened
  bool was_full = false;  ///< more waited than the low mark: the receiver wants to hear when it has left
  std::shared_ptr<Http2Receiver> receiver;

 private:
  static ssize_t source(nghttp2_session* session, int32_t id, uint8_t* buffer, size_t length, uint32_t* flags,
                        nghttp2_data_source* source, void* user);
  /// Sends headers; a body follows when `body`.
  void submit(int status, const Headers& fields, bool body);

  std::shared_ptr<Http2Session> session_;  // null once closed
  boost::asio::any_io_executor executor_;
  std::string client_;
  int32_t id_;
  size_t header_bytes_ = 0;
  bool headers_cut_ = false;
  std::deque<std::string> waiting_;
  size_t taken_ = 0;  // of the first one
  size_t unsent_ = 0;
  Headers trailers_;
  bool begun_ = false;
  bool ended_ = false;     // the last byte and the trailers are known
  bool deferred_ = false;  // nghttp2 asked for bytes when there were none
};

}  // namespace inazuma
