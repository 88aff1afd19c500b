// Health, information, metrics: the routes that operators and balancers use.

#include "base/version.h"
#include "frontends/app.h"
#include "frontends/web/pages.h"
#include "serving/metrics/openmetrics.h"

namespace inazuma {

namespace {

HttpResponse empty_response(int status) {
  return {.status = status, .content_type = "", .body = "", .headers = {}};
}

// While loading, draining or stalled: the form that balancers and clients of other servers know.
HttpResponse health(const Core& core) {
  if (core.ready())
    return {.status = 200, .content_type = "application/json", .body = R"({"status":"ok"})", .headers = {}};
  const char* reason = core.draining() ? "Draining" : core.live() ? "Loading model" : "Stalled";
  JsonWriter json;
  json.begin_object()
      .key("error")
      .begin_object()
      .key("code")
      .number(int64_t{503})
      .key("message")
      .text(reason)
      .key("type")
      .text("unavailable_error")
      .end_object()
      .end_object();
  return {.status = 503,
          .content_type = "application/json",
          .body = std::move(json).take(),
          .headers = {{"retry-after", "1"}}};
}

void write_labels(JsonWriter& json, const char* kind, const ModelInfo& model) {
  json.begin_object().key(kind).begin_object().key("id2label").begin_object();
  for (size_t i = 0; i < model.labels.size(); ++i) json.key(std::to_string(i)).text(model.labels[i]);
  json.end_object().key("label2id").begin_object();
  for (size_t i = 0; i < model.labels.size(); ++i) json.key(model.labels[i]).number(static_cast<int64_t>(i));
  json.end_object().end_object().end_object();
}

void write_model_type(JsonWriter& json, const ModelInfo& model) {
  const auto simple = [&](const char* kind) { json.begin_object().key(kind).begin_object().end_object().end_object(); };
  switch (model.task) {
    case Task::token_classification: return write_labels(json, "token_classifier", model);
    case Task::text_classification:
      return write_labels(json, model.labels.size() == 1 ? "reranker" : "classifier", model);
    case Task::fill_mask: return simple("fill_mask");
    case Task::question_answering: return simple("question_answering");
    case Task::text_generation: return simple("generator");
    case Task::text2text_generation: return simple("seq2seq");
    case Task::feature_extraction:
      json.begin_object()
          .key("embedding")
          .begin_object()
          .key("pooling")
          .text(names_of(model.poolings))
          .end_object()
          .end_object();
      return;
  }
}

void write_served(JsonWriter& json, const ServedModel& served) {
  const ServedVersion* version = served.current();
  json.begin_object().key("id").text(served.id).key("state").text(version == nullptr ? "UNAVAILABLE"
                                                                                     : name(version->state));
  if (version != nullptr && !version->reason.empty()) json.key("reason").text(version->reason);
  if (version != nullptr && version->backend && version->backend->info().text) {
    const BackendInfo& info = version->backend->info();
    json.key("task").text(name(info.model.task)).key("architecture").text(info.model.architecture);
    json.key("dtype")
        .text(name(info.model.stored_dtype))
        .key("tokenizer")
        .text(info.tokenizer)
        .key("device")
        .text(info.device);
    json.key("parameters")
        .number(info.model.parameters)
        .key("memory")
        .number(static_cast<int64_t>(info.model.weight_bytes));
    json.key("max_input_length")
        .number(static_cast<int64_t>(info.max_input_length))
        .key("load_seconds")
        .number(info.load_seconds);
    json.key("warnings").begin_array();
    for (const std::string& warning : info.warnings) json.text(warning);
    json.end_array();
  }
  json.end_object();
}

}  // namespace

HttpResponse App::info(const RouteMatch& match) const {
  const std::shared_ptr<Backend> backend = core_.backend(match.model).value();
  const BackendInfo& info = backend->info();
  const bool generates = info.model.has_decoder;
  JsonWriter json;
  if (!info.text) {
    // Takes tensors only: /v2/models/NAME says more.
    json.begin_object()
        .key("model_id")
        .text(info.id)
        .key("version")
        .text(kVersion)
        .key("sha")
        .text(kCommit)
        .key("models")
        .begin_array();
    for (const ServedModel& served : core_.repository().snapshot()->models) write_served(json, served);
    json.end_array().end_object();
    return {.status = 200, .content_type = "application/json", .body = std::move(json).take(), .headers = {}};
  }
  json.begin_object()
      .key("model_id")
      .text(info.id)
      .key("model_sha")
      .null()
      .key("model_dtype")
      .text(name(info.model.stored_dtype))
      .key("served_model_name")
      .text(info.id);
  json.key("model_type");
  write_model_type(json, info.model);
  json.key("max_concurrent_requests").number(static_cast<int64_t>(info.engine.max_queue));
  json.key("max_input_length")
      .number(static_cast<int64_t>(info.max_input_length))
      .key("max_batch_tokens")
      .number(static_cast<int64_t>(info.engine.max_batch_tokens));
  json.key("max_batch_requests").number(static_cast<int64_t>(info.engine.max_sequences));
  json.key("max_client_batch_size")
      .number(static_cast<int64_t>(options_.limits.max_client_batch))
      .key("auto_truncate")
      .boolean(options_.auto_truncate);
  json.key("tokenization_workers")
      .number(int64_t{1})
      .key("version")
      .text(kVersion)
      .key("sha")
      .text(kCommit)
      .key("docker_label")
      .null();
  if (generates) {
    json.key("model_pipeline_tag")
        .text(name(info.model.task))
        .key("max_best_of")
        .number(int64_t{16})
        .key("max_stop_sequences")
        .number(static_cast<int64_t>(options_.limits.max_stop));
    json.key("max_input_tokens")
        .number(static_cast<int64_t>(info.engine.max_context))
        .key("max_total_tokens")
        .number(static_cast<int64_t>(info.engine.max_context));
    json.key("validation_workers").number(int64_t{1}).key("router").text("inazuma");
  }
  json.key("device").text(info.device).key("models").begin_array();
  for (const ServedModel& served : core_.repository().snapshot()->models) write_served(json, served);
  json.end_array().end_object();
  return {.status = 200, .content_type = "application/json", .body = std::move(json).take(), .headers = {}};
}

void App::add_operations() {
  const auto open = [&](const char* path, RouteHandler handler) {
    router_.add({.method = "GET", .path = path, .handler = handler, .access = Access::open});
    metrics_router_.add({.method = "GET", .path = path, .handler = std::move(handler), .access = Access::open});
  };
  const auto ready = [this](const auto& exchange, const RouteMatch&) {
    exchange->respond(empty_response(core_.ready() ? 200 : 503));
  };
  const auto live = [this](const auto& exchange, const RouteMatch&) {
    exchange->respond(empty_response(core_.live() ? 200 : 503));
  };
  open("/health", [this](const auto& exchange, const RouteMatch&) { exchange->respond(health(core_)); });
  for (const char* path : {"/health/ready", "/readyz", "/ping"}) open(path, ready);
  for (const char* path : {"/health/live", "/livez"}) open(path, live);
  router_.add({.method = "GET",
               .path = "/info",
               .handler = [this](const auto& exchange, const RouteMatch& match) { exchange->respond(info(match)); },
               .access = Access::guarded,
               .per_model = true});
  router_.add(
      {.method = "GET", .path = "/version", .handler = [](const auto& exchange, const RouteMatch&) {
         JsonWriter json;
         json.begin_object().key("version").text(kVersion).key("commit").text(kCommit).end_object();
         exchange->respond(
             {.status = 200, .content_type = "application/json", .body = std::move(json).take(), .headers = {}});
       }});
  const RouteHandler metrics = [this](const auto& exchange, const RouteMatch&) {
    std::string text = core_.metrics().text(*core_.repository().snapshot());
    const auto accept = find_header(exchange->request().headers, "accept");
    if (accept && accept->find("application/openmetrics-text") != std::string_view::npos)
      return exchange->respond({.status = 200,
                                .content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8",
                                .body = openmetrics(text),
                                .headers = {}});
    exchange->respond({.status = 200,
                       .content_type = "text/plain; version=0.0.4; charset=utf-8",
                       .body = std::move(text),
                       .headers = {}});
  };
  const Access access = options_.metrics_auth ? Access::guarded : Access::open;
  if (options_.metrics_on_http)
    router_.add({.method = "GET", .path = "/metrics", .handler = metrics, .access = access});
  metrics_router_.add({.method = "GET", .path = "/metrics", .handler = metrics, .access = access});
}

void App::add_pages() {
  // Browsers get the page; programs that GET / get the facts.
  router_.add({.method = "GET",
               .path = "/",
               .handler =
                   [this](const auto& exchange, const RouteMatch& match) {
                     const bool page = options_.ui && wants_html(exchange->request());
                     exchange->respond(page ? page_response("/index.html").value() : info(match));
                   },
               .access = options_.ui ? Access::page : Access::guarded,
               .per_model = false});
  if (!options_.ui) return;
  for (const Page& page : pages())
    router_.add(
        {.method = "GET",
         .path = std::string(page.path),
         .handler = [path = std::string(page.path)](
                        const auto& exchange, const RouteMatch&) { exchange->respond(page_response(path).value()); },
         .access = Access::open});
  router_.add({.method = "GET",
               .path = "/docs",
               .handler = [](const auto& exchange,
                             const RouteMatch&) { exchange->respond(page_response("/docs.html").value()); },
               .access = Access::open});
}

}  // namespace inazuma
