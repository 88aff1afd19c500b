#include "frontends/kserve/http/routes.h"

#include "frontends/errors.h"
#include "frontends/kserve/http/admin.h"
#include "frontends/kserve/http/generate.h"
#include "frontends/kserve/http/infer.h"

namespace inazuma::kserve {

namespace {

using Exchange = std::shared_ptr<HttpExchange>;

HttpResponse error(const Status& status) {
  return error_response(status, Dialect::kserve);
}

std::function<void(std::function<void()>)> poster(const Exchange& exchange) {
  return [exchange](std::function<void()> task) { exchange->post(std::move(task)); };
}

// Null for most requests: those that are not traced.
std::shared_ptr<RequestTrace> begin_trace(Service& service, const Exchange& exchange, const RouteMatch& match) {
  const std::shared_ptr<RequestTrace> trace = service.tracer.begin(match.model);
  stamp(trace, "HTTP_RECV_START", exchange->request().arrival);
  stamp(trace, "HTTP_RECV_END");
  return trace;
}

void respond(const Exchange& exchange, const std::shared_ptr<RequestTrace>& trace, HttpResponse response) {
  stamp(trace, "HTTP_SEND_START");
  exchange->respond(std::move(response));
  stamp(trace, "HTTP_SEND_END");
}

Request make_request(const Exchange& exchange, const RouteMatch& match, TensorInference inference,
                     std::shared_ptr<RequestTrace> trace) {
  Request request;
  request.trace = std::move(trace);
  request.id = exchange->request().id;
  request.model = match.model;
  request.work = std::move(inference);
  request.arrival = exchange->request().arrival;
  request.cancelled = exchange->cancelled();
  return request;
}

std::shared_ptr<const TensorModel> model_of(Service& service, const RouteMatch& match, int64_t version) {
  return service.core.tensor_backend(match.model, version).value()->tensor_model();
}

void infer(Service& service, const Exchange& exchange, const RouteMatch& match) {
  const HttpRequest& http = exchange->request();
  const int64_t version = parse_version(match.version);
  const std::shared_ptr<const TensorModel> model = model_of(service, match, version);
  if (model->decoupled)
    throw fail(StatusCode::unsupported, "HTTP end point doesn't support models with decoupled transaction policy");
  const std::shared_ptr<RequestTrace> trace = begin_trace(service, exchange, match);
  const std::optional<size_t> json_size = parse_json_size(http.headers, http.body.size());
  // The tensors point into the body, which the exchange holds.
  ParsedInference parsed = parse_inference(std::shared_ptr<const std::string>(exchange, &http.body), json_size, *model,
                                           service.options.max_json);
  read_shared_inputs(service.memory, parsed.inference, parsed.shared_inputs);
  forward_headers(service.http_forward, http.headers, parsed.inference.parameters);
  parsed.inference.version = version;
  auto format = [&service, id = parsed.inference.id, requested = parsed.inference.outputs,
                 binary = parsed.binary_by_default](const TensorResult& result) {
    return format_inference(id, result, answer_outputs(service, requested, binary, result));
  };
  service.core.submit(make_request(exchange, match, std::move(parsed.inference), trace),
                      {poster(exchange), [exchange, trace, format = std::move(format)](Event event) {
                         const auto* response = std::get_if<Response>(&event);
                         if (response == nullptr) return;
                         exchange->usage = response->usage;
                         HttpResponse out;
                         Status status = response->status;
                         if (status.ok())
                           status = capture([&] { out = format(std::get<TensorResult>(response->outcome)); });
                         respond(exchange, trace, status.ok() ? std::move(out) : error(status));
                       }});
}

// One answer, or an error; models that may give several are refused before they run.
void generate(Service& service, const Exchange& exchange, const RouteMatch& match) {
  const int64_t version = parse_version(match.version);
  const std::shared_ptr<const TensorModel> model = model_of(service, match, version);
  if (!model->single_answer)
    throw fail(StatusCode::invalid,
               "generate expects model to produce exactly 1 response, {} may give several; use generate_stream",
               quoted(match.model));
  const std::shared_ptr<RequestTrace> trace = begin_trace(service, exchange, match);
  TensorInference inference = parse_generate(exchange->request().body, *model, service.options.max_json);
  inference.version = version;
  const std::string id = inference.id;
  auto results = std::make_shared<std::vector<TensorResult>>();
  service.core.submit(make_request(exchange, match, std::move(inference), trace),
                      {poster(exchange), [exchange, trace, id, results](Event event) {
                         if (auto* one = std::get_if<TensorEvent>(&event))
                           return results->push_back(std::move(one->result));
                         auto* response = std::get_if<Response>(&event);
                         if (response == nullptr) return;
                         exchange->usage = response->usage;
                         Status status = response->status;
                         HttpResponse out;
                         if (status.ok())
                           status = capture([&] {
                             auto& last = std::get<TensorResult>(response->outcome);
                             if (!last.empty) results->push_back(std::move(last));
                             if (results->size() != 1)
                               throw fail(
                                   StatusCode::internal,
                                   "generate expects model to produce exactly 1 response, got {}; use generate_stream",
                                   results->size());
                             out.body = format_generate(id, results->front());
                           });
                         respond(exchange, trace, status.ok() ? std::move(out) : error(status));
                       }});
}

// Headers go out with the first answer, so that an error before it is a plain reply with the right status.
void generate_stream(Service& service, const Exchange& exchange, const RouteMatch& match) {
  const int64_t version = parse_version(match.version);
  const std::shared_ptr<const TensorModel> model = model_of(service, match, version);
  const std::shared_ptr<RequestTrace> trace = begin_trace(service, exchange, match);
  TensorInference inference = parse_generate(exchange->request().body, *model, service.options.max_json);
  inference.version = version;
  const std::string id = inference.id;
  auto started = std::make_shared<bool>(false);
  const auto start = [exchange, started] {
    if (std::exchange(*started, true)) return;
    exchange->begin_stream({.status = 200,
                            .content_type = "text/event-stream; charset=utf-8",
                            .body = "",
                            .headers = {{"cache-control", "no-cache"}, {"x-accel-buffering", "no"}}});
  };
  const auto fails = [exchange, started, start](const Status& status) {
    if (!*started) return exchange->respond(error(status));
    exchange->write("data: " + error(status).body + "\n\n");
    exchange->end_stream();
  };
  service.core.submit(
      make_request(exchange, match, std::move(inference), trace),
      {poster(exchange), [exchange, trace, id, start, fails, ended = std::make_shared<bool>(false)](Event event) {
         if (*ended) return;
         const auto say = [&](const TensorResult& result) {
           std::string text;
           const Status status = capture([&] { text = "data: " + format_generate(id, result) + "\n\n"; });
           if (!status.ok()) return *ended = true, fails(status);
           stamp(trace, "HTTP_SEND_START");
           start();
           exchange->write(std::move(text));
           stamp(trace, "HTTP_SEND_END");
         };
         if (const auto* one = std::get_if<TensorEvent>(&event)) return say(one->result);
         const auto* response = std::get_if<Response>(&event);
         if (response == nullptr) return;
         exchange->usage = response->usage;
         if (!response->status.ok()) return *ended = true, fails(response->status);
         const auto& last = std::get<TensorResult>(response->outcome);
         if (!last.empty) say(last);
         if (*ended) return;
         start();
         exchange->end_stream();
       }});
}

}  // namespace

std::vector<Route> http_routes(Service& service) {
  std::vector<Route> routes;
  const auto add = [&](const char* method, std::string path, const char* group, auto work, bool open = false) {
    routes.push_back({.method = method,
                      .path = std::move(path),
                      .handler =
                          [&service, work](const Exchange& exchange, const RouteMatch& match) {
                            const Status status = capture([&] { work(service, exchange, match); });
                            if (!status.ok()) exchange->respond(error(status));
                          },
                      .access = open ? Access::open : Access::guarded,
                      .per_model = false,
                      .group = group});
  };
  // Facts are answered at once.
  const auto answer = [](auto make) {
    return [make](Service& s, const Exchange& exchange, const RouteMatch& match) {
      exchange->respond(make(s, exchange->request(), match));
    };
  };
  for (const std::string versions : {"", "/versions/{version}"}) {
    const std::string model = "/v2/models/{model}" + versions;
    add("POST", model + "/infer", "inference", infer);
    add("POST", model + "/generate", "inference", generate);
    add("POST", model + "/generate_stream", "inference", generate_stream);
    add("GET", model, "metadata", answer(model_metadata));
    add("GET", model + "/ready", "health", answer(model_ready), true);
    add("GET", model + "/config", "model-config", answer(model_config));
    add("GET", model + "/stats", "statistics", answer(model_statistics));
  }
  add("GET", "/v2", "metadata", answer(server_metadata));
  add("GET", "/v2/health/live", "health", answer(server_live), true);
  add("GET", "/v2/health/ready", "health", answer(server_ready), true);
  add("GET", "/v2/models/stats", "statistics", answer(model_statistics));
  for (const std::string model : {"", "/models/{model}"}) {
    add("GET", "/v2" + model + "/trace/setting", "trace", answer(get_trace));
    add("POST", "/v2" + model + "/trace/setting", "trace", answer(set_trace));
  }
  add("GET", "/v2/logging", "logging", answer(get_logging));
  add("POST", "/v2/logging", "logging", answer(set_logging));
  add("POST", "/v2/repository/index", "model-repository", answer(repository_index));
  add("POST", "/v2/repository/models/{model}/load", "model-repository", load_model);
  add("POST", "/v2/repository/models/{model}/unload", "model-repository", unload_model);
  add("POST", "/v2/repository/{region}/index", "model-repository", answer(repository_index));
  for (const char* action : {"load", "unload"})
    add("POST", fmt::format("/v2/repository/{{region}}/models/{{model}}/{}", action), "model-repository",
        answer(named_repository));
  for (const std::string region : {"", "/region/{region}"}) {
    add("GET", "/v2/systemsharedmemory" + region + "/status", "shared-memory", answer(shared_memory_status));
    add("POST", "/v2/systemsharedmemory" + region + "/unregister", "shared-memory", answer(shared_memory_unregister));
    add("GET", "/v2/cudasharedmemory" + region + "/status", "shared-memory", answer(cuda_memory_status));
    add("POST", "/v2/cudasharedmemory" + region + "/unregister", "shared-memory", answer(cuda_memory_unregister));
  }
  add("POST", "/v2/systemsharedmemory/region/{region}/register", "shared-memory", answer(shared_memory_register));
  add("POST", "/v2/cudasharedmemory/region/{region}/register", "shared-memory", answer(cuda_memory_register));
  return routes;
}

}  // namespace inazuma::kserve
