#include "frontends/app.h"

#include <algorithm>
#include <charconv>
#include <climits>

#include "base/log.h"
#include "frontends/grpc/health.h"
#include "frontends/grpc/reflection.h"
#include "frontends/kserve/grpc/methods.h"
#include "frontends/kserve/http/routes.h"
#include "frontends/web/pages.h"

namespace inazuma {

namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

int64_t millis(Clock::duration duration) {
  return duration_cast<milliseconds>(duration).count();
}

// What the answer cost, for clients (x-*) and for browsers' developer tools (Server-Timing).
void add_usage_headers(Headers& headers, const Usage& usage) {
  const auto add = [&](const char* name, std::string value) { headers.emplace_back(name, std::move(value)); };
  add("x-compute-type", usage.device);
  add("x-compute-time", fmt::format("{:.6f}", seconds(usage.tokenization + usage.inference)));
  add("x-compute-characters", std::to_string(usage.characters));
  add("x-compute-tokens", std::to_string(usage.prompt_tokens + usage.generated_tokens));
  add("x-total-time", std::to_string(millis(usage.total)));
  add("x-tokenization-time", std::to_string(millis(usage.tokenization)));
  add("x-queue-time", std::to_string(millis(usage.queue)));
  add("x-inference-time", std::to_string(millis(usage.inference)));
  if (usage.generation) {
    add("x-validation-time", std::to_string(millis(usage.validation)));
    add("x-time-per-token",
        std::to_string(usage.generated_tokens == 0 ? 0 : millis(usage.inference) / usage.generated_tokens));
    add("x-prompt-tokens", std::to_string(usage.prompt_tokens));
    add("x-generated-tokens", std::to_string(usage.generated_tokens));
  }
  add("server-timing", fmt::format("tokenization;dur={:.3f}, queue;dur={:.3f}, inference;dur={:.3f}, total;dur={:.3f}",
                                   seconds(usage.tokenization) * 1e3, seconds(usage.queue) * 1e3,
                                   seconds(usage.inference) * 1e3, seconds(usage.total) * 1e3));
}

void add_warnings(Headers& headers, const std::vector<std::string>& warnings) {
  std::string joined;
  for (const std::string& warning : warnings) joined += (joined.empty() ? "" : "; ") + warning;
  if (!joined.empty()) headers.emplace_back("x-warning", joined);
}

Clock::time_point deadline_of(const HttpRequest& request) {
  const auto header = find_header(request.headers, "x-request-timeout-ms");
  if (!header) return Clock::time_point::max();
  int64_t value = 0;
  const auto [end, error] = std::from_chars(header->data(), header->data() + header->size(), value);
  if (error != std::errc() || end != header->data() + header->size() || value < 0 || value > 86'400'000)
    throw fail(StatusCode::invalid, "x-request-timeout-ms is {}, must be milliseconds in [0, 86400000]",
               quoted(*header));
  return request.arrival + milliseconds(value);
}

Request make_request(const std::shared_ptr<HttpExchange>& exchange, const RouteMatch& match, Work work) {
  Request request;
  request.id = exchange->request().id;
  request.model = match.model;
  request.work = std::move(work);
  request.arrival = exchange->request().arrival;
  request.deadline = deadline_of(exchange->request());
  request.cancelled = exchange->cancelled();
  return request;
}

std::function<void(std::function<void()>)> poster(const std::shared_ptr<HttpExchange>& exchange) {
  return [exchange](std::function<void()> task) { exchange->post(std::move(task)); };
}

bool generates(Task task) {
  return task == Task::text_generation || task == Task::text2text_generation;
}

GuardOptions guard_of_metrics(const AppOptions& options) {
  GuardOptions out = options.guard;
  out.loopback_only = options.metrics_loopback_only;
  return out;
}

}  // namespace

App::App(Core& core, AppOptions options)
    : core_(core),
      options_(std::move(options)),
      kserve_(core, options_.kserve),
      router_(core, options_.guard),
      metrics_router_(core, guard_of_metrics(options_)) {
  const auto task = [this](const HttpRequest& request, const RouteMatch& match, const ParseLimits& limits) {
    return task_api::parse(request.body, core_.backend(match.model).value()->info().model.task, match.task, limits);
  };
  add_computed("/", Dialect::task, task);
  add_computed("/generate", Dialect::tgi, [](const HttpRequest& r, const RouteMatch&, const ParseLimits& l) {
    return tgi::parse(r.body, false, false, l);
  });
  add_computed("/generate_stream", Dialect::tgi, [](const HttpRequest& r, const RouteMatch&, const ParseLimits& l) {
    return tgi::parse(r.body, true, false, l);
  });
  add_computed("/embed", Dialect::tei, [](const HttpRequest& r, const RouteMatch&, const ParseLimits& l) {
    return tei::parse_embed(r.body, l);
  });
  add_computed("/embed_all", Dialect::tei, [](const HttpRequest& r, const RouteMatch&, const ParseLimits& l) {
    return tei::parse_embed_all(r.body, l);
  });
  add_computed("/predict", Dialect::tei, [](const HttpRequest& r, const RouteMatch&, const ParseLimits& l) {
    return tei::parse_predict(r.body, l);
  });
  add_computed("/similarity", Dialect::tei, [](const HttpRequest& r, const RouteMatch&, const ParseLimits& l) {
    return tei::parse_similarity(r.body, l);
  });
  add_computed("/rerank", Dialect::tei, [](const HttpRequest& r, const RouteMatch&, const ParseLimits& l) {
    return tei::parse_rerank(r.body, l);
  });
  add_computed("/tokenize", Dialect::tei, [this](const HttpRequest& r, const RouteMatch& m, const ParseLimits& l) {
    return tei::parse_tokenize(r.body, generates(core_.backend(m.model).value()->info().model.task), l);
  });
  add_computed("/decode", Dialect::tei, [](const HttpRequest& r, const RouteMatch&, const ParseLimits& l) {
    return tei::parse_decode(r.body, l);
  });
  add_operations();
  add_pages();
  for (Route& route : kserve::http_routes(kserve_)) {
    if (route.group == "health") metrics_router_.add(route);
    router_.add(std::move(route));
  }
}

// Tensors are larger than texts; what of them may be JSON is bounded when it is read.
size_t App::body_limit(std::string_view path, size_t usual) const {
  constexpr size_t kLargestTensors = INT_MAX;
  return path.starts_with("/v2/models/") ? kLargestTensors
                                         : std::max(usual, path.starts_with("/v2/") ? options_.kserve.max_json : usual);
}

HttpResponse App::unreadable(const HttpRequest& request, const Status& status) const {
  const bool tensors = request.path.starts_with("/v2/");
  HttpResponse response = error_response(status, tensors ? Dialect::kserve : Dialect::task);
  if (status.code() == StatusCode::unsupported) {
    if (!tensors) response.status = 415;
    response.headers.emplace_back("accept-encoding", "gzip, deflate");
  }
  return response;
}

std::vector<GrpcMethod> App::grpc_methods() {
  std::vector<GrpcMethod> methods = kserve::grpc_methods(kserve_);
  for (GrpcMethod& method : grpc_health_methods(core_)) methods.push_back(std::move(method));
  std::vector<std::string> paths;
  for (const GrpcMethod& method : methods) paths.push_back(method.path);
  for (GrpcMethod& method : grpc_reflection_methods(std::move(paths))) methods.push_back(std::move(method));
  return methods;
}

GrpcStatus App::admit(const GrpcMethod& method, const Headers& metadata) const {
  if (!method.open && !key_valid(options_.guard, metadata))
    return {GrpcCode::unauthenticated,
            "a key is needed: send 'authorization: Bearer KEY' or 'x-api-key: KEY' as metadata"};
  const auto restriction = options_.guard.restricted_grpc.find(method.group);
  if (restriction != options_.guard.restricted_grpc.end() && !meets(restriction->second, metadata))
    return {GrpcCode::unavailable,
            fmt::format("This protocol is restricted, expecting header '{}'", restriction->second.header)};
  return {};
}

void App::add_computed(const std::string& path, Dialect dialect, Parser parser) {
  router_.add(
      {.method = "POST",
       .path = path,
       .handler = [this, dialect, parser = std::move(parser)](
                      const auto& exchange, const RouteMatch& match) { compute(exchange, match, dialect, parser); },
       .access = Access::guarded,
       .per_model = true});
}

void App::handle(const std::shared_ptr<HttpExchange>& exchange) {
  const Status status = capture([&] { router_.handle(exchange); });
  if (!status.ok()) exchange->respond(error_response(status, Dialect::task));
}

void App::handle_metrics(const std::shared_ptr<HttpExchange>& exchange) {
  const Status status = capture([&] { metrics_router_.handle(exchange); });
  if (!status.ok()) exchange->respond(error_response(status, Dialect::task));
}

void App::compute(const std::shared_ptr<HttpExchange>& exchange, const RouteMatch& match, Dialect dialect,
                  const Parser& parser) {
  const Status status = capture([&] {
    ParseLimits limits = options_.limits;
    if (find_header(exchange->request().headers, "x-strict") == "1") limits.strict = true;
    const std::string_view client = find_header(exchange->request().headers, "user-agent").value_or("");
    limits.labels_apart = client.find("hf_hub/0.") != std::string_view::npos;
    Parsed parsed = parser(exchange->request(), match, limits);
    Request request = make_request(exchange, match, std::move(parsed.work));
    if (parsed.stream) return stream(exchange, std::move(request), std::move(parsed.warnings));
    core_.submit(std::move(request), {poster(exchange), [exchange, dialect, format = std::move(parsed.format),
                                                         warnings = std::move(parsed.warnings)](Event event) {
                                        const auto* response = std::get_if<Response>(&event);
                                        if (response == nullptr) return;  // tokens of a work that is not streamed
                                        exchange->usage = response->usage;
                                        HttpResponse out;
                                        Status outcome = response->status;
                                        if (outcome.ok())
                                          outcome = capture([&] { out.body = format(response->outcome); });
                                        if (!outcome.ok())
                                          out = error_response(outcome, dialect);
                                        else
                                          add_usage_headers(out.headers, response->usage);
                                        add_warnings(out.headers, warnings);
                                        exchange->respond(std::move(out));
                                      }});
  });
  if (!status.ok()) exchange->respond(error_response(status, dialect));
}

// Headers go out with the first token, so that an error before it is a plain answer with the right status.
void App::stream(const std::shared_ptr<HttpExchange>& exchange, Request request, std::vector<std::string> warnings) {
  auto started = std::make_shared<bool>(false);
  const auto start = [exchange, started, warnings = std::move(warnings)] {
    if (*started) return;
    *started = true;
    HttpResponse head{.status = 200,
                      .content_type = "text/event-stream",
                      .body = "",
                      .headers = {{"cache-control", "no-cache"}, {"x-accel-buffering", "no"}}};
    add_warnings(head.headers, warnings);
    exchange->begin_stream(std::move(head));
  };
  core_.submit(std::move(request),
               {poster(exchange), [exchange, started, start](Event event) {
                  if (const auto* token = std::get_if<StreamToken>(&event)) {
                    start();
                    return exchange->write(tgi::stream_event(*token) + "\n\n");
                  }
                  const Response& response = std::get<Response>(event);
                  exchange->usage = response.usage;
                  if (!response.status.ok() && !*started)
                    return exchange->respond(error_response(response.status, Dialect::tgi));
                  start();
                  exchange->write(
                      (response.status.ok() ? tgi::final_event(response) : tgi::error_event(response.status)) + "\n\n");
                  exchange->end_stream();
                }});
}

}  // namespace inazuma
