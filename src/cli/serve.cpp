// inazuma serve DIR...: load models, serve them, drain on a signal.

#include <signal.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <functional>
#include <thread>

#include "base/log.h"
#include "base/version.h"
#include "cli/flags/serve_flags.h"

namespace inazuma::cli {

namespace {

// A file that cannot be used leaves the keys in force as they are: a slip must neither open nor close the server.
void read_keys_again(KeyRing& keys, const ServeFlags& flags) {
  if (flags.api_key_file.empty()) return;
  const Result<std::vector<std::string>> read = capture([&] { return flags.read_keys(); });
  if (!read.ok()) return log::error("the API keys stay as they were", {{"error", read.status().message()}});
  keys.replace(*read);
  log::info("API keys read again", {{"keys", read->size()}});
}

std::string id_of(const NamedPath& named) {
  if (!named.id.empty()) return named.id;
  const std::filesystem::path path = std::filesystem::absolute(named.path).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

// What the process listens on; absent ports are null.
struct Servers {
  std::unique_ptr<HttpServer> http, metrics;
  std::unique_ptr<GrpcServer> grpc;

  Servers(App& app, const ServeFlags& flags) {
    HttpServerOptions options = flags.http_options();
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
    HttpServerOptions metrics_options = flags.http_options();
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
    LoaderOptions options = flags.loader_options();
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

void print_banner(const RepositorySnapshot& snapshot, const Servers& servers, const ServeFlags& flags, double seconds) {
  if (flags.model.quiet) return;
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
  const log::Options log_options = flags.log_options();
  if (!log::configure(log_options))
    return complain(Status(StatusCode::invalid, fmt::format("--log-file {} cannot be opened", quoted(flags.log_file))),
                    kUsage);
  if (const Status transport = flags.transport.check(); !transport.ok()) return complain(transport, kUsage);
  if (flags.paths.empty() && flags.triton.repositories.empty())
    return complain(
        Status(StatusCode::invalid, "name at least one model directory or repository: inazuma serve DIR..."), kUsage);
  flags.triton.warn();
  if (!flags.triton.repositories.empty()) flags.take_over_defaults();
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

  if (!flags.triton.repositories.empty()) flags.allow_tensors();
  const ManagerOptions manager_options = flags.triton.manager_options(flags.loader_options());
  Core core({.stall_timeout = std::chrono::seconds(flags.stall_timeout),
             .default_deadline = flags.default_timeout_ms > 0
                                     ? Clock::duration(std::chrono::milliseconds(flags.default_timeout_ms))
                                     : Clock::duration::max(),
             .strict_readiness = flags.triton.strict_readiness,
             .metrics = flags.metrics_options()});
  if (const Status announced = core.repository().announce(ids); !announced.ok()) return complain(announced, kUsage);
  flags.guard.api_keys->replace(flags.read_keys());
  App app(core, flags.app_options());
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
  print_banner(*core.repository().snapshot(), servers, flags, seconds(Clock::now() - begin));
  signals.wait();
  const int code = drain(core, servers, flags);
  end(core, servers);
  log::info("stopped", {{"code", code}});
  return code;
}

}  // namespace

Run add_serve(CLI::App& app) {
  auto flags = std::make_shared<ServeFlags>();
  CLI::App* command = app.add_subcommand("serve", "Serve one or more model directories over HTTP");
  command->footer("Each flag has an environment form (INAZUMA_PORT for --port); --help-all shows them with ranges.");
  flags->add_to(*command);
  return [flags] { return serve(*flags); };
}

}  // namespace inazuma::cli
