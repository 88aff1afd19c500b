#include "serving/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <grpc_service.pb.h>
#include <model_config.pb.h>

#include <array>
#include <fstream>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "base/gpu_usage.h"
#include "base/host_usage.h"
#include "base/version.h"

namespace inazuma {

namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;

// Triton's reasons, in the order of Series::failures.
constexpr std::array<const char*, 4> kReasons = {"REJECTED", "CANCELED", "BACKEND", "OTHER"};

size_t failure_reason(StatusCode code) {
  switch (code) {
    case StatusCode::overloaded:
    case StatusCode::deadline_exceeded: return 0;
    case StatusCode::cancelled: return 1;
    case StatusCode::internal:
    case StatusCode::out_of_memory: return 2;
    default: return 3;
  }
}

double micros(Clock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}
double seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

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

  explicit Families(const MetricsOptions& options) {
    if (options.cpu) cpu.emplace(*this);
    if (options.gpu)
      if (auto reader = std::make_unique<GpuUsageReader>(); !reader->read().empty())
        gpus.emplace(*this, std::move(reader));
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

  // Present when asked for; those of GPUs, also where there are some.
  struct Cpu {
    explicit Cpu(Families& f)
        : utilization(f.gauge("nv_cpu_utilization", "CPU utilization rate [0.0 - 1.0]").Add({})),
          total(f.gauge("nv_cpu_memory_total_bytes", "CPU total memory (RAM), in bytes").Add({})),
          used(f.gauge("nv_cpu_memory_used_bytes", "CPU used memory (RAM), in bytes").Add({})) {}
    void write() {
      const HostUsage before = std::exchange(last, read_host_usage());
      const auto passed = static_cast<double>(last.all_ticks - before.all_ticks);
      utilization.Set(passed > 0 ? static_cast<double>(last.busy_ticks - before.busy_ticks) / passed : 0);
      total.Set(last.memory_total);
      used.Set(last.memory_used);
    }
    prometheus::Gauge &utilization, &total, &used;
    HostUsage last = read_host_usage();  // of the scrape before: utilization is that of the time between
  };
  struct Gpus {
    Gpus(Families& f, std::unique_ptr<GpuUsageReader> r)
        : reader(std::move(r)),
          utilization(f.gauge("nv_gpu_utilization", "GPU utilization rate [0.0 - 1.0)")),
          total(f.gauge("nv_gpu_memory_total_bytes", "GPU total memory, in bytes")),
          used(f.gauge("nv_gpu_memory_used_bytes", "GPU used memory, in bytes")),
          power(f.gauge("nv_gpu_power_usage", "GPU power usage in watts")),
          limit(f.gauge("nv_gpu_power_limit", "GPU power management limit in watts")),
          energy(f.counter("nv_energy_consumption", "GPU energy consumption in joules since the server started")) {
      for (const GpuUsage& gpu : reader->read())  // the driver counts from its own start
        if (gpu.energy) f.followed[&energy.Add({{"gpu_uuid", gpu.uuid}})] = *gpu.energy;
    }
    void write(Families& f) {
      for (const GpuUsage& gpu : reader->read()) {
        const prometheus::Labels labels{{"gpu_uuid", gpu.uuid}};
        const auto set = [&](Gauges gauge, const std::optional<double>& value) {
          if (value) gauge.Add(labels).Set(*value);
        };
        set(utilization, gpu.utilization);
        set(total, gpu.memory_total);
        set(used, gpu.memory_used);
        set(power, gpu.power);
        set(limit, gpu.power_limit);
        if (gpu.energy) f.follow(energy.Add(labels), *gpu.energy);
      }
    }
    std::unique_ptr<GpuUsageReader> reader;
    Gauges utilization, total, used, power, limit;
    Counters energy;
  };

  prometheus::Registry registry;
  // Bounds of latency histograms, seconds.
  const std::vector<double> buckets = {0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15,
                                       0.25,  0.5,   1,     2,    5,    10,   20,   40,    60};

  Counters success =
      counter("nv_inference_request_success", "Number of successful inference requests, all batch sizes");
  Counters failure = counter("nv_inference_request_failure", "Number of failed inference requests, all batch sizes");
  Counters count = counter("nv_inference_count", "Number of inferences performed");
  Counters executions = counter("nv_inference_exec_count", "Number of model executions performed");
  Gauges pending =
      gauge("nv_inference_pending_request_count", "Instantaneous number of pending requests awaiting execution");
  Counters request_us =
      counter("nv_inference_request_duration_us", "Cumulative inference request duration in microseconds");
  Counters queue_us =
      counter("nv_inference_queue_duration_us", "Cumulative inference queuing duration in microseconds");
  Counters input_us = counter("nv_inference_compute_input_duration_us",
                              "Cumulative compute input duration in microseconds (tokenization)");
  Counters infer_us =
      counter("nv_inference_compute_infer_duration_us", "Cumulative compute inference duration in microseconds");
  Counters output_us = counter("nv_inference_compute_output_duration_us",
                               "Cumulative compute output duration in microseconds (making the answer)");

  Counters cache_hits = counter("nv_cache_num_hits_per_model", "Number of cache hits per model");
  Counters cache_misses = counter("nv_cache_num_misses_per_model", "Number of cache misses per model");
  Counters cache_hit_us =
      counter("nv_cache_hit_duration_per_model", "Total cache hit duration per model, in microseconds");
  Counters cache_miss_us =
      counter("nv_cache_miss_duration_per_model", "Total cache miss duration per model, in microseconds");
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
  prometheus::Gauge& inflight =
      gauge("inazuma_inflight_requests", "Inference requests accepted and not answered yet").Add({});
  prometheus::Gauge& resident = gauge("process_resident_memory_bytes", "Resident memory size in bytes").Add({});

  std::optional<Cpu> cpu;
  std::optional<Gpus> gpus;

  using Key = std::pair<std::string, int64_t>;  // model, version

  // The series of one model version, looked up once a request and not once a number. They go when the version does.
  struct Series {
    prometheus::Counter &success, &count, &request_us, &queue_us, &input_us, &infer_us, &output_us, &executions;
    prometheus::Gauge &pending, &load_duration;
    std::array<prometheus::Counter*, kReasons.size()> failures;
    prometheus::Counter *hits = nullptr, *misses = nullptr, *hit_us = nullptr, *miss_us = nullptr;  // cached models
    prometheus::Histogram &duration, &queue_wait;  // of the model, all versions
    prometheus::Counter &prompt_tokens, &generated_tokens;
  };
  std::shared_mutex series_mutex;
  std::map<Key, Series> series;

  // Needs series_mutex, exclusively.
  Series& add_series(const std::string& model, int64_t version) {
    if (const auto found = series.find({model, version}); found != series.end()) return found->second;
    const prometheus::Labels labels{{"model", model}, {"version", std::to_string(version)}}, whole{{"model", model}};
    Series one{.success = success.Add(labels),
               .count = count.Add(labels),
               .request_us = request_us.Add(labels),
               .queue_us = queue_us.Add(labels),
               .input_us = input_us.Add(labels),
               .infer_us = infer_us.Add(labels),
               .output_us = output_us.Add(labels),
               .executions = executions.Add(labels),
               .pending = pending.Add(labels),
               .load_duration = load_duration.Add(labels),
               .failures = {},
               .duration = duration.Add(whole, buckets),
               .queue_wait = queue_wait.Add(whole, buckets),
               .prompt_tokens = prompt_tokens.Add(whole),
               .generated_tokens = generated_tokens.Add(whole)};
    for (size_t i = 0; i < kReasons.size(); ++i) {
      prometheus::Labels with_reason = labels;
      with_reason["reason"] = kReasons[i];
      one.failures[i] = &failure.Add(with_reason);
    }
    return series.emplace(Key{model, version}, one).first->second;
  }

  void add_cache(Series& one, const Key& key) {
    if (one.hits != nullptr) return;
    const prometheus::Labels labels{{"model", key.first}, {"version", std::to_string(key.second)}};
    one.hits = &cache_hits.Add(labels);
    one.misses = &cache_misses.Add(labels);
    one.hit_us = &cache_hit_us.Add(labels);
    one.miss_us = &cache_miss_us.Add(labels);
  }

  // Needs series_mutex, exclusively. Series of a whole model stay: a reload goes on counting.
  void remove_series(const Series& one) {
    success.Remove(&one.success);
    count.Remove(&one.count);
    request_us.Remove(&one.request_us);
    queue_us.Remove(&one.queue_us);
    input_us.Remove(&one.input_us);
    infer_us.Remove(&one.infer_us);
    output_us.Remove(&one.output_us);
    followed.erase(&one.executions);
    executions.Remove(&one.executions);
    pending.Remove(&one.pending);
    load_duration.Remove(&one.load_duration);
    for (prometheus::Counter* counter : one.failures) failure.Remove(counter);
    if (one.hits == nullptr) return;
    for (prometheus::Counter* counter : {one.hits, one.misses, one.hit_us, one.miss_us}) followed.erase(counter);
    cache_hits.Remove(one.hits);
    cache_misses.Remove(one.misses);
    cache_hit_us.Remove(one.hit_us);
    cache_miss_us.Remove(one.miss_us);
  }

  // Calls `use` with the series while they cannot go.
  template <class Use>
  void with_series(const std::string& model, int64_t version, Use&& use) {
    {
      const std::shared_lock lock(series_mutex);
      if (const auto found = series.find({model, version}); found != series.end()) return use(found->second);
    }
    const std::unique_lock lock(series_mutex);
    use(add_series(model, version));
  }

  // Route, method and status to their counter and the route's histogram.
  struct Http {
    prometheus::Counter& requests;
    prometheus::Histogram& duration;
  };
  std::shared_mutex http_mutex;
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
  std::map<std::tuple<std::string, std::string, int>, Http, HttpOrder> http_series;

  /// Adds what a count kept elsewhere grew by since it was last read. A reload begins again at 0.
  void follow(prometheus::Counter& counter, double now) {
    double& last = followed[&counter];
    counter.Increment(now >= last ? now - last : now);
    last = now;
  }
  std::map<prometheus::Counter*, double> followed;  // needs series_mutex, exclusively: two scrapes must not both add
};

Metrics::Metrics(MetricsOptions options) : families_(std::make_unique<Families>(options)) {}
Metrics::~Metrics() = default;

void Metrics::count_request(const std::string& model, int64_t version, const Status& status, const Usage& usage,
                            int items) {
  Families& f = *families_;
  if (!status.ok()) {
    if (!usage.refused)
      f.with_series(model, version,
                    [&](Families::Series& one) { one.failures[failure_reason(status.code())]->Increment(); });
    if (status.code() == StatusCode::cancelled)
      f.cancelled.Add({{"model", model}}).Increment();
    else if (status.code() == StatusCode::deadline_exceeded)
      f.deadline.Add({{"model", model}}).Increment();
    else
      f.rejected.Add({{"model", model}, {"reason", std::string(name(status.code()))}}).Increment();
    return;
  }
  f.with_series(model, version, [&](Families::Series& one) {
    one.success.Increment();
    one.count.Increment(items);
    one.request_us.Increment(micros(usage.total));
    one.queue_us.Increment(micros(usage.queue));
    one.input_us.Increment(micros(usage.tokenization));
    one.infer_us.Increment(micros(usage.inference));
    one.output_us.Increment(
        std::max(0.0, micros(usage.total - usage.queue - usage.tokenization - usage.inference - usage.validation)));
    one.duration.Observe(seconds(usage.total));
    one.queue_wait.Observe(seconds(usage.queue));
    one.prompt_tokens.Increment(usage.prompt_tokens);
    one.generated_tokens.Increment(usage.generated_tokens);
  });
}

void Metrics::count_http(std::string_view route, std::string_view method, int code,
                         std::chrono::duration<double> took) {
  Families& f = *families_;
  const auto count = [&](Families::Http& one) {
    one.requests.Increment();
    one.duration.Observe(took.count());
  };
  {
    const std::shared_lock lock(f.http_mutex);
    if (const auto found = f.http_series.find(std::tuple(route, method, code)); found != f.http_series.end())
      return count(found->second);
  }
  const std::string path(route), verb(method);
  const std::unique_lock lock(f.http_mutex);
  count(f.http_series
            .try_emplace({path, verb, code},
                         Families::Http{f.http.Add({{"route", path}, {"method", verb}, {"code", std::to_string(code)}}),
                                        f.http_duration.Add({{"route", path}}, f.buckets)})
            .first->second);
}

void Metrics::connections(int delta) {
  families_->connections.Increment(delta);
}
void Metrics::inflight(int delta) {
  families_->inflight.Increment(delta);
}

std::string Metrics::text(const RepositorySnapshot& snapshot) {
  Families& f = *families_;
  {
    const std::unique_lock lock(f.series_mutex);
    write_versions(snapshot);
    if (f.cpu) f.cpu->write();
    if (f.gpus) f.gpus->write(f);
  }
  for (const ServedModel& model : snapshot.models) {
    const ServedVersion* version = model.current();
    for (ModelState state : {ModelState::loading, ModelState::ready, ModelState::failed})
      f.state.Add({{"model", model.id}, {"state", std::string(name(state))}})
          .Set(version != nullptr && name(version->state) == name(state) ? 1 : 0);
    if (version == nullptr || !version->backend || !version->backend->info().text) continue;
    const BackendInfo& info = version->backend->info();
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
  return prometheus::TextSerializer().Serialize(f.registry.Collect());
}

// Brings the series of model versions up to date: those of versions that left go.
void Metrics::write_versions(const RepositorySnapshot& snapshot) {
  Families& f = *families_;
  std::erase_if(f.series, [&](const auto& entry) {
    const ServedModel* model = snapshot.find(entry.first.first);
    const ServedVersion* version = model == nullptr ? nullptr : model->find(entry.first.second);
    if (version != nullptr && version->backend) return false;
    f.remove_series(entry.second);
    return true;
  });
  for (const ServedModel& model : snapshot.models)
    for (const ServedVersion& version : model.versions) {
      if (!version.backend) continue;
      Families::Series& one = f.add_series(model.id, version.number);
      const EngineStats stats = version.backend->stats();
      one.pending.Set(stats.waiting);
      one.load_duration.Set(version.backend->info().load_seconds);
      inference::ModelStatistics statistics;
      version.backend->write_statistics(statistics);
      f.follow(one.executions, version.backend->info().text ? static_cast<double>(stats.steps_total)
                                                            : static_cast<double>(statistics.execution_count()));
      const auto& cache = statistics.inference_stats();
      const auto tensors = version.backend->tensor_model();
      if (!tensors || !tensors->config->response_cache().enable()) continue;
      f.add_cache(one, {model.id, version.number});
      constexpr double kMicro = 1e-3;
      f.follow(*one.hits, static_cast<double>(cache.cache_hit().count()));
      f.follow(*one.misses, static_cast<double>(cache.cache_miss().count()));
      f.follow(*one.hit_us, static_cast<double>(cache.cache_hit().ns()) * kMicro);
      f.follow(*one.miss_us, static_cast<double>(cache.cache_miss().ns()) * kMicro);
    }
}

}  // namespace inazuma
