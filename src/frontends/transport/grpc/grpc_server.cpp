#include "frontends/transport/grpc/grpc_server.h"

#include <unordered_map>

#include "frontends/transport/grpc/grpc_call.h"

namespace inazuma {

struct GrpcServer::Impl : GrpcHost {
  Impl(GrpcOptions options, std::vector<GrpcMethod> methods, Metrics& metrics, Guard guard)
      : options_(std::move(options)),
        metrics_(metrics),
        guard_(std::move(guard)),
        server_(
            options_.http2,
            [this](const std::shared_ptr<Http2Stream>& stream, Headers headers) {
              auto call = std::make_shared<GrpcStreamCall>(stream, *this);
              call->open(std::move(headers));
              return call;
            },
            metrics) {
    for (GrpcMethod& method : methods) {
      std::string path = method.path;
      methods_.emplace(std::move(path), std::move(method));
    }
  }

  const GrpcOptions& options() const override { return options_; }
  const GrpcMethod* find(const std::string& path) const override {
    const auto found = methods_.find(path);
    return found == methods_.end() ? nullptr : &found->second;
  }
  GrpcStatus admit(const GrpcMethod& method, const Headers& metadata) const override {
    return guard_ ? guard_(method, metadata) : GrpcStatus{};
  }
  Metrics& metrics() override { return metrics_; }

  GrpcOptions options_;
  Metrics& metrics_;
  Guard guard_;
  std::unordered_map<std::string, GrpcMethod> methods_;
  Http2Server server_;  // last: its threads use what stands above
};

GrpcServer::GrpcServer(GrpcOptions options, std::vector<GrpcMethod> methods, Metrics& metrics, Guard guard)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(methods), metrics, std::move(guard))) {}

GrpcServer::~GrpcServer() {
  stop();
}

Status GrpcServer::start() {
  return impl_->server_.start();
}
uint16_t GrpcServer::port() const {
  return impl_->server_.port();
}
void GrpcServer::stop_accepting() {
  impl_->server_.stop_accepting();
}
bool GrpcServer::wait_idle(Clock::time_point until) {
  return impl_->server_.wait_idle(until);
}
void GrpcServer::stop() {
  impl_->server_.stop();
}

}  // namespace inazuma
