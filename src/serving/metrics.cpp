#include "serving/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <grpc_service.pb.h>

#include <fstream>
#include <map>
#include <mutex>

#include "base/version.h"

namespace inazuma {

namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;

std::string_view failure_reason(StatusCode code) {
  switch (code) {
    case StatusCode::overloaded:
    case StatusCode::deadline_exceeded: return "REJECTED";
    case StatusCode::cancelled: return "CANCELED";
    case StatusCode::internal:
    case StatusCode::out_of_memory: return "BACKEND";
    default: return "OTHER";
  }
}

double micros(Clock::duration duration) { return std::chrono::duration<double, std::micro>(duration).count(); }
double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// Resident bytes and open descriptors of this process, from procfs; 0 where it cannot be read.
double resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  double size = 0, resident = 0;
  statm >> size >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

}  // namespace

struct Metrics::Families {
  using Counters = prometheus::Family<prometheus::Counter>&;
  using Gauges = prometheus::Family<prometheus::Gauge>&;
  using Histograms = prometheus::Family<prometheus::Histogram>&;

  explicit Families(std::vector<double> bounds) : buckets(std::move(bounds)) {
    BuildGauge().Name("inazuma_build_info").Help("Version of this program; always 1").Register(registry).Add({{"version", kVersion}}).Set(1);
  }

  Counters counter(const char* name, const char* help) { return BuildCounter().Name(name).Help(help).Register(registry); }
  Gauges gauge(const char* name, const char* help) { return BuildGauge().Name(name).Help(help).Register(registry); }
  Histograms histogram(const char* name, const char* help) { return BuildHistogram().Name(name).Help(help).Register(registry); }

  prometheus::Registry registry;
  std::vector<double> buckets;

  Counters success = counter("nv_inference_request_success", "Number of successful inference requests, all batch sizes");
  Counters failure = counter("nv_inference_request_failure", "Number of failed inference requests, all batch sizes");
  Counters count = counter("nv_inference_count", "Number of inferences performed");
  Counters executions = counter("nv_inference_exec_count", "Number of model executions performed");
  Gauges pending = gauge("nv_inference_pending_request_count", "Instantaneous number of pending requests awaiting execution");
  Counters request_us = counter("nv_inference_request_duration_us", "Cumulative inference request duration in microseconds");
  Counters queue_us = counter("nv_inference_queue_duration_us", "Cumulative inference queuing duration in microseconds");
  Counters input_us = counter("nv_inference_compute_input_duration_us", "Cumulative compute input duration in microseconds (tokenization)");
  Counters infer_us = counter("nv_inference_compute_infer_duration_us", "Cumulative compute inference duration in microseconds");
  Counters output_us = counter("nv_inference_compute_output_duration_us", "Cumulative compute output duration in microseconds (making the answer)");

  Counters cache_hits = counter("nv_cache_num_hits_per_model", "Number of cache hits per model");
  Counters cache_misses = counter("nv_cache_num_misses_per_model", "Number of cache misses per model");
  Counters cache_hit_us = counter("nv_cache_hit_duration_per_model", "Total cache hit duration per model, in microseconds");
  Counters cache_miss_us = counter("nv_cache_miss_duration_per_model", "Total cache miss duration per model, in microseconds");
  Gauges load_duration = gauge("nv_model_load_duration_secs", "Model load time in seconds");

  Gauges state = gauge("inazuma_model_state", "1 for the state a model is in");
  Gauges load_seconds = gauge("inazuma_model_load_seconds", "Seconds the last load of a model took");
  Gauges memory = gauge("inazuma_model_memory_bytes", "Bytes of a model's weights on its device");
  Histograms duration = histogram("inazuma_request_duration_seconds", "Time from reading a request to its answer");
  Histograms queue_wait = histogram("inazuma_queue_wait_seconds", "Time a request waited for the engine");
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
  prometheus::Gauge& inflight = gauge("inazuma_inflight_requests", "Inference requests accepted and not answered yet").Add({});
  prometheus::Gauge& resident = gauge("process_resident_memory_bytes", "Resident memory size in bytes").Add({});

  /// Adds what a count kept elsewhere grew by since it was last read. A reload begins again at 0.
  void follow(prometheus::Counter& counter, double now) {
    double& last = followed[&counter];
    counter.Increment(now >= last ? now - last : now);
    last = now;
  }
  std::mutex follow_mutex;  // two scrapes must not both add the difference
  std::map<prometheus::Counter*, double> followed;
};

Metrics::Metrics(std::vector<double> buckets) : families_(std::make_unique<Families>(std::move(buckets))) {}
Metrics::~Metrics() = default;

std::vector<double> Metrics::default_buckets() {
  return {0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 60};
}

void Metrics::count_request(const std::string& model, int64_t version, const Status& status, const Usage& usage, int items) {
  Families& f = *families_;
  const prometheus::Labels labels{{"model", model}, {"version", std::to_string(version)}};
  if (!status.ok()) {
    f.failure.Add({{"model", model}, {"version", std::to_string(version)}, {"reason", std::string(failure_reason(status.code()))}}).Increment();
    if (status.code() == StatusCode::cancelled) f.cancelled.Add({{"model", model}}).Increment();
    else if (status.code() == StatusCode::deadline_exceeded) f.deadline.Add({{"model", model}}).Increment();
    else f.rejected.Add({{"model", model}, {"reason", std::string(name(status.code()))}}).Increment();
    return;
  }
  f.success.Add(labels).Increment();
  f.count.Add(labels).Increment(items);
  f.request_us.Add(labels).Increment(micros(usage.total));
  f.queue_us.Add(labels).Increment(micros(usage.queue));
  f.input_us.Add(labels).Increment(micros(usage.tokenization));
  f.infer_us.Add(labels).Increment(micros(usage.inference));
  f.output_us.Add(labels).Increment(std::max(0.0, micros(usage.total - usage.queue - usage.tokenization - usage.inference - usage.validation)));
  f.duration.Add({{"model", model}}, f.buckets).Observe(seconds(usage.total));
  f.queue_wait.Add({{"model", model}}, f.buckets).Observe(seconds(usage.queue));
  f.prompt_tokens.Add({{"model", model}}).Increment(usage.prompt_tokens);
  f.generated_tokens.Add({{"model", model}}).Increment(usage.generated_tokens);
}

void Metrics::count_http(std::string_view route, std::string_view method, int code, std::chrono::duration<double> took) {
  Families& f = *families_;
  const std::string path(route);
  f.http.Add({{"route", path}, {"method", std::string(method)}, {"code", std::to_string(code)}}).Increment();
  f.http_duration.Add({{"route", path}}, f.buckets).Observe(took.count());
}

void Metrics::connections(int delta) { families_->connections.Increment(delta); }
void Metrics::inflight(int delta) { families_->inflight.Increment(delta); }

std::string Metrics::text(const RepositorySnapshot& snapshot) {
  Families& f = *families_;
  const auto write_version = [](Families& all, const std::string& id, const ServedVersion& version) {
    const std::string number = std::to_string(version.number);
    const prometheus::Labels labels{{"model", id}, {"version", number}};
    for (prometheus::Family<prometheus::Counter>* family : {&all.success, &all.count, &all.request_us, &all.queue_us, &all.input_us, &all.infer_us, &all.output_us}) family->Add(labels);
    for (const char* reason : {"REJECTED", "CANCELED", "BACKEND", "OTHER"}) all.failure.Add({{"model", id}, {"version", number}, {"reason", reason}});
    const EngineStats stats = version.backend->stats();
    all.pending.Add(labels).Set(stats.waiting);
    all.load_duration.Add(labels).Set(version.backend->info().load_seconds);
    inference::ModelStatistics statistics;
    version.backend->write_statistics(statistics);
    const std::lock_guard lock(all.follow_mutex);
    all.follow(all.executions.Add(labels), version.backend->info().text ? static_cast<double>(stats.steps_total) : static_cast<double>(statistics.execution_count()));
    const auto& cache = statistics.inference_stats();
    if (cache.cache_hit().count() + cache.cache_miss().count() == 0) return;
    constexpr double kMicro = 1e-3;
    all.follow(all.cache_hits.Add(labels), static_cast<double>(cache.cache_hit().count()));
    all.follow(all.cache_misses.Add(labels), static_cast<double>(cache.cache_miss().count()));
    all.follow(all.cache_hit_us.Add(labels), static_cast<double>(cache.cache_hit().ns()) * kMicro);
    all.follow(all.cache_miss_us.Add(labels), static_cast<double>(cache.cache_miss().ns()) * kMicro);
  };
  for (const ServedModel& model : snapshot.models) {
    const ServedVersion* version = model.current();
    for (ModelState state : {ModelState::loading, ModelState::ready, ModelState::failed})
      f.state.Add({{"model", model.id}, {"state", std::string(name(state))}}).Set(version != nullptr && name(version->state) == name(state) ? 1 : 0);
    for (const ServedVersion& one : model.versions)
      if (one.backend) write_version(f, model.id, one);
    if (version == nullptr || !version->backend || !version->backend->info().text) continue;
    const BackendInfo& info = version->backend->info();
    const EngineStats stats = version->backend->stats();
    f.load_seconds.Add({{"model", model.id}}).Set(info.load_seconds);
    f.memory.Add({{"model", model.id}, {"device", info.on_gpu ? "gpu" : "cpu"}}).Set(static_cast<double>(info.model.weight_bytes));
    f.running.Add({{"model", model.id}}).Set(stats.running);
    f.waiting.Add({{"model", model.id}}).Set(stats.waiting);
    f.kv_used.Add({{"model", model.id}}).Set(stats.kv_blocks_total == 0 ? 0 : static_cast<double>(stats.kv_blocks_used) / stats.kv_blocks_total);
    f.batch_rows.Add({{"model", model.id}}).Set(stats.steps_total == 0 ? 0 : static_cast<double>(stats.rows_total) / static_cast<double>(stats.steps_total));
  }
  f.resident.Set(resident_bytes());
  return prometheus::TextSerializer().Serialize(f.registry.Collect());
}

}  // namespace inazuma
