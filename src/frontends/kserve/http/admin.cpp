#include "frontends/kserve/http/admin.h"

#include <grpc_service.pb.h>
#include <model_config.pb.h>

#include <array>

#include "base/version.h"
#include "frontends/errors.h"
#include "frontends/json.h"
#include "serving/config/config_text.h"

namespace inazuma::kserve {

namespace {

namespace dom = simdjson::dom;

HttpResponse empty_response(int status = 200) {
  return {.status = status, .content_type = status == 200 ? "" : "application/json", .body = "", .headers = {}};
}
HttpResponse json_response(std::string body) {
  return {.status = 200, .content_type = "application/json", .body = std::move(body), .headers = {}};
}
HttpResponse json_response(JsonWriter json) {
  return json_response(std::move(json).take());
}

// The body's object; an empty body is an empty one.
class Body {
 public:
  explicit Body(const std::string& text)
      : document_(text.find_first_not_of(" \t\r\n") == std::string::npos ? "{}" : std::string_view(text)) {
    if (document_.root().get_object().get(fields_))
      throw fail(StatusCode::invalid, "the body must be a JSON object, is {}", shown(document_.root()));
  }
  const dom::object& fields() const { return fields_; }
  std::optional<Json> find(std::string_view name) const {
    Json value;
    if (fields_.at_key(name).get(value)) return std::nullopt;
    return value;
  }
  uint64_t number(std::string_view name, std::optional<uint64_t> absent) const {
    const auto value = find(name);
    if (!value && absent) return *absent;
    uint64_t number = 0;
    if (!value || value->get_uint64().get(number))
      throw fail(StatusCode::invalid, "'{}' must be a whole number, 0 or more{}", name,
                 value ? ", is " + shown(*value) : "");
    return number;
  }
  std::string text(std::string_view name) const {
    const auto value = find(name);
    std::string_view text;
    if (!value || value->get_string().get(text))
      throw fail(StatusCode::invalid, "'{}' must be a string{}", name, value ? ", is " + shown(*value) : "");
    return std::string(text);
  }

 private:
  JsonDocument document_;
  dom::object fields_;
};

void write_tensors(JsonWriter& json, const TensorModel& model, const std::vector<TensorSpec>& specs) {
  json.begin_array();
  for (const TensorSpec& spec : specs) {
    json.begin_object()
        .key("name")
        .text(spec.name)
        .key("datatype")
        .text(wire_name(spec.type))
        .key("shape")
        .begin_array();
    for (const int64_t dim : model.shown_shape(spec)) json.number(dim);
    json.end_array().end_object();
  }
  json.end_array();
}

std::shared_ptr<const TensorModel> model_of(Service& service, const RouteMatch& match) {
  return service.core.tensor_backend(match.model, parse_version(match.version)).value()->tensor_model();
}

// A load or unload on the service's threads; the exchange is answered on its own.
void in_background(Service& service, const std::shared_ptr<HttpExchange>& exchange, std::function<Status()> work) {
  service.background.run([exchange, work = std::move(work)] {
    Status status = capture([&] {
      if (const Status done = work(); !done.ok()) throw Error(done);
    });
    exchange->post([exchange, status = std::move(status)] {
      exchange->respond(status.ok()
                            ? HttpResponse{.status = 200, .content_type = "application/json", .body = "", .headers = {}}
                            : error_response(status, Dialect::kserve));
    });
  });
}

}  // namespace

std::string decode_base64(std::string_view text, std::string_view what) {
  const auto wrong = [&] { return fail(StatusCode::invalid, "{} is not base64", what); };
  const auto value = [&](char c) -> uint32_t {
    if (c >= 'A' && c <= 'Z') return static_cast<uint32_t>(c - 'A');
    if (c >= 'a' && c <= 'z') return static_cast<uint32_t>(c - 'a' + 26);
    if (c >= '0' && c <= '9') return static_cast<uint32_t>(c - '0' + 52);
    if (c == '+') return 62;
    if (c == '/') return 63;
    throw wrong();
  };
  if (text.size() % 4 != 0) throw wrong();
  std::string out;
  out.reserve(text.size() / 4 * 3);
  for (size_t i = 0; i < text.size(); i += 4) {
    const bool last = i + 4 == text.size();
    const size_t padding = last ? (text[i + 3] == '=' ? (text[i + 2] == '=' ? 2u : 1u) : 0u) : 0u;
    uint32_t bits = 0;
    for (size_t k = 0; k < 4; ++k) bits = bits << 6 | (k < 4 - padding ? value(text[i + k]) : 0);
    for (size_t k = 0; k < 3 - padding; ++k) out += static_cast<char>(bits >> (16 - 8 * k) & 0xff);
  }
  return out;
}

HttpResponse server_metadata(Service& service, const HttpRequest&, const RouteMatch&) {
  JsonWriter json;
  json.begin_object()
      .key("name")
      .text(service.options.server_name)
      .key("version")
      .text(kVersion)
      .key("extensions")
      .begin_array();
  for (const std::string& name : extensions()) json.text(name);
  json.end_array().end_object();
  return json_response(std::move(json));
}

HttpResponse server_live(Service& service, const HttpRequest&, const RouteMatch&) {
  return empty_response(service.core.live() ? 200 : 400);
}
HttpResponse server_ready(Service& service, const HttpRequest&, const RouteMatch&) {
  return empty_response(service.core.ready() ? 200 : 400);
}

HttpResponse model_ready(Service& service, const HttpRequest&, const RouteMatch& match) {
  if (service.core.model_ready(match.model, parse_version(match.version))) return empty_response();
  throw fail(StatusCode::invalid, "Model version not ready");
}

HttpResponse model_metadata(Service& service, const HttpRequest&, const RouteMatch& match) {
  const std::shared_ptr<const TensorModel> model = model_of(service, match);
  JsonWriter json;
  json.begin_object().key("name").text(model->name).key("versions").begin_array();
  if (match.version.empty()) {
    for (const int64_t version : service.core.ready_versions(match.model)) json.text(std::to_string(version));
  } else {
    json.text(match.version);
  }
  json.end_array().key("platform").text(model->platform);
  write_tensors(json.key("inputs"), *model, model->inputs);
  write_tensors(json.key("outputs"), *model, model->outputs);
  json.end_object();
  return json_response(std::move(json));
}

HttpResponse model_config(Service& service, const HttpRequest&, const RouteMatch& match) {
  return json_response(to_json(*model_of(service, match)->config));
}

HttpResponse model_statistics(Service& service, const HttpRequest&, const RouteMatch& match) {
  inference::ModelStatisticsResponse response;
  std::vector<inference::ModelStatistics> rows =
      service.core.statistics(match.model, parse_version(match.version)).value();
  for (inference::ModelStatistics& one : rows) *response.add_model_stats() = std::move(one);
  return json_response(to_json(response));
}

HttpResponse repository_index(Service& service, const HttpRequest& request, const RouteMatch&) {
  const Body body(request.body);
  bool ready = false;
  if (const auto value = body.find("ready"); value && value->get_bool().get(ready))
    throw fail(StatusCode::invalid, "'ready' is {}, must be true or false", shown(*value));
  JsonWriter json;
  json.begin_array();
  for (const IndexEntry& entry : service.core.index(ready)) {
    json.begin_object().key("name").text(entry.name);
    if (!entry.version.empty()) json.key("version").text(entry.version);
    if (!entry.state.empty()) json.key("state").text(entry.state);
    if (!entry.reason.empty()) json.key("reason").text(entry.reason);
    json.end_object();
  }
  json.end_array();
  return json_response(std::move(json));
}

HttpResponse named_repository(Service&, const HttpRequest&, const RouteMatch&) {
  throw fail(StatusCode::unsupported, "'repository_name' specification is not supported");
}

void load_model(Service& service, const std::shared_ptr<HttpExchange>& exchange, const RouteMatch& match) {
  const Body body(exchange->request().body);
  LoadOverrides overrides;
  if (const auto parameters = body.find("parameters")) {
    dom::object fields;
    if (parameters->get_object().get(fields))
      throw fail(StatusCode::invalid, "'parameters' is {}, must be an object", shown(*parameters));
    for (const auto [name, value] : fields) {
      std::string_view text;
      if (value.get_string().get(text))
        throw fail(StatusCode::invalid, "load parameter {} must be a string", quoted(name));
      if (name == "config")
        overrides.config = text;
      else if (name.starts_with("file:"))
        overrides.files[std::string(name.substr(5))] =
            decode_base64(text, fmt::format("load parameter {}", quoted(name)));
      else
        throw fail(StatusCode::invalid, "unrecognized load parameter {}", quoted(name));
    }
  }
  in_background(service, exchange, [&service, model = match.model, overrides = std::move(overrides)] {
    return service.core.load(model, overrides);
  });
}

void unload_model(Service& service, const std::shared_ptr<HttpExchange>& exchange, const RouteMatch& match) {
  bool dependents = false;
  const Body body(exchange->request().body);
  if (const auto parameters = body.find("parameters")) {
    Json value;
    if (!(*parameters)["unload_dependents"].get(value) && value.get_bool().get(dependents))
      throw fail(StatusCode::invalid, "'unload_dependents' is {}, must be true or false", shown(value));
  }
  in_background(service, exchange,
                [&service, model = match.model, dependents] { return service.core.unload(model, dependents); });
}

HttpResponse shared_memory_status(Service& service, const HttpRequest&, const RouteMatch& match) {
  JsonWriter json;
  json.begin_array();
  const std::vector<RegionStatus> regions = service.memory.status(match.region).value();
  for (const RegionStatus& region : regions)
    json.begin_object()
        .key("name")
        .text(region.name)
        .key("key")
        .text(region.key)
        .key("offset")
        .number_u64(region.offset)
        .key("byte_size")
        .number_u64(region.byte_size)
        .end_object();
  json.end_array();
  return json_response(std::move(json));
}

HttpResponse shared_memory_register(Service& service, const HttpRequest& request, const RouteMatch& match) {
  const Body body(request.body);
  if (const Status added = service.memory.add(match.region, body.text("key"), body.number("offset", 0),
                                              body.number("byte_size", std::nullopt));
      !added.ok())
    throw Error(added);
  return empty_response();
}

HttpResponse shared_memory_unregister(Service& service, const HttpRequest&, const RouteMatch& match) {
  if (const Status removed = service.memory.remove(match.region); !removed.ok()) throw Error(removed);
  return empty_response();
}

HttpResponse cuda_memory_status(Service&, const HttpRequest&, const RouteMatch& match) {
  if (!match.region.empty())
    throw fail(StatusCode::not_found, "Unable to find cuda shared memory region: '{}'", match.region);
  return json_response("[]");
}

HttpResponse cuda_memory_register(Service&, const HttpRequest&, const RouteMatch&) {
  throw fail(StatusCode::unsupported, "CUDA shared memory is not offered; use system shared memory");
}
HttpResponse cuda_memory_unregister(Service&, const HttpRequest&, const RouteMatch&) {
  return empty_response();
}

HttpResponse get_trace(Service& service, const HttpRequest&, const RouteMatch& match) {
  if (!match.model.empty() && !service.core.model_ready(match.model, -1))
    throw fail(StatusCode::invalid, "Model '{}' is not ready: it has no trace settings", match.model);
  JsonWriter json;
  json.begin_object();
  for (const auto& [name, values] : service.tracer.get(match.model)) {
    json.key(name);
    if (name != "trace_level") {
      json.text(values.front());
      continue;
    }
    json.begin_array();
    for (const std::string& value : values) json.text(value);
    json.end_array();
  }
  json.end_object();
  return json_response(std::move(json));
}

HttpResponse set_trace(Service& service, const HttpRequest& request, const RouteMatch& match) {
  const JsonDocument document(request.body);
  dom::object fields;
  if (document.root().get_object().get(fields))
    throw fail(StatusCode::invalid, "the body must be a JSON object, is {}", shown(document.root()));
  TraceValues changes;
  for (const auto [name, value] : fields) {
    std::vector<std::string>& values = changes[std::string(name)];
    if (value.is_null()) continue;
    std::string_view text;
    if (!value.get_string().get(text)) {
      values.emplace_back(text);
      continue;
    }
    dom::array items;
    if (value.get_array().get(items))
      throw fail(StatusCode::invalid, "trace setting {} is {}, must be a string, an array of strings or null",
                 quoted(name), shown(value));
    for (const Json item : items) {
      if (item.get_string().get(text))
        throw fail(StatusCode::invalid, "trace setting {} holds {}, must be strings", quoted(name), shown(item));
      values.emplace_back(text);
    }
  }
  if (!match.model.empty() && !service.core.model_ready(match.model, -1))
    throw fail(StatusCode::invalid, "Model '{}' is not ready: it has no trace settings", match.model);
  if (const Status updated = service.tracer.update(match.model, changes); !updated.ok()) throw Error(updated);
  return get_trace(service, request, match);
}

HttpResponse get_logging(Service& service, const HttpRequest&, const RouteMatch&) {
  JsonWriter json;
  json.begin_object();
  for (const auto& [name, value] : service.log_settings.get()) {
    json.key(name);
    if (const bool* flag = std::get_if<bool>(&value))
      json.boolean(*flag);
    else if (const uint32_t* number = std::get_if<uint32_t>(&value))
      json.number(int64_t{*number});
    else
      json.text(std::get<std::string>(value));
  }
  json.end_object();
  return json_response(std::move(json));
}

HttpResponse set_logging(Service& service, const HttpRequest& request, const RouteMatch& match) {
  const JsonDocument document(request.body);
  dom::object fields;
  if (document.root().get_object().get(fields))
    throw fail(StatusCode::invalid, "the body must be a JSON object, is {}", shown(document.root()));
  std::map<std::string, LogValue> changes;
  for (const auto [name, value] : fields) {
    uint64_t number = 0;
    switch (value.type()) {
      case dom::element_type::BOOL: changes[std::string(name)] = bool(value); break;
      case dom::element_type::STRING: changes[std::string(name)] = std::string(std::string_view(value)); break;
      case dom::element_type::INT64:
        if (!value.get_uint64().get(number) && number <= UINT32_MAX) {
          changes[std::string(name)] = static_cast<uint32_t>(number);
          break;
        }
        [[fallthrough]];
      default: throw fail(StatusCode::invalid, "log setting {} is {}, which it cannot be", quoted(name), shown(value));
    }
  }
  if (const Status updated = service.log_settings.update(changes); !updated.ok()) throw Error(updated);
  return get_logging(service, request, match);
}

}  // namespace inazuma::kserve
