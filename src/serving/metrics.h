#pragma once
// Counts for dashboards: Triton's names with Triton's meanings, and our own family.

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serving/repository.h"

namespace inazuma {

/// --allow-cpu-metrics and its kin, the settings of --metrics-config, --metrics-compat and --metrics-buckets.
struct MetricsOptions {
  bool cpu = true, gpu = true;               ///< nv_cpu_*, nv_gpu_*
  std::chrono::milliseconds interval{2000};  ///< between two samples of these
  bool counters = true;                      ///< counter_latencies: nv_inference_*_duration_us, nv_cache_*
  bool histograms = false;                   ///< histogram_latencies: nv_inference_first_response_histogram_ms
  bool summaries = false;                    ///< summary_latencies: nv_inference_*_summary_us
  std::vector<std::pair<double, double>> quantiles = {
      {0.5, 0.05}, {0.9, 0.01}, {0.95, 0.001}, {0.99, 0.001}, {0.999, 0.001}};  ///< quantile, allowed error
  bool triton = true;                                                           ///< nv_*
  bool tei = false, tgi = false, vllm = false;                                  ///< te_*, tgi_*, vllm:*
  /// Bounds of latency histograms, seconds, ascending.
  std::vector<double> buckets = {0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15,
                                 0.25,  0.5,   1,     2,    5,    10,   20,   40,    60};
};

/// Who is counted. The configuration is only looked at when its series begin.
struct CountedModel {
  std::string id;
  int64_t version = 1;
  std::shared_ptr<const TensorModel> tensors;  ///< null: takes no tensors

  static CountedModel of(const Backend& backend, int64_t version);
};

constexpr const char* kFirstResponseHistogram = "nv_inference_first_response_histogram_ms";
/// Histograms whose buckets a configuration may set (model_metrics), in their own unit.
const std::vector<std::string>& bucketed_histograms();
/// Those that the model's configuration sets for a family; empty = none.
std::vector<double> configured_buckets(const CountedModel& model, std::string_view family);

/// Thread-safe. Label values are bounded: model names known to the server and their tags, route templates, fixed words.
class Metrics {
 public:
  explicit Metrics(MetricsOptions options = {});
  ~Metrics();

  /// One ended inference request. `items` = inputs it held (rows of a tensor request's batch; 0 = answered from the
  /// cache).
  void count_request(const CountedModel& model, const Status& status, const Usage& usage, int items);
  /// The first answer of a decoupled model's request.
  void first_response(const CountedModel& model, Clock::duration took);
  void count_http(std::string_view route, std::string_view method, int code, std::chrono::duration<double> took);
  void connections(int delta);
  void inflight(int delta);

  /// Prometheus text 0.0.4 (see metrics/openmetrics.h for the other), engine gauges read from `snapshot` now.
  std::string text(const RepositorySnapshot& snapshot);

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

}  // namespace inazuma
