#pragma once
// Counts for dashboards: Triton's names with Triton's meanings (shared/reference: triton-protocol), and our own family.

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serving/repository.h"

namespace inazuma {

struct MetricsOptions {
  bool cpu = true, gpu = true;  ///< --allow-cpu-metrics, --allow-gpu-metrics: nv_cpu_*, nv_gpu_*
};

/// Thread-safe. Label values are bounded: model names known to the server, route templates, fixed words.
class Metrics {
 public:
  explicit Metrics(MetricsOptions options = {});
  ~Metrics();

  /// One ended inference request. `items` = inputs it held (rows of a tensor request's batch; 0 = answered from the
  /// cache).
  void count_request(const std::string& model, int64_t version, const Status& status, const Usage& usage, int items);
  void count_http(std::string_view route, std::string_view method, int code, std::chrono::duration<double> took);
  void connections(int delta);
  void inflight(int delta);

  /// Prometheus text 0.0.4, engine gauges read from `snapshot` now.
  std::string text(const RepositorySnapshot& snapshot);

 private:
  void write_versions(const RepositorySnapshot& snapshot);
  struct Families;
  std::unique_ptr<Families> families_;
};

}  // namespace inazuma
