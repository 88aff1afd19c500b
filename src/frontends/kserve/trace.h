#pragma once
// Triton's trace extension: settings, global and by model, that clients may read and change, and the files into which
// traced requests are written.

#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "frontends/shared_value.h"
#include "serving/trace.h"

namespace inazuma::kserve {

/// trace_file, trace_level, trace_rate, trace_count, log_frequency, trace_mode.
using TraceValues = std::map<std::string, std::vector<std::string>>;

class TraceFile;

/// Every `trace_rate`th request is traced until `trace_count` of them are (-1: without end). Traces go to `trace_file`,
/// or, with a `log_frequency` of N above 0, to `trace_file`.0, .1, … with N in each. Each file is a JSON array, whole
/// after every trace.
class Tracer {
 public:
  /// `start`: what --trace-config says. invalid: as `update`, and a level without a file. unavailable: the file cannot
  /// be written. Thrown as Error.
  explicit Tracer(const TraceValues& start = {});
  ~Tracer();

  /// All or nothing. An empty list clears a model's own value, or brings the global default back. `model` "" = global.
  /// unsupported: trace_file. invalid: unknown names, values that are no numbers or out of range, more than one for a
  /// scalar, a level where there is no trace file.
  Status update(const std::string& model, const TraceValues& changes);
  /// trace_count is what is left of it.
  TraceValues get(const std::string& model) const;

  /// Null for most requests: those that are not traced.
  std::shared_ptr<RequestTrace> begin(const std::string& model);

 private:
  using Count = std::shared_ptr<std::atomic<int64_t>>;
  struct Scope {
    TraceValues own;  ///< trace_count as it was set
    Count requests;   ///< seen, for the rate
    Count left;       ///< of trace_count, -1 = without end; null where the scope has none of its own
  };
  struct Rules;  ///< the settings as requests need them: read once, when they change
  TraceValues values_of(const Scope* scope) const;
  void make_rules();

  mutable std::mutex mutex_;  // of the settings; requests do not take it
  Scope global_;
  std::map<std::string, Scope> models_;  ///< with values of their own
  std::shared_ptr<TraceFile> file_;      ///< null: nothing can be traced
  SharedValue<Rules> rules_;
  std::atomic<bool> any_ = false;  ///< some level is not OFF
};

/// `trace` may be null.
inline void stamp(const std::shared_ptr<RequestTrace>& trace, std::string_view name,
                  Clock::time_point at = Clock::now()) {
  if (trace) trace->stamp(name, at);
}

}  // namespace inazuma::kserve
