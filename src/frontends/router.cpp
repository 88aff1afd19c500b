#include "frontends/router.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>

#include "frontends/errors.h"

namespace inazuma {

namespace {

// "http://host:port" or "host:port" -> "host", IPv6 brackets removed.
std::string host_name(std::string_view text) {
  if (const size_t scheme = text.find("://"); scheme != std::string_view::npos) text.remove_prefix(scheme + 3);
  if (text.starts_with('[')) return std::string(text.substr(1, text.find(']') - 1));
  return std::string(text.substr(0, text.find(':')));
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : static_cast<char>(c);
  });
  return text;
}

// 127.0.0.0/8, not a name that starts like it: "127.evil.example" may resolve to loopback for a page of that name.
bool is_loopback(const std::string& host) {
  const bool address = host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos;
  return address || host == "localhost" || host == "::1" || host.ends_with(".localhost");
}

// Digests are compared, so that neither content nor length of a key shows in the time taken.
bool same_secret(std::string_view a, std::string_view b) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> x{}, y{};
  SHA256(reinterpret_cast<const unsigned char*>(a.data()), a.size(), x.data());
  SHA256(reinterpret_cast<const unsigned char*>(b.data()), b.size(), y.data());
  return CRYPTO_memcmp(x.data(), y.data(), x.size()) == 0;
}

bool changes_or_computes(std::string_view method) {
  return method != "GET" && method != "HEAD" && method != "OPTIONS";
}

bool of_kserve(std::string_view path) {
  return path == "/v2" || path.starts_with("/v2/");
}

void refuse(const std::shared_ptr<HttpExchange>& exchange, StatusCode code, std::string sentence) {
  exchange->respond(error_response(Status(code, std::move(sentence)),
                                   of_kserve(exchange->request().path) ? Dialect::kserve : Dialect::task));
}

// Segment by segment; false when they differ.
bool match_pattern(std::string_view pattern, std::string_view path, RouteMatch& match) {
  while (!pattern.empty() && !path.empty()) {
    const std::string_view want = pattern.substr(1, pattern.find('/', 1) - 1),
                           got = path.substr(1, path.find('/', 1) - 1);
    pattern.remove_prefix(std::min(pattern.size(), want.size() + 1));
    path.remove_prefix(std::min(path.size(), got.size() + 1));
    if (!want.starts_with('{')) {
      if (want != got) return false;
      continue;
    }
    if (got.empty()) return false;
    if (want == "{version}") {
      if (got.find_first_not_of("0123456789") != std::string_view::npos) return false;
      match.version = got;
    } else {
      (want == "{model}" ? match.model : match.region) = got;
    }
  }
  return pattern.empty() && path.empty();
}

}  // namespace

std::pair<std::string, std::string> Router::split_model(std::string_view rest) const {
  std::string best;
  for (const ServedModel& model : core_.repository().snapshot()->models)
    if (rest.starts_with(model.id) && (rest.size() == model.id.size() || rest[model.id.size()] == '/') &&
        model.id.size() > best.size())
      best = model.id;
  if (best.empty()) best = std::string(rest.substr(0, rest.find('/')));
  return {best, std::string(rest.substr(best.size()))};
}

Router::Found Router::find_path(std::string_view method, std::string_view path, bool per_model) const {
  Found out;
  for (const Route& route : routes_) {
    if (route.path != path || (per_model && !route.per_model)) continue;
    if (route.method == method || (route.method == "GET" && method == "HEAD")) {
      out.route = &route;
      out.pattern = (per_model ? "/models/{id}" : "") + (per_model && path == "/" ? "" : route.path);
      return out;
    }
    out.allow += (out.allow.empty() ? "" : ", ") + route.method + (route.method == "GET" ? ", HEAD" : "");
  }
  return out;
}

Router::Found Router::find_pattern(std::string_view method, std::string_view path) const {
  Found out;
  for (const Route& route : routes_) {
    RouteMatch match;
    if (!of_kserve(route.path) || !match_pattern(route.path, path, match)) continue;
    if (route.method == method || (route.method == "GET" && method == "HEAD")) {
      // "/v2/models/stats" stands for itself before it stands for a model.
      if (out.route == nullptr || route.path == path)
        out.route = &route, out.pattern = route.path, out.match = std::move(match);
      continue;
    }
    out.allow += (out.allow.empty() ? "" : ", ") + route.method + (route.method == "GET" ? ", HEAD" : "");
  }
  return out;
}

Router::Found Router::find(const HttpRequest& request) const {
  std::string_view path = request.path;
  if (of_kserve(path)) return find_pattern(request.method, path);  // exact: no trailing slash, no default model
  if (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  Found out;
  if (path.starts_with("/models/") && path.size() > 8 && path[8] != '/') {
    auto [model, rest] = split_model(path.substr(8));
    std::string task;
    if (rest.starts_with("/pipeline/")) task = rest.substr(10), rest.clear();
    out = find_path(request.method, rest.empty() ? "/" : rest, true);
    if (!task.empty()) out.pattern = "/models/{id}/pipeline/{task}";
    out.match = {model, task};
  } else if (path.starts_with("/pipeline/")) {
    const std::string_view rest = path.substr(10);
    const size_t slash = rest.find('/');
    out = find_path(request.method, "/", true);
    out.pattern = "/pipeline/{task}/{id}";
    out.match = {slash == std::string_view::npos ? "" : std::string(rest.substr(slash + 1)),
                 std::string(rest.substr(0, slash))};
  } else {
    out = find_path(request.method, path, false);
  }
  if (const auto header = find_header(request.headers, "x-model"); header && out.match.model.empty())
    out.match.model = *header;
  return out;
}

bool Router::host_allowed(const HttpRequest& request) const {
  if (!guard_.loopback_only) return true;
  const auto header = find_header(request.headers, "host");
  if (!header) return true;  // HTTP/1.0 clients; no browser leaves it out
  const std::string host = lower(host_name(*header));
  return is_loopback(host) ||
         std::find(guard_.allowed_hosts.begin(), guard_.allowed_hosts.end(), host) != guard_.allowed_hosts.end();
}

bool Router::origin_allowed(const HttpRequest& request, std::string_view origin) const {
  for (const std::string& allowed : guard_.cors_origins)
    if (allowed == "*" || allowed == origin) return true;
  const auto host = find_header(request.headers, "host");
  return host && (origin == fmt::format("http://{}", *host) || origin == fmt::format("https://{}", *host));
}

bool KeyRing::holds(std::string_view given) const {
  bool valid = false;
  const std::shared_ptr<const std::vector<std::string>> keys = keys_.get();
  for (const std::string& key : *keys) valid |= same_secret(key, given);
  return valid;
}

bool key_valid(const GuardOptions& guard, const Headers& headers) {
  if (guard.api_keys->empty()) return true;
  std::string_view given;
  if (const auto header = find_header(headers, "authorization");
      header && header->size() > 7 && lower(std::string(header->substr(0, 7))) == "bearer ")
    given = header->substr(7);
  else if (const auto plain = find_header(headers, "x-api-key"))
    given = *plain;
  return guard.api_keys->holds(given);
}

bool meets(const Restriction& restriction, const Headers& headers) {
  const auto given = find_header(headers, restriction.header);
  return given && same_secret(restriction.value, *given);
}

bool wants_html(const HttpRequest& request) {
  const auto accept = find_header(request.headers, "accept");
  return accept && accept->find("text/html") != std::string_view::npos;
}

Headers cors_headers(const GuardOptions& guard, const HttpRequest& request) {
  const auto origin = find_header(request.headers, "origin");
  if (!origin) return {};
  const bool any = std::find(guard.cors_origins.begin(), guard.cors_origins.end(), "*") != guard.cors_origins.end();
  if (!any && std::find(guard.cors_origins.begin(), guard.cors_origins.end(), *origin) == guard.cors_origins.end())
    return {};
  Headers out{{"access-control-allow-origin", any && !guard.cors_credentials ? "*" : std::string(*origin)},
              {"vary", "origin"}};
  if (guard.cors_credentials) out.emplace_back("access-control-allow-credentials", "true");
  out.emplace_back("access-control-expose-headers",
                   "x-request-id, retry-after, retry-after-ms, x-warning, x-compute-type, x-compute-time, "
                   "x-compute-characters, x-compute-tokens, x-total-time, "
                   "x-tokenization-time, x-queue-time, x-inference-time, x-validation-time, x-time-per-token, "
                   "x-prompt-tokens, x-generated-tokens");
  return out;
}

void Router::preflight(const std::shared_ptr<HttpExchange>& exchange, std::string_view allow) const {
  HttpResponse response{
      .status = 204, .content_type = "", .body = "", .headers = cors_headers(guard_, exchange->request())};
  const std::string methods = fmt::format("{}, OPTIONS", allow);
  response.headers.emplace_back("allow", methods);
  if (response.headers.size() > 1) {
    response.headers.emplace_back("access-control-allow-methods", methods);
    std::string headers =
        guard_.cors_headers.empty()
            ? std::string(find_header(exchange->request().headers, "access-control-request-headers").value_or(""))
            : "";
    for (const std::string& name : guard_.cors_headers) headers += (headers.empty() ? "" : ", ") + name;
    if (!headers.empty()) response.headers.emplace_back("access-control-allow-headers", headers);
    response.headers.emplace_back("access-control-max-age", "600");
  }
  exchange->respond(std::move(response));
}

void Router::handle(const std::shared_ptr<HttpExchange>& exchange) const {
  const HttpRequest& request = exchange->request();
  Found found = find(request);
  exchange->route = found.route == nullptr ? "unknown" : found.pattern;
  if (!host_allowed(request))
    return refuse(exchange, StatusCode::forbidden,
                  fmt::format("host {} is not a loopback name; start with --allowed-host to serve it",
                              quoted(*find_header(request.headers, "host"))));
  if (request.method == "OPTIONS" && (found.route != nullptr || !found.allow.empty()))
    return preflight(exchange, found.allow);
  if (const auto origin = find_header(request.headers, "origin");
      origin && changes_or_computes(request.method) && !origin_allowed(request, *origin))
    return refuse(
        exchange, StatusCode::forbidden,
        fmt::format("origin {} is not allowed; start with --cors-allow-origin to let its pages in", quoted(*origin)));
  const bool open = found.route != nullptr && (found.route->access == Access::open ||
                                               (found.route->access == Access::page && wants_html(request)));
  if (!open && !key_valid(guard_, request.headers))
    return refuse(exchange, StatusCode::unauthenticated,
                  "a key is needed: send 'Authorization: Bearer KEY' or 'x-api-key: KEY'");
  if (found.route != nullptr) {
    const auto restriction = guard_.restricted_http.find(found.route->group);
    if (restriction != guard_.restricted_http.end() && !meets(restriction->second, request.headers))
      return refuse(exchange, StatusCode::forbidden,
                    fmt::format("This API is restricted, expecting header '{}'", restriction->second.header));
    return found.route->handler(exchange, found.match);
  }
  if (!found.allow.empty()) {
    const bool kserve = of_kserve(request.path);
    const std::string sentence =
        kserve ? "Method Not Allowed"
               : fmt::format("{} is not answered here, use {}", quoted(request.method), found.allow);
    HttpResponse response =
        error_response(Status(StatusCode::invalid, sentence), kserve ? Dialect::kserve : Dialect::task);
    response.status = 405;
    response.headers.emplace_back("allow", found.allow);
    return exchange->respond(std::move(response));
  }
  refuse(
      exchange, StatusCode::not_found,
      of_kserve(request.path) ? "Not Found" : fmt::format("no route {}; GET /docs lists them", quoted(request.path)));
}

}  // namespace inazuma
