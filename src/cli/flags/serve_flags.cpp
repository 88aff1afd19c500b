#include "cli/flags/serve_flags.h"

#include <CLI/CLI.hpp>
#include <fstream>
#include <map>

namespace inazuma::cli {

namespace {

log::Level level_of(const std::string& name) {
  if (name == "error") return log::Level::error;
  if (name == "warn") return log::Level::warn;
  if (name == "debug") return log::Level::debug;
  if (name == "trace") return log::Level::trace;
  return log::Level::info;
}

std::map<std::string, Restriction> restrictions(const std::vector<std::string>& given, const char* flag,
                                                const char* prefix) {
  std::map<std::string, Restriction> out;
  const std::vector<RestrictedGroups> rules = TritonFlags::parse_restricted(given, flag);
  for (const RestrictedGroups& rule : rules) {
    std::string header = prefix + rule.header;
    for (char& c : header)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);  // names of received headers are in lower case
    for (const std::string& group : rule.groups) out[group] = {header, rule.value};
  }
  return out;
}

}  // namespace

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

std::vector<std::string> ServeFlags::read_keys() const {
  std::vector<std::string> keys = api_keys;
  if (api_key_file.empty()) return keys;
  std::ifstream file(api_key_file);
  if (!file) throw fail(StatusCode::invalid, "--api-key-file {} cannot be read", quoted(api_key_file));
  for (std::string line; std::getline(file, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty()) keys.push_back(line);
  }
  if (keys.empty()) throw fail(StatusCode::invalid, "--api-key-file {} holds no key", quoted(api_key_file));
  return keys;
}

log::Options ServeFlags::log_options() const {
  log::Level level = model.quiet ? log::Level::error : level_of(log_level);
  if (triton.log_verbose > 0)
    level = log::Level::debug;
  else if (!triton.log_warning)
    level = log::Level::error;
  else if (!triton.log_info && level == log::Level::info)
    level = log::Level::warn;
  return {.level = level, .json = log_format == "json", .file = log_file};
}

ParseLimits ServeFlags::parse_limits() const {
  ParseLimits out;
  out.max_client_batch = max_client_batch;
  out.strict = strict;
  return out;
}

AppOptions ServeFlags::app_options() const {
  AppOptions out;
  out.guard = guard;
  out.guard.loopback_only = is_loopback(host);
  out.metrics_loopback_only = is_loopback(metrics_address());
  out.limits = parse_limits();
  out.ui = !no_ui;
  out.metrics_on_http = !no_http_metrics;
  out.metrics_auth = metrics_auth;
  out.auto_truncate = auto_truncate;
  out.guard.restricted_http = restrictions(triton.http_restricted, "--http-restricted-api", "");
  out.guard.restricted_grpc =
      restrictions(triton.grpc_restricted, "--grpc-restricted-protocol", "triton-grpc-protocol-");
  out.kserve.server_name = triton.id;
  out.kserve.max_json = triton.http_max_input_size;
  out.kserve.client_shared_memory = triton.allow_client_shm;
  if (!triton.http_header_forward_pattern.empty()) out.kserve.http_forward = {triton.http_header_forward_pattern};
  if (!triton.grpc_header_forward_pattern.empty()) out.kserve.grpc_forward = {triton.grpc_header_forward_pattern};
  out.kserve.log = log_options();
  out.kserve.trace = triton.trace_values();
  return out;
}

HttpServerOptions ServeFlags::http_options() const {
  HttpServerOptions out;
  out.host = host;
  out.port = static_cast<uint16_t>(port);
  out.threads = http_threads;
  out.max_body = max_body;
  out.header_timeout = std::chrono::seconds(header_timeout);
  out.body_timeout = std::chrono::seconds(body_timeout);
  out.keep_alive_timeout = std::chrono::seconds(keep_alive);
  out.access_log = !no_access_log;
  out.tls = transport.http_tls;
  return out;
}

LoaderOptions ServeFlags::loader_options() const {
  LoaderOptions out;
  out.backend = model.options();
  out.backend.engine = engine;
  out.backend.auto_truncate = auto_truncate;
  out.dialect = [limits = parse_limits()](std::string_view body, const ModelInfo& known) {
    Parsed parsed = task_api::parse(body, known.task, "", limits);
    return TextWork{std::move(parsed.work), std::move(parsed.format)};
  };
  out.gpus = out.backend.device.is_cpu() ? 0 : out.backend.device.index + 1;
  return out;
}

MetricsOptions ServeFlags::metrics_options() const {
  MetricsOptions out = triton.metrics_options();
  metrics.apply(out);
  return out;
}

void ServeFlags::take_over_defaults() {
  constexpr int kGrpcPort = 8001, kMetricsPort = 8002;
  if (host_option_->count() == 0) host = "0.0.0.0";
  if (metrics_port_option_->count() == 0 && triton.allow_metrics) metrics_port = kMetricsPort;
  if (!transport.grpc_port_given()) transport.grpc_port = kGrpcPort;
}

void ServeFlags::allow_tensors() {
  constexpr size_t kLargestBody = size_t{1} << 30;  // tensors are larger than texts
  if (max_body_option_->count() == 0) max_body = kLargestBody;
}

void ServeFlags::add_limits(CLI::App& app) {
  const auto group = app.add_option_group("Limits");
  group->add_option("--max-body-size,--payload-limit", max_body, "Largest request body, bytes (also after inflating)")
      ->envname("INAZUMA_MAX_BODY_SIZE")
      ->check(CLI::Range(1024, 1 << 30))
      ->capture_default_str();
  group->add_option("--max-client-batch-size", max_client_batch, "Most inputs in one request")
      ->envname("INAZUMA_MAX_CLIENT_BATCH_SIZE")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  group
      ->add_option("--max-queue-size,--max-concurrent-requests", engine.max_queue,
                   "Rows a model lets wait; more are answered 429")
      ->envname("INAZUMA_MAX_QUEUE_SIZE")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  group->add_option("--max-batch-tokens", engine.max_batch_tokens, "Tokens of one step; 0 = chosen")
      ->envname("INAZUMA_MAX_BATCH_TOKENS")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  group->add_option("--max-batch-requests", engine.max_sequences, "Rows worked on at once; 0 = chosen")
      ->envname("INAZUMA_MAX_BATCH_REQUESTS")
      ->check(CLI::Range(0, 1 << 16))
      ->capture_default_str();
  group->add_option("--max-context", engine.max_context, "Most ids of prompt and answer together; 0 = the model's")
      ->envname("INAZUMA_MAX_CONTEXT")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  group->add_option("--kv-tokens", engine.kv_tokens, "Size of the key-value pool in tokens; 0 = chosen")
      ->envname("INAZUMA_KV_TOKENS")
      ->capture_default_str();
  group->add_option("--auto-truncate", auto_truncate, "Whether over-long texts are cut when a request does not say")
      ->envname("INAZUMA_AUTO_TRUNCATE")
      ->capture_default_str();
  group->add_flag("--strict-parameters", strict, "Unknown parameters are errors, not warnings")
      ->envname("INAZUMA_STRICT_PARAMETERS");
  group->add_option("--request-timeout-ms", default_timeout_ms, "Deadline of requests that bring none; 0 = none")
      ->envname("INAZUMA_REQUEST_TIMEOUT_MS")
      ->check(CLI::Range(0, 86'400'000))
      ->capture_default_str();
  group->add_option("--header-timeout", header_timeout, "Seconds for a request's headers")
      ->envname("INAZUMA_HEADER_TIMEOUT")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  group->add_option("--body-timeout", body_timeout, "Seconds between two pieces of a body")
      ->envname("INAZUMA_BODY_TIMEOUT")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  group->add_option("--keep-alive-timeout", keep_alive, "Seconds an idle connection is kept")
      ->envname("INAZUMA_KEEP_ALIVE_TIMEOUT")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
}

void ServeFlags::add_access(CLI::App& app) {
  const auto group = app.add_option_group("Access");
  group->add_option("--api-key", api_keys, "Key that clients must send (repeatable)")->envname("INAZUMA_API_KEY");
  group->add_option("--api-key-file", api_key_file, "File with one key per line; read again on SIGHUP")
      ->envname("INAZUMA_API_KEY_FILE");
  group->add_flag("--metrics-auth", metrics_auth, "/metrics needs a key too")->envname("INAZUMA_METRICS_AUTH");
  group->add_option("--allowed-host", guard.allowed_hosts, "Host name to answer to besides loopback names (repeatable)")
      ->envname("INAZUMA_ALLOWED_HOST");
  group->add_option("--cors-allow-origin", guard.cors_origins, "Origin whose pages may call (repeatable, * for any)")
      ->envname("INAZUMA_CORS_ALLOW_ORIGIN");
  group->add_option("--cors-allow-header", guard.cors_headers, "Header those pages may send (repeatable)")
      ->envname("INAZUMA_CORS_ALLOW_HEADER");
  group->add_flag("--cors-allow-credentials", guard.cors_credentials, "Those pages may send credentials")
      ->envname("INAZUMA_CORS_ALLOW_CREDENTIALS");
}

void ServeFlags::add_operation(CLI::App& app) {
  const auto group = app.add_option_group("Operation");
  group->add_option("--log-format", log_format, "text or json; tritonserver's default and ISO8601 are text")
      ->envname("INAZUMA_LOG_FORMAT")
      ->check(CLI::IsMember({"text", "json", "default", "ISO8601"}))
      ->capture_default_str();
  group->add_option("--log-level", log_level, "error, warn, info, debug, trace")
      ->envname("INAZUMA_LOG_LEVEL")
      ->check(CLI::IsMember({"error", "warn", "info", "debug", "trace"}))
      ->capture_default_str();
  group->add_option("--log-file", log_file, "Log there instead of stderr; reopened on SIGHUP")
      ->envname("INAZUMA_LOG_FILE");
  group->add_flag("--no-access-log", no_access_log, "No line per request")->envname("INAZUMA_NO_ACCESS_LOG");
  group->add_flag("--no-http-metrics", no_http_metrics, "No /metrics on the main port")
      ->envname("INAZUMA_NO_HTTP_METRICS");
  metrics.add_to(*group);
  group->add_flag("--no-ui", no_ui, "No web pages")->envname("INAZUMA_NO_UI");
  group->add_option("--stall-timeout", stall_timeout, "Seconds without a sign of life that make a model not ready")
      ->envname("INAZUMA_STALL_TIMEOUT")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  group
      ->add_option("--drain-delay", drain_delay,
                   "Seconds between unready and closed on SIGTERM; -1 = 0 on loopback, else 5")
      ->envname("INAZUMA_DRAIN_DELAY")
      ->check(CLI::Range(-1.0, 3600.0))
      ->capture_default_str();
  group->add_option("--exit-timeout-secs", exit_timeout, "Seconds to finish accepted work")
      ->envname("INAZUMA_EXIT_TIMEOUT_SECS")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
}

void ServeFlags::add_to(CLI::App& command) {
  command.add_option("DIR", paths, "Model directories; NAME=DIR gives another name. The first is the default model");
  command.add_option("--model-id", paths, "The same, as other servers call it");
  command.add_option("--served-model-name", served_names, "Name of the directory at the same place (repeatable)")
      ->envname("INAZUMA_SERVED_MODEL_NAME");
  host_option_ = command.add_option("--host,--hostname,--http-address", host, "Address to listen on")
                     ->envname("INAZUMA_HOST")
                     ->capture_default_str();
  command.add_option("-p,--port,--http-port", port, "Port to listen on; 0 = any free one")
      ->envname("INAZUMA_PORT")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command.add_option("--metrics-address", metrics_host, "Address of the metrics port (that of HTTP)");
  metrics_port_option_ = command
                             .add_option("--metrics-port,--prometheus-port", metrics_port,
                                         "A second port with /metrics and health only; 0 = none")
                             ->envname("INAZUMA_METRICS_PORT")
                             ->check(CLI::Range(0, 65535))
                             ->capture_default_str();
  command.add_option("--http-threads,--http-thread-count", http_threads, "Threads for connections and tokenization")
      ->envname("INAZUMA_HTTP_THREADS")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  model.add_to(command);
  triton.add_to(command);
  transport.add_to(command);
  add_limits(command);
  add_access(command);
  add_operation(command);
  max_body_option_ = command.get_option("--max-body-size");
}

}  // namespace inazuma::cli
