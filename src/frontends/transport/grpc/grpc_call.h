#pragma once
// One gRPC call on one HTTP/2 stream.

#include <boost/asio/steady_timer.hpp>
#include <optional>

#include "frontends/transport/grpc/framing.h"
#include "frontends/transport/grpc/grpc_server.h"

namespace inazuma {

/// What a call needs of its server.
class GrpcHost {
 public:
  virtual ~GrpcHost() = default;
  virtual const GrpcOptions& options() const = 0;
  virtual const GrpcMethod* find(const std::string& path) const = 0;
  virtual GrpcStatus admit(const GrpcMethod& method, const Headers& metadata) const = 0;
  virtual Metrics& metrics() = 0;
};

/// Everything but `post` and `cancelled` runs on the connection's thread.
class GrpcStreamCall : public GrpcCall, public Http2Receiver, public std::enable_shared_from_this<GrpcStreamCall> {
 public:
  GrpcStreamCall(std::shared_ptr<Http2Stream> stream, GrpcHost& host) : stream_(std::move(stream)), host_(host) {}
  /// Reads the headers; a call that cannot be made is answered here.
  void open(Headers headers);

  const GrpcRequest& request() const override { return request_; }
  void write(std::string message) override;
  void finish(GrpcStatus status) override;
  void post(std::function<void()> task) override { stream_->post(std::move(task)); }
  boost::asio::any_io_executor executor() const override { return stream_->executor(); }
  const CancelFlag& cancelled() const override { return cancelled_; }
  void pause(bool paused) override;

  void on_data(std::string_view bytes) override;
  void on_end() override;
  void on_drained() override;
  void on_close(bool answered) override;

 private:
  /// Not ok: the call cannot be made. `http_status` other than 200: it is no gRPC call at all.
  GrpcStatus read_headers(Headers& headers, int& http_status);
  void message(std::string bytes);
  void abort(GrpcStatus status);
  void begin();
  void give_credit();
  void account(GrpcCode code);

  std::shared_ptr<Http2Stream> stream_;
  GrpcHost& host_;
  GrpcRequest request_;
  const GrpcMethod* method_ = nullptr;
  std::optional<GrpcMessageReader> reader_;
  GrpcReader listener_;              // of a client stream
  std::optional<std::string> only_;  // the message of a unary call, until the client's end
  Coding answer_coding_ = Coding::identity;
  CancelFlag cancelled_ = std::make_shared<std::atomic<bool>>(false);
  std::optional<boost::asio::steady_timer> deadline_;
  size_t owed_ = 0;  // bytes heard whose credit is held back
  size_t bytes_in_ = 0, bytes_out_ = 0;
  bool paused_ = false;
  bool begun_ = false;
  bool ended_ = false;  // finish was said
  bool gone_ = false;
};

}  // namespace inazuma
