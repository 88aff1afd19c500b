#pragma once
// Series under the names that other servers give them, for dashboards made for those: te_* (text-embeddings-inference:
// texts that encoders read), tgi_* (text-generation-inference) and vllm:* (vLLM), both for generation. A label `model`
// (`model_name` for vLLM, as there) tells models apart. --metrics-compat chooses.

#include <prometheus/registry.h>

#include <memory>
#include <string>
#include <vector>

#include "serving/metrics.h"

namespace inazuma {

/// Thread-safe.
class PeerSeries {
 public:
  PeerSeries(prometheus::Registry& registry, const MetricsOptions& options);
  ~PeerSeries();

  /// One ended request of a text model; any other is passed over.
  void count(const std::string& model, const Status& status, const Usage& usage, int items);
  /// Brings the gauges up to date, and begins the series of models that have none yet.
  void write(const RepositorySnapshot& snapshot);
  /// The histograms that engines keep themselves (sizes of their steps).
  std::vector<prometheus::MetricFamily> steps(const RepositorySnapshot& snapshot) const;

 private:
  struct Embedding;
  struct Generation;
  struct Vllm;
  std::unique_ptr<Embedding> embedding_;  // null where not asked for
  std::unique_ptr<Generation> generation_;
  std::unique_ptr<Vllm> vllm_;
};

/// A histogram family with one member a text model: the sizes `sizes` of its steps.
prometheus::MetricFamily step_sizes(const std::string& name, const std::string& help, const std::string& label,
                                    const RepositorySnapshot& snapshot, SizeCounts EngineStats::*sizes);

}  // namespace inazuma
