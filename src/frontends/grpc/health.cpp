#include "frontends/grpc/health.h"

#include <health.pb.h>

#include <boost/asio/steady_timer.hpp>

namespace inazuma {

namespace {

namespace health = grpc::health::v1;
using Reply = health::HealthCheckResponse;

constexpr std::chrono::milliseconds kLook{250};  // between two looks of a watch

// Readiness of the server, or of a model; services of this program are as ready as it is.
Reply::ServingStatus look(Core& core, const std::string& service) {
  if (service.empty() || service == "inference.GRPCInferenceService" || service == "grpc.health.v1.Health")
    return core.ready() ? Reply::SERVING : Reply::NOT_SERVING;
  if (core.repository().snapshot()->find(service) == nullptr) return Reply::SERVICE_UNKNOWN;
  return core.backend(service).ok() && !core.draining() ? Reply::SERVING : Reply::NOT_SERVING;
}

std::string bytes(Reply::ServingStatus status) {
  Reply answer;
  answer.set_status(status);
  return answer.SerializeAsString();
}

// Says the state at once and at every change, until the client or the server goes.
class Watch : public std::enable_shared_from_this<Watch> {
 public:
  Watch(Core& core, std::shared_ptr<GrpcCall> call, std::string service)
      : core_(core), call_(std::move(call)), service_(std::move(service)), timer_(call_->executor()) {}

  void look_again() {
    if (call_->cancelled()->load()) return call_->finish({GrpcCode::cancelled, "the watch was ended"});
    const Reply::ServingStatus now = look(core_, service_);
    if (now != said_) call_->write(bytes(now));
    said_ = now;
    // A stream that never ends would keep a draining server waiting for it.
    if (core_.draining()) return call_->finish({GrpcCode::unavailable, "the server is shutting down"});
    timer_.expires_after(kLook);
    timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
      if (!error) self->look_again();
    });
  }

 private:
  Core& core_;
  std::shared_ptr<GrpcCall> call_;
  std::string service_;
  boost::asio::steady_timer timer_;
  int said_ = -1;
};

bool read(const std::shared_ptr<GrpcCall>& call, const std::string& message, health::HealthCheckRequest& request) {
  if (request.ParseFromString(message)) return true;
  call->finish({GrpcCode::invalid_argument, "the message is no grpc.health.v1.HealthCheckRequest"});
  return false;
}

}  // namespace

std::vector<GrpcMethod> grpc_health_methods(Core& core) {
  const GrpcUnary check = [&core](const auto& call, const std::string& message) {
    health::HealthCheckRequest request;
    if (!read(call, message, request)) return;
    const Reply::ServingStatus status = look(core, request.service());
    if (status == Reply::SERVICE_UNKNOWN)
      return call->finish({GrpcCode::not_found, fmt::format("service {} is not known", quoted(request.service()))});
    call->write(bytes(status));
    call->finish({});
  };
  const GrpcUnary watch = [&core](const auto& call, const std::string& message) {
    health::HealthCheckRequest request;
    if (read(call, message, request)) std::make_shared<Watch>(core, call, request.service())->look_again();
  };
  return {{.path = "/grpc.health.v1.Health/Check", .handler = check, .open = true, .group = "health"},
          {.path = "/grpc.health.v1.Health/Watch", .handler = watch, .open = true, .group = "health"}};
}

}  // namespace inazuma
