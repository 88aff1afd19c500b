#pragma once
// What /metrics shows beside our own series.

#include <string>
#include <vector>

#include "serving/metrics.h"

namespace CLI {
class App;
}

namespace inazuma::cli {

struct MetricsFlags {
  std::vector<std::string> compat = {"triton"};
  std::vector<double> buckets;  ///< seconds; empty = the usual ones

  void add_to(CLI::App& group);
  /// Writes into `out`. Throws Error(invalid), naming the flag.
  void apply(MetricsOptions& out) const;
};

}  // namespace inazuma::cli
