#pragma once
// tritonserver's own flags on `serve`, so that its start command can be carried over. (Ports, addresses, TLS and gRPC's
// transport flags are registered where they act.)

#include "cli/command_line.h"
#include "frontends/kserve/trace.h"
#include "serving/repository/model_manager.h"

namespace inazuma::cli {

/// "<groups>:<header>=<value>" of --http-restricted-api and --grpc-restricted-protocol.
struct RestrictedGroups {
  std::vector<std::string> groups;
  std::string header;
  std::string value;
};

struct TritonFlags {
  std::vector<std::filesystem::path> repositories;
  std::string control_mode = "none";
  std::vector<std::string> load_models;
  int poll_secs = 15;
  bool exit_on_error = true;
  bool strict_readiness = true;
  bool disable_auto_complete = false;
  std::string config_name;
  int load_retries = 0;
  std::vector<std::string> cache_config;
  size_t response_cache_bytes = 0;
  std::vector<std::string> backend_config;
  std::string rate_limit = "off";
  std::vector<std::string> rate_limit_resources;
  bool model_namespacing = false;
  bool allow_http = true, allow_metrics = true;
  MetricsOptions metrics;  ///< what flags of their own say; metrics_options() has the rest
  double metrics_interval_ms = 2000;
  std::vector<std::string> metrics_config;

  // For the KServe front ends.
  std::string id = "triton";
  std::string http_header_forward_pattern, grpc_header_forward_pattern;
  size_t http_max_input_size = size_t{64} << 20;
  std::vector<std::string> http_restricted, grpc_restricted;
  bool allow_client_shm = false;
  std::vector<std::string> trace_config;
  int log_verbose = 0;
  bool log_info = true, log_warning = true, log_error = true;

  void add_to(CLI::App& app);
  /// Flags that cannot mean anything here: one warning each, after the log is set up.
  void warn() const;
  /// Throws Error(invalid) naming the flag.
  ManagerOptions manager_options(LoaderOptions loader) const;
  /// Null unless --cache-config (or its older form) asks for one. Throws Error(invalid).
  std::shared_ptr<ResponseCache> make_cache() const;
  /// Throws Error(invalid) naming the setting.
  MetricsOptions metrics_options() const;
  /// Null unless --rate-limit asks for one. Throws Error(invalid).
  std::shared_ptr<RateGate> make_gate() const;
  /// --trace-config and its older forms. Throws Error(invalid); modes that are not built are a warning.
  kserve::TraceValues trace_values() const;
  static std::vector<RestrictedGroups> parse_restricted(const std::vector<std::string>& given, const char* flag);

 private:
  std::vector<std::pair<CLI::Option*, const char*>> without_meaning_;
};

}  // namespace inazuma::cli
