#include "frontends/errors.h"

#include "frontends/json.h"

namespace inazuma {

namespace {

constexpr int kRetrySeconds = 1;

bool worth_retrying(StatusCode code) {
  return code == StatusCode::overloaded || code == StatusCode::unavailable || code == StatusCode::out_of_memory;
}

// Triton's codes: what a client did wrong is 400 whatever it was.
int kserve_status(StatusCode code) {
  switch (code) {
    case StatusCode::ok: return 200;
    case StatusCode::unauthenticated: return 401;
    case StatusCode::forbidden: return 403;
    case StatusCode::not_found: return 404;
    case StatusCode::unsupported: return 501;
    case StatusCode::overloaded:
    case StatusCode::unavailable:
    case StatusCode::out_of_memory: return 503;
    case StatusCode::deadline_exceeded: return 504;
    case StatusCode::internal: return 500;
    default: return 400;
  }
}

}  // namespace

int http_status(StatusCode code, Dialect dialect) {
  if (dialect == Dialect::kserve) return kserve_status(code);
  switch (code) {
    case StatusCode::ok: return 200;
    case StatusCode::malformed:
    case StatusCode::empty: return 400;
    case StatusCode::invalid:
    case StatusCode::too_long:
    case StatusCode::tokenization: return 422;
    case StatusCode::too_large: return 413;
    case StatusCode::unauthenticated: return 401;
    case StatusCode::forbidden: return 403;
    case StatusCode::not_found: return 404;
    case StatusCode::wrong_task: return dialect == Dialect::tei ? 424 : 400;
    case StatusCode::unsupported: return 501;
    case StatusCode::overloaded: return 429;
    case StatusCode::unavailable: return 503;
    case StatusCode::deadline_exceeded: return 504;
    case StatusCode::cancelled: return 499;
    case StatusCode::out_of_memory: return 503;
    case StatusCode::internal: return dialect == Dialect::task ? 500 : 424;
  }
  return 500;
}

std::string_view error_type(StatusCode code, Dialect dialect) {
  switch (code) {
    case StatusCode::overloaded: return dialect == Dialect::tei ? "Overloaded" : "overloaded";
    case StatusCode::empty:
      return dialect == Dialect::tei ? "Empty" : dialect == Dialect::tgi ? "validation" : "empty_input";
    case StatusCode::tokenization:
      return dialect == Dialect::tei ? "Tokenizer" : dialect == Dialect::tgi ? "validation" : "tokenization";
    case StatusCode::unavailable:
      return dialect == Dialect::tei ? "Unhealthy" : dialect == Dialect::tgi ? "healthcheck" : "unavailable";
    case StatusCode::wrong_task:
      return dialect == Dialect::tei ? "Backend" : dialect == Dialect::tgi ? "validation" : "unsupported_task";
    case StatusCode::unsupported:
    case StatusCode::deadline_exceeded:
    case StatusCode::cancelled:
    case StatusCode::out_of_memory:
    case StatusCode::internal:
      if (dialect == Dialect::tei) return "Backend";
      if (dialect == Dialect::tgi) return "generation";
      switch (code) {
        case StatusCode::unsupported: return "unsupported";
        case StatusCode::deadline_exceeded: return "deadline";
        case StatusCode::cancelled: return "cancelled";
        case StatusCode::out_of_memory: return "out_of_memory";
        default: return "internal";
      }
    default: break;
  }
  if (dialect == Dialect::tei) return "Validation";
  if (dialect == Dialect::tgi) return "validation";
  switch (code) {
    case StatusCode::malformed: return "invalid_json";
    case StatusCode::too_long: return "context_length_exceeded";
    case StatusCode::too_large: return "too_large";
    case StatusCode::unauthenticated: return "invalid_api_key";
    case StatusCode::forbidden: return "forbidden";
    case StatusCode::not_found: return "model_not_found";
    default: return "invalid_value";
  }
}

HttpResponse error_response(const Status& status, Dialect dialect) {
  HttpResponse response;
  response.status = http_status(status.code(), dialect);
  JsonWriter json;
  json.begin_object().key("error").text(status.message());
  if (dialect != Dialect::kserve) json.key("error_type").text(error_type(status.code(), dialect));
  json.end_object();
  response.body = std::move(json).take();
  if (worth_retrying(status.code())) {
    response.headers.emplace_back("retry-after", std::to_string(kRetrySeconds));
    response.headers.emplace_back("retry-after-ms", std::to_string(kRetrySeconds * 1000));
  }
  if (status.code() == StatusCode::overloaded) response.headers.emplace_back("x-should-retry", "true");
  if (response.status == 400 || response.status == 401 || response.status == 413 || response.status == 422)
    response.headers.emplace_back("x-should-retry", "false");
  if (status.code() == StatusCode::unauthenticated) response.headers.emplace_back("www-authenticate", "Bearer");
  return response;
}

GrpcCode grpc_code(StatusCode code) {
  switch (code) {
    case StatusCode::ok: return GrpcCode::ok;
    case StatusCode::malformed:
    case StatusCode::invalid:
    case StatusCode::empty:
    case StatusCode::too_long:
    case StatusCode::tokenization:
    case StatusCode::wrong_task: return GrpcCode::invalid_argument;
    case StatusCode::too_large:
    case StatusCode::out_of_memory: return GrpcCode::resource_exhausted;
    case StatusCode::unauthenticated: return GrpcCode::unauthenticated;
    case StatusCode::forbidden: return GrpcCode::permission_denied;
    case StatusCode::not_found: return GrpcCode::not_found;
    case StatusCode::unsupported: return GrpcCode::unimplemented;
    case StatusCode::overloaded:
    case StatusCode::unavailable: return GrpcCode::unavailable;
    case StatusCode::deadline_exceeded: return GrpcCode::deadline_exceeded;
    case StatusCode::cancelled: return GrpcCode::cancelled;
    case StatusCode::internal: return GrpcCode::internal;
  }
  return GrpcCode::unknown;
}

GrpcStatus grpc_status(const Status& status) {
  return {grpc_code(status.code()), status.message()};
}

}  // namespace inazuma
