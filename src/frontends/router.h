#pragma once
// Paths to handlers, and the key check: one table, so that no route can escape it.

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "frontends/http.h"
#include "frontends/shared_value.h"
#include "serving/core.h"

namespace inazuma {

/// Who may call a route.
enum class Access {
  open,     ///< health checks and static files: no key
  guarded,  ///< needs a key when any is set
  page,     ///< a static page for browsers (no key), data for programs (key)
};

struct RouteMatch {
  std::string model;    ///< from /models/{id}/... or the x-model header; "" = default
  std::string task;     ///< from /pipeline/{task}/...
  std::string version;  ///< {version} of a path pattern: digits
  std::string region;   ///< {region} of a path pattern
};
using RouteHandler = std::function<void(const std::shared_ptr<HttpExchange>&, const RouteMatch&)>;

struct Route {
  std::string method;  ///< GET also answers HEAD
  std::string
      path;  ///< exact, without trailing slash ("/" itself excepted); {model}, {version}, {region} stand for a segment
  RouteHandler handler;
  Access access = Access::guarded;
  bool per_model = false;  ///< also under /models/{id}
  std::string group;       ///< of KServe's operations, for --http-restricted-api
};

/// Operations of a group are only for those who send this header.
struct Restriction {
  std::string header;  ///< lower case
  std::string value;
};

/// The keys that open the server; replaced while it runs. Thread-safe.
class KeyRing {
 public:
  void replace(std::vector<std::string> keys) {
    keys_.set(std::make_shared<const std::vector<std::string>>(std::move(keys)));
  }
  /// Without keys nobody needs one.
  bool empty() const { return keys_.get()->empty(); }
  /// Compared in constant time.
  bool holds(std::string_view given) const;

 private:
  SharedValue<std::vector<std::string>> keys_{std::make_shared<const std::vector<std::string>>()};
};

struct GuardOptions {
  std::shared_ptr<KeyRing> api_keys = std::make_shared<KeyRing>();  ///< --api-key, --api-key-file
  bool loopback_only = true;               ///< bound to loopback: `Host` must be a loopback name or allowed
  std::vector<std::string> allowed_hosts;  ///< --allowed-host
  std::vector<std::string> cors_origins;   ///< --cors-allow-origin; "*" allows any
  std::vector<std::string> cors_headers;
  bool cors_credentials = false;
  std::map<std::string, Restriction> restricted_http;  ///< by group; --http-restricted-api
  std::map<std::string, Restriction> restricted_grpc;  ///< by group; --grpc-restricted-protocol
};

class Router {
 public:
  Router(Core& core, GuardOptions guard) : core_(core), guard_(std::move(guard)) {}

  void add(Route route) { routes_.push_back(std::move(route)); }
  /// Answers every request: 403 (host, origin), 401 (key), 404, 405 with Allow, the preflight, or the route's handler.
  void handle(const std::shared_ptr<HttpExchange>& exchange) const;
  const std::vector<Route>& routes() const { return routes_; }

 private:
  struct Found {
    const Route* route = nullptr;
    RouteMatch match;
    std::string pattern;
    std::string allow;  ///< methods of the path, when only the method is wrong
  };
  Found find(const HttpRequest& request) const;
  Found find_path(std::string_view method, std::string_view path, bool per_model) const;
  Found find_pattern(std::string_view method, std::string_view path) const;
  /// "org/name/generate" -> {"org/name", "/generate"} by the longest served name, else by the first segment.
  std::pair<std::string, std::string> split_model(std::string_view rest) const;
  bool host_allowed(const HttpRequest& request) const;
  bool origin_allowed(const HttpRequest& request, std::string_view origin) const;
  void preflight(const std::shared_ptr<HttpExchange>& exchange, std::string_view allow) const;

  Core& core_;
  GuardOptions guard_;
  std::vector<Route> routes_;
};

/// Whether the headers bring one of the keys (as "authorization: Bearer KEY" or "x-api-key: KEY"), or none is needed.
bool key_valid(const GuardOptions& guard, const Headers& headers);
/// Whether a restriction is met; compared in constant time.
bool meets(const Restriction& restriction, const Headers& headers);
/// Whether the client is a browser asking for a page.
bool wants_html(const HttpRequest& request);
/// Headers that let a page of an allowed origin read the reply; empty for others.
Headers cors_headers(const GuardOptions& guard, const HttpRequest& request);

}  // namespace inazuma
