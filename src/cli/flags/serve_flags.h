#pragma once
// The flags of `inazuma serve`, and what they mean for the parts that it starts.

#include <string>
#include <vector>

#include "base/log.h"
#include "cli/command_line.h"
#include "cli/flags/metrics_flags.h"
#include "cli/flags/transport_flags.h"
#include "cli/flags/triton_flags.h"
#include "frontends/app.h"
#include "frontends/transport/http1/http_server.h"

namespace inazuma::cli {

bool is_loopback(const std::string& host);

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

  void add_to(CLI::App& command);
  /// What tritonserver's defaults are, for a start command that is carried over, and where tensors are served.
  void take_over_defaults();
  void allow_tensors();

  // All throw Error(invalid), which names the flag.
  log::Options log_options() const;
  AppOptions app_options() const;
  HttpServerOptions http_options() const;
  LoaderOptions loader_options() const;
  MetricsOptions metrics_options() const;
  std::vector<std::string> read_keys() const;

 private:
  ParseLimits parse_limits() const;
  void add_limits(CLI::App& app);
  void add_access(CLI::App& app);
  void add_operation(CLI::App& app);

  const CLI::Option *host_option_ = nullptr, *metrics_port_option_ = nullptr, *max_body_option_ = nullptr;
};

}  // namespace inazuma::cli
