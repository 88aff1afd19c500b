#include "serving/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <model_config.pb.h>

#include <fstream>
#include <tuple>

#include "base/version.h"
#include "serving/metrics/machine_gauges.h"
#include "serving/metrics/peer_series.h"
#include "serving/metrics/series_table.h"
#include "serving/metrics/version_series.h"

namespace inazuma {

namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;

constexpr const char* kRequestDuration = "inazuma_request_duration_seconds";
constexpr const char* kQueueWait = "inazuma_queue_wait_seconds";

// Resident bytes of this process, from procfs; 0 where it cannot be read.
double resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  double size = 0, resident = 0;
  statm >> size >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

}  // namespace

CountedModel CountedModel::of(const Backend& backend, int64_t version) {
  return {.id = backend.info().id, .version = version, .tensors = backend.tensor_model()};
}

const std::vector<std::string>& bucketed_histograms() {
  static const std::vector<std::string> names = {kFirstResponseHistogram, kRequestDuration, kQueueWait};
  return names;
}

std::vector<double> configured_buckets(const CountedModel& model, std::string_view family) {
  if (model.tensors)
    for (const auto& control : model.tensors->config->model_metrics().metric_control())
      if (control.metric_identifier().family() == family)
        return {control.histogram_options().buckets().begin(), control.histogram_options().buckets().end()};
  return {};
}

struct Metrics::Families {
  using Counters = prometheus::Family<prometheus::Counter>&;
  using Gauges = prometheus::Family<prometheus::Gauge>&;
  using Histograms = prometheus::Family<prometheus::Histogram>&;

  explicit Families(const MetricsOptions& options)
      : triton(options.triton),
        versions(registry, options),
        machine(registry, options.cpu, options.gpu, options.interval),
        peers(registry, options),
        buckets(options.buckets) {
    BuildGauge()
        .Name("inazuma_build_info")
        .Help("Version of this program; always 1")
        .Register(registry)
        .Add({{"version", kVersion}})
        .Set(1);
  }

  Counters counter(const char* name, const char* help) {
    return BuildCounter().Name(name).Help(help).Register(registry);
  }
  Gauges gauge(const char* name, const char* help) { return BuildGauge().Name(name).Help(help).Register(registry); }
  Histograms histogram(const char* name, const char* help) {
    return BuildHistogram().Name(name).Help(help).Register(registry);
  }

  prometheus::Registry registry;
  const bool triton;
  VersionSeries versions;
  MachineGauges machine;
  PeerSeries peers;
  const std::vector<double> buckets;  // of latency histograms, seconds

  Gauges state = gauge("inazuma_model_state", "1 for the state a model is in");
  Gauges load_seconds = gauge("inazuma_model_load_seconds", "Seconds the last load of a model took");
  Gauges memory = gauge("inazuma_model_memory_bytes", "Bytes of a model's weights on its device");
  Histograms duration = histogram(kRequestDuration, "Time from reading a request to its answer");
  Histograms queue_wait = histogram(kQueueWait, "Time a request waited for the engine");
  Counters prompt_tokens = counter("inazuma_prompt_tokens_total", "Token ids read from requests");
  Counters generated_tokens = counter("inazuma_generated_tokens_total", "Token ids generated");
  Counters rejected = counter("inazuma_rejected_total", "Requests refused, by reason");
  Counters cancelled = counter("inazuma_cancelled_total", "Requests given up by their client");
  Counters deadline = counter("inazuma_deadline_exceeded_total", "Requests whose deadline passed");
  Gauges running = gauge("inazuma_running_sequences", "Rows being worked on");
  Gauges waiting = gauge("inazuma_waiting_sequences", "Rows waiting for admission");
  Gauges kv_used = gauge("inazuma_kv_cache_usage_ratio", "Share of the key-value pool in use");
  Gauges batch_rows = gauge("inazuma_batch_rows_mean", "Mean rows (tokens) of a step since start");
  Counters http = counter("inazuma_http_requests_total", "HTTP requests by route, method and status");
  Histograms http_duration = histogram("inazuma_http_request_duration_seconds", "Time to answer an HTTP request");
  prometheus::Gauge& connections = gauge("inazuma_connections", "Open client connections").Add({});
  prometheus::Gauge& inflight =
      gauge("inazuma_inflight_requests", "Inference requests accepted and not answered yet").Add({});
  prometheus::Gauge& resident = gauge("process_resident_memory_bytes", "Resident memory size in bytes").Add({});

  // The series of a whole model, looked up once a request and not once a number. They stay when its versions go: a
  // reload goes on counting.
  struct OfModel {
    prometheus::Histogram &duration, &queue_wait;
    prometheus::Counter &prompt_tokens, &generated_tokens;
  };
  SeriesTable<std::string, OfModel> models;

  // Calls `use` with the series of a model. Buckets are those of the configuration when the series began.
  template <class Use>
  void with_model(const CountedModel& model, Use&& use) {
    const auto make = [&] {
      const prometheus::Labels labels{{"model", model.id}};
      const auto bounds = [&](const char* family) {
        const std::vector<double> own = configured_buckets(model, family);
        return own.empty() ? buckets : own;
      };
      return OfModel{.duration = duration.Add(labels, bounds(kRequestDuration)),
                     .queue_wait = queue_wait.Add(labels, bounds(kQueueWait)),
                     .prompt_tokens = prompt_tokens.Add(labels),
                     .generated_tokens = generated_tokens.Add(labels)};
    };
    models.with(model.id, make, use);
  }

  // Route, method and status to their counter and the route's histogram.
  struct Http {
    prometheus::Counter& requests;
    prometheus::Histogram& duration;
  };
  // Looked up by views. Spelt out: clang 14 does not compare tuples of strings with tuples of views.
  struct HttpOrder {
    using is_transparent = void;
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      const auto views = [](const auto& key) {
        return std::tuple<std::string_view, std::string_view, int>(std::get<0>(key), std::get<1>(key),
                                                                   std::get<2>(key));
      };
      return views(a) < views(b);
    }
  };
  SeriesTable<std::tuple<std::string, std::string, int>, Http, HttpOrder> http_series;
};

Metrics::Metrics(MetricsOptions options) : families_(std::make_unique<Families>(options)) {}
Metrics::~Metrics() = default;

void Metrics::count_request(const CountedModel& model, const Status& status, const Usage& usage, int items) {
  Families& f = *families_;
  f.versions.count(model, status, usage, items);
  f.peers.count(model.id, status, usage, items);
  if (!status.ok()) {
    const prometheus::Labels labels{{"model", model.id}};
    if (status.code() == StatusCode::cancelled)
      f.cancelled.Add(labels).Increment();
    else if (status.code() == StatusCode::deadline_exceeded)
      f.deadline.Add(labels).Increment();
    else
      f.rejected.Add({{"model", model.id}, {"reason", std::string(name(status.code()))}}).Increment();
    return;
  }
  f.with_model(model, [&](Families::OfModel& one) {
    one.duration.Observe(seconds(usage.total));
    one.queue_wait.Observe(seconds(usage.queue));
    one.prompt_tokens.Increment(usage.prompt_tokens);
    one.generated_tokens.Increment(usage.generated_tokens);
  });
}

void Metrics::first_response(const CountedModel& model, Clock::duration took) {
  families_->versions.first_response(model, took);
}

void Metrics::count_http(std::string_view route, std::string_view method, int code,
                         std::chrono::duration<double> took) {
  Families& f = *families_;
  const auto make = [&] {
    const std::string path(route), verb(method);
    return Families::Http{f.http.Add({{"route", path}, {"method", verb}, {"code", std::to_string(code)}}),
                          f.http_duration.Add({{"route", path}}, f.buckets)};
  };
  f.http_series.with(std::tuple(route, method, code), make, [&](Families::Http& one) {
    one.requests.Increment();
    one.duration.Observe(took.count());
  });
}

void Metrics::connections(int delta) {
  families_->connections.Increment(delta);
}
void Metrics::inflight(int delta) {
  families_->inflight.Increment(delta);
}

std::string Metrics::text(const RepositorySnapshot& snapshot) {
  Families& f = *families_;
  f.versions.write(snapshot);
  f.peers.write(snapshot);
  for (const ServedModel& model : snapshot.models) {
    const ServedVersion* version = model.current();
    for (ModelState state : {ModelState::loading, ModelState::ready, ModelState::failed})
      f.state.Add({{"model", model.id}, {"state", std::string(name(state))}})
          .Set(version != nullptr && name(version->state) == name(state) ? 1 : 0);
    if (version == nullptr || !version->backend) continue;
    f.with_model(CountedModel::of(*version->backend, version->number), [](Families::OfModel&) {});  // begins at 0
    const BackendInfo& info = version->backend->info();
    if (!info.text) continue;
    const EngineStats stats = version->backend->stats();
    f.load_seconds.Add({{"model", model.id}}).Set(info.load_seconds);
    f.memory.Add({{"model", model.id}, {"device", info.on_gpu ? "gpu" : "cpu"}})
        .Set(static_cast<double>(info.model.weight_bytes));
    f.running.Add({{"model", model.id}}).Set(stats.running);
    f.waiting.Add({{"model", model.id}}).Set(stats.waiting);
    f.kv_used.Add({{"model", model.id}})
        .Set(stats.kv_blocks_total == 0 ? 0 : static_cast<double>(stats.kv_blocks_used) / stats.kv_blocks_total);
    f.batch_rows.Add({{"model", model.id}})
        .Set(stats.steps_total == 0 ? 0
                                    : static_cast<double>(stats.rows_total) / static_cast<double>(stats.steps_total));
  }
  f.resident.Set(resident_bytes());
  std::vector<prometheus::MetricFamily> all = f.registry.Collect();
  if (!f.triton) std::erase_if(all, [](const auto& family) { return family.name.starts_with("nv_"); });
  all.push_back(
      step_sizes("inazuma_batch_size", "Texts (or beams) of a step", "model", snapshot, &EngineStats::step_rows));
  for (prometheus::MetricFamily& family : f.peers.steps(snapshot)) all.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(all);
}

}  // namespace inazuma
