#include "cli/flags/triton_flags.h"

#include <charconv>
#include <set>

#include "base/log.h"

namespace inazuma::cli {

namespace {

struct Meaningless {
  const char* flag;
  const char* why;
};

constexpr const char* kMemory = "memory pools are sized by the engine (--kv-tokens)";
constexpr const char* kTransport = "the transport's threads and buffers size themselves (--http-threads)";
constexpr const char* kCloud = "cloud front ends are not built; the HTTP port answers /ping and /health";

// Known to tritonserver, without anything to act on here.
constexpr Meaningless kMeaningless[] = {
    {"--pinned-memory-pool-byte-size", kMemory},
    {"--cuda-memory-pool-byte-size", kMemory},
    {"--cuda-virtual-address-size", kMemory},
    {"--min-supported-compute-capability", "the build fixes it"},
    {"--buffer-manager-thread-count", kTransport},
    {"--host-policy", "host policies are not built; use numactl or taskset"},
    {"--model-load-gpu-limit", "a load that does not fit is refused by itself"},
    {"--model-load-thread-count", "each load request runs on a thread of its own"},
    {"--backend-directory", "back ends are compiled in"},
    {"--cache-directory", "the cache is compiled in"},
    {"--repoagent-directory", "there are no repository agents"},
    {"--enable-peer-access", "one GPU a model"},
    {"--grpc-infer-thread-count", kTransport},
    {"--grpc-infer-allocation-pool-size", kTransport},
    {"--grpc-max-response-pool-size", kTransport},
    {"--reuse-http-port", "ports are not shared between processes"},
    {"--reuse-grpc-port", "ports are not shared between processes"},
    {"--allow-sagemaker", kCloud},
    {"--sagemaker-port", kCloud},
    {"--sagemaker-safe-port-range", kCloud},
    {"--sagemaker-thread-count", kCloud},
    {"--allow-vertex-ai", kCloud},
    {"--vertex-ai-port", kCloud},
    {"--vertex-ai-thread-count", kCloud},
    {"--vertex-ai-default-model", kCloud},
};

// true/on/1 and false/off/0, in any case, as tritonserver reads them.
void add_switch(CLI::App& app, const std::string& names, bool& target, const std::string& help) {
  app.add_option_function<std::string>(
         names,
         [&target, names](const std::string& given) {
           const std::string low = CLI::detail::to_lower(given);
           if (low == "true" || low == "on" || low == "1")
             target = true;
           else if (low == "false" || low == "off" || low == "0")
             target = false;
           else
             throw CLI::ValidationError(names, "must be true or false, not " + given);
         },
         help)
      ->type_name("BOOL");
}

bool share(const std::string& text, double& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && out >= 0 && out <= 1;
}

uint64_t bytes_of(std::string_view text, std::string_view flag) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value == 0)
    throw fail(StatusCode::invalid, "{}: size is {}, must be a number of bytes above 0", flag, quoted(text));
  return value;
}

}  // namespace

void TritonFlags::add_to(CLI::App& app) {
  const auto group = app.add_option_group("Model repository (Triton's flags)");
  group->add_option("--model-repository,--model-store", repositories,
                    "Repository of models (config.pbtxt, versions); repeatable");
  group->add_option("--model-control-mode", control_mode, "none, poll or explicit")
      ->check(CLI::IsMember({"none", "poll", "explicit"}))
      ->capture_default_str();
  group->add_option("--load-model", load_models, "Explicit mode: load this model at the start (repeatable; * for all)");
  group->add_option("--repository-poll-secs", poll_secs, "Seconds between two looks in poll mode")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  add_switch(*group, "--exit-on-error", exit_on_error, "End when a model cannot be loaded at the start (true)");
  add_switch(*group, "--strict-readiness", strict_readiness, "Ready only while every model is (true)");
  group->add_flag("--disable-auto-complete-config", disable_auto_complete, "config.pbtxt must exist and be complete");
  add_switch(*group, "--strict-model-config", disable_auto_complete, "The older form of the flag before");
  group->add_option("--model-config-name", config_name, "Prefer MODEL/configs/NAME.pbtxt to config.pbtxt");
  group->add_option("--model-load-retry-count", load_retries, "Times a failed load is repeated")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  group->add_option("--cache-config", cache_config,
                    "local,size=BYTES: cache answers of models that enable response_cache");
  group->add_option("--response-cache-byte-size", response_cache_bytes, "The older form of the flag before");
  group->add_option("--backend-config", backend_config, "[BACKEND,]KEY=VALUE (default-max-batch-size)");
  group->add_option("--id", id, "Server name in metadata")->capture_default_str();
  add_switch(*group, "--allow-http", allow_http, "Listen for HTTP (true)");
  add_switch(*group, "--allow-metrics", allow_metrics, "Answer /metrics (true)");
  add_switch(*group, "--allow-cpu-metrics", metrics.cpu, "nv_cpu_* among them (true)");
  add_switch(*group, "--allow-gpu-metrics", metrics.gpu, "nv_gpu_* among them, where there are GPUs (true)");
  group
      ->add_option("--metrics-interval-ms", metrics_interval_ms,
                   "Milliseconds between two samples of nv_cpu_* and nv_gpu_*")
      ->check(CLI::Range(1.0, 86'400'000.0))
      ->capture_default_str();
  group->add_option("--metrics-config", metrics_config,
                    "SETTING=VALUE: counter_latencies, histogram_latencies, summary_latencies, summary_quantiles "
                    "(repeatable)");
  group->add_option("--http-header-forward-pattern", http_header_forward_pattern,
                    "Headers that become request parameters (regular expression)");
  group->add_option("--grpc-header-forward-pattern", grpc_header_forward_pattern, "The same for gRPC metadata");
  group->add_option("--http-max-input-size", http_max_input_size, "Largest JSON part of a KServe body, bytes")
      ->check(CLI::Range(size_t{1}, size_t{1} << 40))
      ->capture_default_str();
  group->add_option("--http-restricted-api", http_restricted, "GROUPS:HEADER=VALUE (repeatable)");
  group->add_option("--grpc-restricted-protocol", grpc_restricted, "GROUPS:KEY=VALUE (repeatable)");
  add_switch(*group, "--allow-client-shm", allow_client_shm, "Clients may register shared memory (false)");
  group
      ->add_option("--rate-limit", rate_limit,
                   "off, or execution_count: instances wait for their rate_limiter's resources")
      ->check(CLI::IsMember({"off", "execution_count"}))
      ->capture_default_str();
  group->add_option("--rate-limit-resource", rate_limit_resources, "NAME:COUNT[:DEVICE], of each device (repeatable)");
  add_switch(*group, "--model-namespacing", model_namespacing, "Only false: names of models are unique (false)");
  group->add_option("--trace-config", trace_config,
                    "[triton,]SETTING=VALUE: level, rate, count, file, log-frequency (repeatable)");
  for (const std::string setting : {"file", "level", "rate", "count", "log-frequency"})  // their older forms
    group
        ->add_option_function<std::vector<std::string>>(
            "--trace-" + setting,
            [this, setting](const std::vector<std::string>& values) {
              for (const std::string& value : values) trace_config.push_back(setting + "=" + value);
            },
            "")
        ->group("");
  group->add_option("--log-verbose", log_verbose, "Verbosity; above 0 logs debug lines")->check(CLI::Range(0, 100));
  add_switch(*group, "--log-info", log_info, "Log information (true)");
  add_switch(*group, "--log-warning", log_warning, "Log warnings (true)");
  add_switch(*group, "--log-error", log_error, "Log errors (true)");
  for (const Meaningless& one : kMeaningless)
    without_meaning_.emplace_back(group->add_option(one.flag, "")->take_last()->group(""), one.why);
}

void TritonFlags::warn() const {
  for (const auto& [option, why] : without_meaning_)
    if (option->count() > 0)
      log::warn("a flag has no meaning here", {{"flag", "--" + option->get_lnames().front()}, {"reason", why}});
  if (rate_limit == "off" && !rate_limit_resources.empty())
    log::warn("a flag has no effect",
              {{"flag", "--rate-limit-resource"}, {"reason", "--rate-limit is off: instances wait for no resources"}});
}

std::shared_ptr<ResponseCache> TritonFlags::make_cache() const {
  uint64_t bytes = response_cache_bytes;
  for (const std::string& given : cache_config) {
    const size_t comma = given.find(',');
    if (given.substr(0, comma) != "local" || comma == std::string::npos || given.compare(comma + 1, 5, "size=") != 0)
      throw fail(StatusCode::invalid, "--cache-config is {}, must be local,size=BYTES", quoted(given));
    bytes = bytes_of(std::string_view(given).substr(comma + 6), "--cache-config");
  }
  return bytes == 0 ? nullptr : std::make_shared<ResponseCache>(bytes);
}

MetricsOptions TritonFlags::metrics_options() const {
  MetricsOptions out = metrics;
  out.interval = std::chrono::milliseconds(static_cast<int64_t>(metrics_interval_ms));
  for (const std::string& given : metrics_config) {
    const size_t equals = given.find('=');
    const std::string setting = given.substr(0, equals),
                      value = equals == std::string::npos ? "" : given.substr(equals + 1);
    const auto wrong = [&](const char* what) {
      return fail(StatusCode::invalid, "--metrics-config {}: must be {}", quoted(given), what);
    };
    const auto flag = [&] {
      if (value != "true" && value != "false") throw wrong("true or false");
      return value == "true";
    };
    if (setting == "counter_latencies") {
      out.counters = flag();
    } else if (setting == "histogram_latencies") {
      out.histograms = flag();
    } else if (setting == "summary_latencies") {
      out.summaries = flag();
    } else if (setting == "summary_quantiles") {
      out.quantiles.clear();
      for (const std::string& part : CLI::detail::split(value, ',')) {
        const std::vector<std::string> pair = CLI::detail::split(part, ':');
        std::pair<double, double> one;
        if (pair.size() != 2 || !share(pair[0], one.first) || !share(pair[1], one.second))
          throw wrong("summary_quantiles=QUANTILE:ERROR,... with numbers in [0, 1]");
        out.quantiles.push_back(one);
      }
    } else {
      throw wrong("counter_latencies, histogram_latencies, summary_latencies or summary_quantiles, with a value");
    }
  }
  return out;
}

std::shared_ptr<RateGate> TritonFlags::make_gate() const {
  DeclaredResources declared;
  for (const std::string& given : rate_limit_resources)
    if (const Status added = declared.add(given); !added.ok()) throw Error(added.in("--rate-limit-resource"));
  return rate_limit == "off" ? nullptr : std::make_shared<RateGate>(std::move(declared));
}

ManagerOptions TritonFlags::manager_options(LoaderOptions loader) const {
  if (model_namespacing)
    throw fail(StatusCode::unsupported,
               "--model-namespacing=true is not built: give models of several repositories different names");
  ManagerOptions out;
  out.repositories = repositories;
  out.mode = control_mode == "poll"       ? ControlMode::poll
             : control_mode == "explicit" ? ControlMode::explicit_
                                          : ControlMode::none;
  out.poll_interval = std::chrono::seconds(poll_secs);
  if (!load_models.empty() && out.mode != ControlMode::explicit_)
    throw fail(StatusCode::invalid, "--load-model needs --model-control-mode=explicit");
  if (load_models.size() > 1 && std::find(load_models.begin(), load_models.end(), "*") != load_models.end())
    throw fail(StatusCode::invalid, "--load-model=* stands for all models and must be the only one");
  out.load_models = load_models;
  out.load_retries = load_retries;
  loader.auto_complete = !disable_auto_complete;
  loader.config_name = config_name;
  loader.cache = make_cache();
  loader.gate = make_gate();
  for (const std::string& given : backend_config) {
    const std::string setting = given.substr(given.find(',') == std::string::npos ? 0 : given.find(',') + 1);
    const size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0)
      throw fail(StatusCode::invalid, "--backend-config is {}, must be [BACKEND,]KEY=VALUE", quoted(given));
    if (setting.substr(0, equals) != "default-max-batch-size") {
      log::warn("a backend setting has no meaning here", {{"setting", given}});
      continue;
    }
    const uint64_t size =
        bytes_of(std::string_view(setting).substr(equals + 1), "--backend-config default-max-batch-size");
    if (size > 1 << 20)
      throw fail(StatusCode::invalid, "--backend-config default-max-batch-size is {}, must be in [1, {}]", size,
                 1 << 20);
    loader.default_max_batch = static_cast<int>(size);
  }
  out.loader = std::move(loader);
  return out;
}

kserve::TraceValues TritonFlags::trace_values() const {
  static const std::map<std::string, std::string> kSettings = {{"file", "trace_file"},
                                                               {"level", "trace_level"},
                                                               {"rate", "trace_rate"},
                                                               {"count", "trace_count"},
                                                               {"log-frequency", "log_frequency"}};
  kserve::TraceValues out;
  for (const std::string& given : trace_config) {
    const size_t comma = given.find(','), equals = given.find('=');
    const bool has_mode = comma != std::string::npos && comma < equals;
    const std::string mode = has_mode ? given.substr(0, comma) : "triton";
    const std::string name = given.substr(has_mode ? comma + 1 : 0, equals - (has_mode ? comma + 1 : 0));
    if (equals == std::string::npos || name.empty() || equals + 1 == given.size())
      throw fail(StatusCode::invalid, "--trace-config is {}, must be [MODE,]SETTING=VALUE", quoted(given));
    const std::string value = given.substr(equals + 1);
    if (mode == "opentelemetry" || (name == "mode" && value == "opentelemetry")) {
      log::warn(
          "a flag has no meaning here",
          {{"flag", "--trace-config " + given},
           {"reason", "OpenTelemetry is not built: traces are written to a file (--trace-config triton,file=PATH)"}});
      continue;
    }
    if (mode != "triton" || (name == "mode" && value != "triton"))
      throw fail(StatusCode::invalid, "--trace-config {}: the mode must be triton or opentelemetry", quoted(given));
    if (name == "mode") continue;
    const auto setting = kSettings.find(name);
    if (setting == kSettings.end())
      throw fail(StatusCode::invalid,
                 "--trace-config {}: there is no setting {}; there are mode, file, level, rate, count, log-frequency",
                 quoted(given), quoted(name));
    std::vector<std::string>& values = out[setting->second];
    if (name != "level") values.clear();  // levels add up, of the rest the last one counts
    // MIN and MAX are older names of the one level that there was.
    values.push_back(name == "level" && (value == "MIN" || value == "MAX") ? "TIMESTAMPS" : value);
  }
  return out;
}

std::vector<RestrictedGroups> TritonFlags::parse_restricted(const std::vector<std::string>& given, const char* flag) {
  static const std::set<std::string> kGroups = {"health",        "metadata",     "inference",
                                                "shared-memory", "model-config", "model-repository",
                                                "statistics",    "trace",        "logging"};
  std::vector<RestrictedGroups> out;
  std::set<std::string> seen;
  for (const std::string& one : given) {
    const size_t colon = one.find(':'), equals = one.find('=', colon == std::string::npos ? 0 : colon);
    if (colon == std::string::npos || equals == std::string::npos || colon == 0 || equals == colon + 1)
      throw fail(StatusCode::invalid, "{} is {}, must be GROUPS:NAME=VALUE", flag, quoted(one));
    RestrictedGroups& parsed = out.emplace_back();
    parsed.header = one.substr(colon + 1, equals - colon - 1);
    parsed.value = one.substr(equals + 1);
    for (size_t at = 0; at <= colon;) {
      const size_t end = std::min(one.find(',', at), colon);
      const std::string group = one.substr(at, end - at);
      if (!kGroups.contains(group))
        throw fail(StatusCode::invalid, "{}: there is no group {}; there are {}", flag, quoted(group),
                   fmt::join(kGroups, ", "));
      if (!seen.insert(group).second)
        throw fail(StatusCode::invalid, "{}: group {} is restricted twice", flag, quoted(group));
      parsed.groups.push_back(group);
      at = end + 1;
    }
  }
  return out;
}

}  // namespace inazuma::cli
