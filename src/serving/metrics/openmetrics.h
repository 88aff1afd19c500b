#pragma once
// The other text format of dashboards.

#include <string>
#include <string_view>

namespace inazuma {

/// Prometheus text 0.0.4 as OpenMetrics 1.0.0 text. There a counter's samples must end in "_total"; series that do not
/// (Triton's names) keep their names and are of unknown type, for a dashboard finds them by name.
std::string openmetrics(std::string_view prometheus_text);

}  // namespace inazuma
