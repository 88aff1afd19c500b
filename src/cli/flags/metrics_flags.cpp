#include "cli/flags/metrics_flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>

#include "base/status.h"

namespace inazuma::cli {

void MetricsFlags::add_to(CLI::App& group) {
  group.add_option("--metrics-compat", compat, "Whose names /metrics has beside ours: triton, tei, tgi, vllm")
      ->envname("INAZUMA_METRICS_COMPAT")
      ->delimiter(',')
      ->check(CLI::IsMember({"triton", "tei", "tgi", "vllm", "none"}))
      ->default_str("triton");
  group.add_option("--metrics-buckets", buckets, "Bounds of latency histograms, seconds; 0.001,...,60")
      ->envname("INAZUMA_METRICS_BUCKETS")
      ->delimiter(',');
}

void MetricsFlags::apply(MetricsOptions& out) const {
  const auto wanted = [&](const char* name) { return std::find(compat.begin(), compat.end(), name) != compat.end(); };
  if (wanted("none") && compat.size() > 1)
    throw fail(StatusCode::invalid, "--metrics-compat: none goes with no other name");
  out.triton = wanted("triton");
  out.tei = wanted("tei");
  out.tgi = wanted("tgi");
  out.vllm = wanted("vllm");
  if (buckets.empty()) return;
  const bool ascending = std::adjacent_find(buckets.begin(), buckets.end(), std::greater_equal<>()) == buckets.end();
  const bool usable = std::all_of(buckets.begin(), buckets.end(), [](double b) { return std::isfinite(b) && b > 0; });
  if (!ascending || !usable || buckets.size() > 20)
    throw fail(StatusCode::invalid,
               "--metrics-buckets: must be at most 20 numbers above 0, each larger than the one before");
  out.buckets = buckets;
}

}  // namespace inazuma::cli
