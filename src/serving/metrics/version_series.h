#pragma once
// Triton's series of model versions (nv_inference_*, nv_cache_*, nv_model_load_duration_secs): they come with a version
// and go with it.

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/summary.h>

#include <array>
#include <map>
#include <shared_mutex>
#include <string>

#include "serving/metrics.h"

namespace inazuma {

/// Thread-safe.
class VersionSeries {
 public:
  VersionSeries(prometheus::Registry& registry, const MetricsOptions& options);

  void count(const CountedModel& model, const Status& status, const Usage& usage, int items);
  void first_response(const CountedModel& model, Clock::duration took);
  /// Brings the series up to date with what is served.
  void write(const RepositorySnapshot& snapshot);

 private:
  using Key = std::pair<std::string, int64_t>;  // model, version
  using Counters = prometheus::Family<prometheus::Counter>*;
  using Summaries = prometheus::Family<prometheus::Summary>*;
  static constexpr size_t kDurations = 5;  // request, queue, compute input, infer, output
  static constexpr size_t kReasons = 4;
  static constexpr size_t kCache = 4;  // hits, misses, their durations

  // Null where the flags or the model want none.
  struct One {
    std::string described;  // what of its configuration decides which series there are
    prometheus::Counter *success, *count, *executions;
    prometheus::Gauge *pending, *load_duration;
    std::array<prometheus::Counter*, kReasons> failures{};
    std::array<prometheus::Counter*, kDurations> durations{};
    std::array<prometheus::Summary*, kDurations> summaries{};
    std::array<prometheus::Counter*, kCache> cache{};
    std::array<prometheus::Summary*, 2> cache_summaries{};  // hit, miss
    prometheus::Histogram* first_response = nullptr;
  };

  One& add(const CountedModel& model);  // these need the mutex, exclusively
  void remove(One& one);
  void follow(prometheus::Counter* counter, double now);
  template <class Use>
  void with(const CountedModel& model, Use&& use);

  MetricsOptions options_;
  prometheus::Summary::Quantiles quantiles_;
  Counters success_, count_, executions_, failure_;
  prometheus::Family<prometheus::Gauge>*pending_, *load_duration_;
  std::array<Counters, kDurations> durations_{};
  std::array<Summaries, kDurations> summaries_{};
  std::array<Counters, kCache> cache_{};
  std::array<Summaries, 2> cache_summaries_{};
  prometheus::Family<prometheus::Histogram>* first_response_ = nullptr;
  std::shared_mutex mutex_;
  std::map<Key, One> series_;
  std::map<prometheus::Counter*, double> followed_;
};

}  // namespace inazuma
