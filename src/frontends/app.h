#pragma once
// All front ends put together: the route table and the gRPC methods over one Core.

#include <memory>

#include "frontends/grpc/call.h"
#include "frontends/kserve/service.h"
#include "frontends/parsed.h"
#include "frontends/router.h"

namespace inazuma {

struct AppOptions {
  GuardOptions guard;
  ParseLimits limits;
  bool ui = true;                     ///< the page at /
  bool metrics_on_http = true;        ///< /metrics on the main port
  bool metrics_auth = false;          ///< /metrics needs a key too
  bool metrics_loopback_only = true;  ///< of the metrics port, as guard.loopback_only
  int max_queue = 0;                  ///< for /info
  bool auto_truncate = true;          ///< for /info
  kserve::Options kserve;
};

class App {
 public:
  App(Core& core, AppOptions options);

  /// Entry for transports. Answers every exchange exactly once, whatever is thrown on the way.
  void handle(const std::shared_ptr<HttpExchange>& exchange);
  /// Only /metrics and health: for the separate metrics port.
  void handle_metrics(const std::shared_ptr<HttpExchange>& exchange);
  /// For the transport: the largest body of a path, and the reply to one that cannot be inflated.
  size_t body_limit(std::string_view path, size_t usual) const;
  HttpResponse unreadable(const HttpRequest& request, const Status& status) const;
  /// All gRPC methods, and who may call them.
  std::vector<GrpcMethod> grpc_methods();
  GrpcStatus admit(const GrpcMethod& method, const Headers& metadata) const;
  const GuardOptions& guard() const { return options_.guard; }
  Core& core() { return core_; }

 private:
  using Parser = std::function<Parsed(const HttpRequest&, const RouteMatch&, const ParseLimits&)>;
  void add_computed(const std::string& path, Dialect dialect, Parser parser);
  void add_operations();
  void add_pages();
  /// Parses, submits, and answers in the dialect when the outcome comes.
  void compute(const std::shared_ptr<HttpExchange>& exchange, const RouteMatch& match, Dialect dialect,
               const Parser& parser);
  void stream(const std::shared_ptr<HttpExchange>& exchange, Request request, std::vector<std::string> warnings);
  HttpResponse info(const RouteMatch& match) const;

  Core& core_;
  AppOptions options_;
  kserve::Service kserve_;
  Router router_;
  Router metrics_router_;
};

}  // namespace inazuma
