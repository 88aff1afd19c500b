// inazuma serve DIR...: load models, serve them, drain on a signal.

#include <signal.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fstream>
#include <functional>
#include <map>
#include <thread>

#include "base/log.h"
#include "base/version.h"
#include "cli/command_line.h"
#include "cli/flags/metrics_flags.h"
#include "cli/flags/transport_flags.h"
#include "cli/flags/triton_flags.h"
#include "frontends/app.h"
#include "frontends/transport/http1/http_server.h"

namespace inazuma::cli {

namespace {

struct ServeFlags {
  ModelFlags model;
  TritonFlags triton;
  TransportFlags transport;
  MetricsFlags metrics;
  std::vector<std::string> paths;
  std::vector<std::string> served_names;
  std::string host = "127.0.0.1";
  int port = 8000;
  int metrics_port = 0;
  std::string metrics_host;  ///< "" = as HTTP's
  bool host_given = false, metrics_port_given = false, max_body_given = false;
  int http_threads = 2;
  size_t max_body = 2 << 20;
  int header_timeout = 10, body_timeout = 10, keep_alive = 75;
  EngineOptions engine;
  int max_client_batch = 32;
  bool strict = false;
  bool auto_truncate = true;
  int default_timeout_ms = 0;
  int stall_timeout = 30;
  std::vector<std::string> api_keys;
  std::string api_key_file;
  bool metrics_auth = false;
  bool no_http_metrics = false;
  bool no_ui = false;
  GuardOptions guard;
  std::string log_format = "text", log_level = "info", log_file;
  bool no_access_log = false;
  double drain_delay = -1;
  int exit_timeout = 30;

  const std::string& metrics_address() const { return metrics_host.empty() ? host : metrics_host; }
};

log::Level level_of(const std::string& name) {
  if (name == "error") return log::Level::error;
  if (name == "warn") return log::Level::warn;
  if (name == "debug") return log::Level::debug;
  if (name == "trace") return log::Level::trace;
  return log::Level::info;
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

std::vector<std::string> read_keys(const ServeFlags& flags) {
  std::vector<std::string> keys = flags.api_keys;
  if (flags.api_key_file.empty()) return keys;
  std::ifstream file(flags.api_key_file);
  if (!file) throw fail(StatusCode::invalid, "--api-key-file {} cannot be read", quoted(flags.api_key_file));
  for (std::string line; std::getline(file, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty()) keys.push_back(line);
  }
  if (keys.empty()) throw fail(StatusCode::invalid, "--api-key-file {} holds no key", quoted(flags.api_key_file));
  return keys;
}

// A file that cannot be used leaves the keys in force as they are: a slip must neither open nor close the server.
void read_keys_again(KeyRing& keys, const ServeFlags& flags) {
  if (flags.api_key_file.empty()) return;
  const Result<std::vector<std::string>> read = capture([&] { return read_keys(flags); });
  if (!read.ok()) return log::error("the API keys stay as they were", {{"error", read.status().message()}});
  keys.replace(*read);
  log::info("API keys read again", {{"keys", read->size()}});
}

std::string id_of(const NamedPath& named) {
  if (!named.id.empty()) return named.id;
  const std::filesystem::path path = std::filesystem::absolute(named.path).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

log::Options log_options_of(const ServeFlags& flags) {
  log::Level level = flags.model.quiet ? log::Level::error : level_of(flags.log_level);
  if (flags.triton.log_verbose > 0)
    level = log::Level::debug;
  else if (!flags.triton.log_warning)
    level = log::Level::error;
  else if (!flags.triton.log_info && level == log::Level::info)
    level = log::Level::warn;
  return {.level = level, .json = flags.log_format == "json", .file = flags.log_file};
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

ParseLimits parse_limits(const ServeFlags& flags) {
  ParseLimits out;
  out.max_client_batch = flags.max_client_batch;
  out.strict = flags.strict;
  return out;
}

AppOptions app_options(const ServeFlags& flags) {
  AppOptions out;
  out.guard = flags.guard;
  out.guard.loopback_only = is_loopback(flags.host);
  out.metrics_loopback_only = is_loopback(flags.metrics_address());
  out.limits = parse_limits(flags);
  out.ui = !flags.no_ui;
  out.metrics_on_http = !flags.no_http_metrics;
  out.metrics_auth = flags.metrics_auth;
  out.auto_truncate = flags.auto_truncate;
  out.guard.restricted_http = restrictions(flags.triton.http_restricted, "--http-restricted-api", "");
  out.guard.restricted_grpc =
      restrictions(flags.triton.grpc_restricted, "--grpc-restricted-protocol", "triton-grpc-protocol-");
  out.kserve.server_name = flags.triton.id;
  out.kserve.max_json = flags.triton.http_max_input_size;
  out.kserve.client_shared_memory = flags.triton.allow_client_shm;
  if (!flags.triton.http_header_forward_pattern.empty())
    out.kserve.http_forward = {flags.triton.http_header_forward_pattern};
  if (!flags.triton.grpc_header_forward_pattern.empty())
    out.kserve.grpc_forward = {flags.triton.grpc_header_forward_pattern};
  out.kserve.log = log_options_of(flags);
  out.kserve.trace = flags.triton.trace_values();
  return out;
}

HttpServerOptions server_options(const ServeFlags& flags) {
  HttpServerOptions out;
  out.host = flags.host;
  out.port = static_cast<uint16_t>(flags.port);
  out.threads = flags.http_threads;
  out.max_body = flags.max_body;
  out.header_timeout = std::chrono::seconds(flags.header_timeout);
  out.body_timeout = std::chrono::seconds(flags.body_timeout);
  out.keep_alive_timeout = std::chrono::seconds(flags.keep_alive);
  out.access_log = !flags.no_access_log;
  out.tls = flags.transport.http_tls;
  return out;
}

LoaderOptions loader_options(const ServeFlags& flags) {
  LoaderOptions out;
  out.backend = flags.model.options();
  out.backend.engine = flags.engine;
  out.backend.auto_truncate = flags.auto_truncate;
  out.dialect = [limits = parse_limits(flags)](std::string_view body, const ModelInfo& model) {
    Parsed parsed = task_api::parse(body, model.task, "", limits);
    return TextWork{std::move(parsed.work), std::move(parsed.format)};
  };
  out.gpus = out.backend.device.is_cpu() ? 0 : out.backend.device.index + 1;
  return out;
}

// A carried-over start command expects tritonserver's addresses: every interface, gRPC on port 8001, metrics on port
// 8002.
void take_over_defaults(ServeFlags& flags) {
  constexpr int kGrpcPort = 8001, kMetricsPort = 8002;
  if (!flags.host_given) flags.host = "0.0.0.0";
  if (!flags.metrics_port_given && flags.triton.allow_metrics) flags.metrics_port = kMetricsPort;
  if (!flags.transport.grpc_port_given()) flags.transport.grpc_port = kGrpcPort;
}

// What the process listens on; absent ports are null.
struct Servers {
  std::unique_ptr<HttpServer> http, metrics;
  std::unique_ptr<GrpcServer> grpc;

  Servers(App& app, const ServeFlags& flags) {
    HttpServerOptions options = server_options(flags);
    options.body_limit = [&app, usual = options.max_body](std::string_view path) {
      return app.body_limit(path, usual);
    };
    options.unreadable = [&app](const HttpRequest& request, const Status& status) {
      return app.unreadable(request, status);
    };
    if (flags.triton.allow_http)
      http = std::make_unique<HttpServer>(
          options, [&app](const auto& exchange) { app.handle(exchange); }, app.core().metrics(),
          [&app](const HttpRequest& request) { return cors_headers(app.guard(), request); });
    if (flags.transport.grpc())
      grpc = std::make_unique<GrpcServer>(
          flags.transport.grpc_options(flags.host, !flags.no_access_log), app.grpc_methods(), app.core().metrics(),
          [&app](const GrpcMethod& method, const Headers& metadata) { return app.admit(method, metadata); });
    if (flags.metrics_port <= 0) return;
    HttpServerOptions metrics_options = server_options(flags);
    metrics_options.port = static_cast<uint16_t>(flags.metrics_port);
    metrics_options.port_flag = "--metrics-port";
    metrics_options.host = flags.metrics_address();
    metrics_options.tls = {};  // inside the cluster, as scrapers and probes expect
    metrics_options.threads = 1;
    metrics = std::make_unique<HttpServer>(
        metrics_options, [&app](const auto& exchange) { app.handle_metrics(exchange); }, app.core().metrics());
  }
  Status start() {
    Status status = http ? http->start() : Status();
    if (status.ok() && grpc) status = grpc->start();
    if (status.ok() && metrics) status = metrics->start();
    return status;
  }
  void stop_accepting() {
    if (http) http->stop_accepting();
    if (grpc) grpc->stop_accepting();
  }
  bool wait_idle(Clock::time_point until) {
    const bool answered = !http || http->wait_idle(until);
    return (!grpc || grpc->wait_idle(until)) && answered;
  }
  void stop() {
    if (http) http->stop();
    if (grpc) grpc->stop();
    if (metrics) metrics->stop();
  }
};

// Plain directories, one after another, in the order named; the first failure ends the start.
Status load_models(Core& core, const ServeFlags& flags, const std::vector<NamedPath>& paths) {
  for (const NamedPath& named : paths) {
    const std::string id = id_of(named);
    LoaderOptions options = loader_options(flags);
    options.backend.id = id;
    ProgressBar bar(fmt::format("Loading {}", id), !flags.model.quiet && !flags.model.no_progress);
    options.backend.progress = bar.callback();
    Result<std::shared_ptr<Backend>> backend = load_text_model(named.path, options);
    bar.finish();
    if (!backend.ok()) {
      core.repository().set_failed(id, backend.status().message());
      return backend.status();
    }
    for (const std::string& warning : (*backend)->info().warnings) log::warn(warning, {{"model", id}});
    core.repository().set_ready(id, std::move(*backend));
  }
  return Status();
}

void print_banner(const Core& core, const RepositorySnapshot& snapshot, const Servers& servers, const ServeFlags& flags,
                  double seconds) {
  if (flags.model.quiet) return;
  (void)core;
  fmt::print(stderr, "inazuma {} {}\n{:<24} {:<22} {:<10} {:>9} {:>7}\n", kVersion, kCommit, "Model", "Task", "Dtype",
             "Memory", "Load s");
  for (const ServedModel& model : snapshot.models) {
    if (model.current() == nullptr || !model.current()->backend) continue;  // failed, and the start went on
    const BackendInfo& info = model.current()->backend->info();
    if (!info.text) {
      fmt::print(stderr, "{:<24} {:<22} {:<10} {:>9} {:>7.2f}\n", info.id, "tensors", "", "", info.load_seconds);
      continue;
    }
    fmt::print(stderr, "{:<24} {:<22} {:<10} {:>6.1f} MB {:>7.2f}\n", info.id, name(info.model.task),
               name(info.model.stored_dtype), static_cast<double>(info.model.weight_bytes) / 1e6, info.load_seconds);
  }
  const auto text = std::find_if(snapshot.models.begin(), snapshot.models.end(), [](const ServedModel& model) {
    return model.current() != nullptr && model.current()->backend && model.current()->backend->info().text;
  });
  if (text != snapshot.models.end()) fmt::print(stderr, "Device {}\n", text->current()->backend->info().device);
  const char* scheme = flags.transport.http_tls.certificate.empty() ? "http" : "https";
  if (servers.http)
    fmt::print(stderr, "Listening on {}://{}:{} (page: /, API: /docs)\n", scheme, flags.host, servers.http->port());
  if (servers.grpc)
    fmt::print(stderr, "gRPC on {}:{}\n", flags.transport.grpc_host.empty() ? flags.host : flags.transport.grpc_host,
               servers.grpc->port());
  fmt::print(stderr, "Ready in {:.1f} s\n", seconds);
}

// Waits for SIGTERM or SIGINT; SIGHUP reopens the log file and calls `hangup`. A second signal ends the process at
// once.
class Signals {
 public:
  Signals(const log::Options& log_options, std::function<void()> hangup)
      : stop_(io_, SIGTERM, SIGINT), hangup_(io_, SIGHUP), log_options_(log_options), on_hangup_(std::move(hangup)) {
    signal(SIGPIPE, SIG_IGN);
    stop_.async_wait([this](boost::system::error_code error, int) {
      if (error) return;
      stopped_ = true;
      stop_.async_wait([](boost::system::error_code again, int) {
        if (!again) _exit(kFailed);
      });
    });
    wait_hangup();
    thread_ = std::thread([this] { io_.run(); });
  }
  ~Signals() {
    io_.stop();
    thread_.join();
  }
  void wait() const {
    while (!stopped_) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  bool stopped() const { return stopped_; }

 private:
  void wait_hangup() {
    hangup_.async_wait([this](boost::system::error_code error, int) {
      if (error) return;
      if (!log::configure(log_options_)) log::error("cannot reopen the log file", {{"file", log_options_.file}});
      on_hangup_();
      wait_hangup();
    });
  }
  boost::asio::io_context io_;
  boost::asio::signal_set stop_;
  boost::asio::signal_set hangup_;
  log::Options log_options_;
  std::function<void()> on_hangup_;
  std::atomic<bool> stopped_ = false;
  std::thread thread_;
};

// Readiness false at once; balancers get `delay` to notice; then no new connections, and accepted work is finished.
int drain(Core& core, Servers& servers, const ServeFlags& flags) {
  const Clock::time_point until = Clock::now() + std::chrono::seconds(flags.exit_timeout);
  const double delay =
      flags.drain_delay >= 0 ? flags.drain_delay : (isatty(STDIN_FILENO) == 1 || is_loopback(flags.host) ? 0.0 : 5.0);
  log::info("draining", {{"inflight", core.inflight()}, {"delay_s", delay}});
  core.start_draining();
  std::this_thread::sleep_for(std::chrono::duration<double>(delay));
  servers.stop_accepting();
  const bool answered = servers.wait_idle(until);
  const bool done = core.drain(until) && answered;
  if (!done) log::error("work was left when the exit timeout ended", {{"inflight", core.inflight()}});
  return done ? kOk : kFailed;
}

// Connections stop first, then models go: what they still say to their requests must find the connections' memory in
// place.
void end(Core& core, Servers& servers) {
  servers.stop();
  core.repository().clear();
  core.set_control(nullptr);
}

int serve(ServeFlags flags) {
  const Clock::time_point begin = Clock::now();
  const log::Options log_options = log_options_of(flags);
  if (!log::configure(log_options))
    return complain(Status(StatusCode::invalid, fmt::format("--log-file {} cannot be opened", quoted(flags.log_file))),
                    kUsage);
  if (const Status transport = flags.transport.check(); !transport.ok()) return complain(transport, kUsage);
  if (flags.paths.empty() && flags.triton.repositories.empty())
    return complain(
        Status(StatusCode::invalid, "name at least one model directory or repository: inazuma serve DIR..."), kUsage);
  flags.triton.warn();
  if (!flags.triton.repositories.empty()) take_over_defaults(flags);
  std::vector<NamedPath> paths;
  std::vector<std::string> ids;
  for (size_t i = 0; i < flags.paths.size(); ++i) {
    const NamedPath named = parse_named_path(flags.paths[i]);
    if (named.id.empty() && is_repository(named.path)) {
      flags.triton.repositories.push_back(named.path);
      continue;
    }
    paths.push_back(named);
    if (i < flags.served_names.size()) paths.back().id = flags.served_names[i];
    ids.push_back(id_of(paths.back()));
  }

  constexpr size_t kLargestBody = size_t{1} << 30;  // tensors are larger than texts
  if (!flags.triton.repositories.empty() && !flags.max_body_given) flags.max_body = kLargestBody;
  const ManagerOptions manager_options = flags.triton.manager_options(loader_options(flags));
  MetricsOptions metrics = flags.triton.metrics_options();
  flags.metrics.apply(metrics);
  Core core({.stall_timeout = std::chrono::seconds(flags.stall_timeout),
             .default_deadline = flags.default_timeout_ms > 0
                                     ? Clock::duration(std::chrono::milliseconds(flags.default_timeout_ms))
                                     : Clock::duration::max(),
             .strict_readiness = flags.triton.strict_readiness,
             .metrics = std::move(metrics)});
  if (const Status announced = core.repository().announce(ids); !announced.ok()) return complain(announced, kUsage);
  flags.guard.api_keys->replace(read_keys(flags));
  App app(core, app_options(flags));
  const Signals signals(log_options, [keys = app.guard().api_keys, &flags] { read_keys_again(*keys, flags); });
  Servers servers(app, flags);
  if (const Status started = servers.start(); !started.ok())
    return complain(started, started.code() == StatusCode::invalid ? kUsage : kPort);
  if (!flags.metrics_host.empty() && flags.metrics_port == 0)
    log::warn("a flag has no effect", {{"flag", "--metrics-address"}, {"reason", "there is no --metrics-port"}});
  if (!is_loopback(flags.host) && app.guard().api_keys->empty())
    log::warn("anyone who reaches this port can use the server: set --api-key", {{"host", flags.host}});

  Status loaded = load_models(core, flags, paths);
  if (loaded.ok() && !flags.triton.repositories.empty()) {
    const auto manager = std::make_shared<ModelManager>(core, manager_options);
    core.set_control(manager);
    loaded = manager->start();
    if (!flags.triton.exit_on_error) loaded = Status();
  }
  if (!loaded.ok()) {
    end(core, servers);
    return complain(loaded, exit_code(loaded));
  }
  print_banner(core, *core.repository().snapshot(), servers, flags,
               std::chrono::duration<double>(Clock::now() - begin).count());
  signals.wait();
  const int code = drain(core, servers, flags);
  end(core, servers);
  log::info("stopped", {{"code", code}});
  return code;
}

void add_limits(CLI::App& app, ServeFlags& f) {
  const auto group = app.add_option_group("Limits");
  group->add_option("--max-body-size,--payload-limit", f.max_body, "Largest request body, bytes (also after inflating)")
      ->envname("INAZUMA_MAX_BODY_SIZE")
      ->check(CLI::Range(1024, 1 << 30))
      ->capture_default_str();
  group->add_option("--max-client-batch-size", f.max_client_batch, "Most inputs in one request")
      ->envname("INAZUMA_MAX_CLIENT_BATCH_SIZE")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  group
      ->add_option("--max-queue-size,--max-concurrent-requests", f.engine.max_queue,
                   "Rows a model lets wait; more are answered 429")
      ->envname("INAZUMA_MAX_QUEUE_SIZE")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  group->add_option("--max-batch-tokens", f.engine.max_batch_tokens, "Tokens of one step; 0 = chosen")
      ->envname("INAZUMA_MAX_BATCH_TOKENS")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  group->add_option("--max-batch-requests", f.engine.max_sequences, "Rows worked on at once; 0 = chosen")
      ->envname("INAZUMA_MAX_BATCH_REQUESTS")
      ->check(CLI::Range(0, 1 << 16))
      ->capture_default_str();
  group->add_option("--max-context", f.engine.max_context, "Most ids of prompt and answer together; 0 = the model's")
      ->envname("INAZUMA_MAX_CONTEXT")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  group->add_option("--kv-tokens", f.engine.kv_tokens, "Size of the key-value pool in tokens; 0 = chosen")
      ->envname("INAZUMA_KV_TOKENS")
      ->capture_default_str();
  group->add_option("--auto-truncate", f.auto_truncate, "Whether over-long texts are cut when a request does not say")
      ->envname("INAZUMA_AUTO_TRUNCATE")
      ->capture_default_str();
  group->add_flag("--strict-parameters", f.strict, "Unknown parameters are errors, not warnings")
      ->envname("INAZUMA_STRICT_PARAMETERS");
  group->add_option("--request-timeout-ms", f.default_timeout_ms, "Deadline of requests that bring none; 0 = none")
      ->envname("INAZUMA_REQUEST_TIMEOUT_MS")
      ->check(CLI::Range(0, 86'400'000))
      ->capture_default_str();
  group->add_option("--header-timeout", f.header_timeout, "Seconds for a request's headers")
      ->envname("INAZUMA_HEADER_TIMEOUT")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  group->add_option("--body-timeout", f.body_timeout, "Seconds between two pieces of a body")
      ->envname("INAZUMA_BODY_TIMEOUT")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  group->add_option("--keep-alive-timeout", f.keep_alive, "Seconds an idle connection is kept")
      ->envname("INAZUMA_KEEP_ALIVE_TIMEOUT")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
}

void add_security(CLI::App& app, ServeFlags& f) {
  const auto group = app.add_option_group("Access");
  group->add_option("--api-key", f.api_keys, "Key that clients must send (repeatable)")->envname("INAZUMA_API_KEY");
  group->add_option("--api-key-file", f.api_key_file, "File with one key per line; read again on SIGHUP")
      ->envname("INAZUMA_API_KEY_FILE");
  group->add_flag("--metrics-auth", f.metrics_auth, "/metrics needs a key too")->envname("INAZUMA_METRICS_AUTH");
  group
      ->add_option("--allowed-host", f.guard.allowed_hosts,
                   "Host name to answer to besides loopback names (repeatable)")
      ->envname("INAZUMA_ALLOWED_HOST");
  group->add_option("--cors-allow-origin", f.guard.cors_origins, "Origin whose pages may call (repeatable, * for any)")
      ->envname("INAZUMA_CORS_ALLOW_ORIGIN");
  group->add_option("--cors-allow-header", f.guard.cors_headers, "Header those pages may send (repeatable)")
      ->envname("INAZUMA_CORS_ALLOW_HEADER");
  group->add_flag("--cors-allow-credentials", f.guard.cors_credentials, "Those pages may send credentials")
      ->envname("INAZUMA_CORS_ALLOW_CREDENTIALS");
}

void add_operation(CLI::App& app, ServeFlags& f) {
  const auto group = app.add_option_group("Operation");
  group->add_option("--log-format", f.log_format, "text or json; tritonserver's default and ISO8601 are text")
      ->envname("INAZUMA_LOG_FORMAT")
      ->check(CLI::IsMember({"text", "json", "default", "ISO8601"}))
      ->capture_default_str();
  group->add_option("--log-level", f.log_level, "error, warn, info, debug, trace")
      ->envname("INAZUMA_LOG_LEVEL")
      ->check(CLI::IsMember({"error", "warn", "info", "debug", "trace"}))
      ->capture_default_str();
  group->add_option("--log-file", f.log_file, "Log there instead of stderr; reopened on SIGHUP")
      ->envname("INAZUMA_LOG_FILE");
  group->add_flag("--no-access-log", f.no_access_log, "No line per request")->envname("INAZUMA_NO_ACCESS_LOG");
  group->add_flag("--no-http-metrics", f.no_http_metrics, "No /metrics on the main port")
      ->envname("INAZUMA_NO_HTTP_METRICS");
  f.metrics.add_to(*group);
  group->add_flag("--no-ui", f.no_ui, "No web pages")->envname("INAZUMA_NO_UI");
  group->add_option("--stall-timeout", f.stall_timeout, "Seconds without a sign of life that make a model not ready")
      ->envname("INAZUMA_STALL_TIMEOUT")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  group
      ->add_option("--drain-delay", f.drain_delay,
                   "Seconds between unready and closed on SIGTERM; -1 = 0 on loopback, else 5")
      ->envname("INAZUMA_DRAIN_DELAY")
      ->check(CLI::Range(-1.0, 3600.0))
      ->capture_default_str();
  group->add_option("--exit-timeout-secs", f.exit_timeout, "Seconds to finish accepted work")
      ->envname("INAZUMA_EXIT_TIMEOUT_SECS")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
}

}  // namespace

Run add_serve(CLI::App& app) {
  auto flags = std::make_shared<ServeFlags>();
  CLI::App* command = app.add_subcommand("serve", "Serve one or more model directories over HTTP");
  command->add_option("DIR", flags->paths,
                      "Model directories; NAME=DIR gives another name. The first is the default model");
  command->add_option("--model-id", flags->paths, "The same, as other servers call it");
  command->footer("Each flag has an environment form (INAZUMA_PORT for --port); --help-all shows them with ranges.");
  command
      ->add_option("--served-model-name", flags->served_names, "Name of the directory at the same place (repeatable)")
      ->envname("INAZUMA_SERVED_MODEL_NAME");
  const auto host = command->add_option("--host,--hostname,--http-address", flags->host, "Address to listen on")
                        ->envname("INAZUMA_HOST")
                        ->capture_default_str();
  command->add_option("-p,--port,--http-port", flags->port, "Port to listen on; 0 = any free one")
      ->envname("INAZUMA_PORT")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command->add_option("--metrics-address", flags->metrics_host, "Address of the metrics port (that of HTTP)");
  const auto metrics_port = command
                                ->add_option("--metrics-port,--prometheus-port", flags->metrics_port,
                                             "A second port with /metrics and health only; 0 = none")
                                ->envname("INAZUMA_METRICS_PORT")
                                ->check(CLI::Range(0, 65535))
                                ->capture_default_str();
  command
      ->add_option("--http-threads,--http-thread-count", flags->http_threads,
                   "Threads for connections and tokenization")
      ->envname("INAZUMA_HTTP_THREADS")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  flags->model.add_to(*command);
  flags->triton.add_to(*command);
  flags->transport.add_to(*command);
  add_limits(*command, *flags);
  add_security(*command, *flags);
  add_operation(*command, *flags);
  const CLI::Option* max_body = command->get_option("--max-body-size");
  return [flags, host, metrics_port, max_body] {
    flags->host_given = host->count() > 0;
    flags->metrics_port_given = metrics_port->count() > 0;
    flags->max_body_given = max_body->count() > 0;
    return serve(*flags);
  };
}

}  // namespace inazuma::cli
