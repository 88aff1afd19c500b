#pragma once
// nv_cpu_* and nv_gpu_*: what the machine does, sampled at an interval by a thread of its own.

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "base/gpu_usage.h"
#include "base/host_usage.h"

namespace inazuma {

/// Families of GPUs exist where there are some. The first sample is taken at once; the utilization of the processors is
/// that of the time between two samples.
class MachineGauges {
 public:
  MachineGauges(prometheus::Registry& registry, bool cpu, bool gpu, std::chrono::milliseconds interval);
  ~MachineGauges();

 private:
  struct Cpu {
    explicit Cpu(prometheus::Registry& registry);
    void sample();
    prometheus::Gauge &utilization, &total, &used;
    HostUsage last = read_host_usage();
  };
  struct Gpus {
    Gpus(prometheus::Registry& registry, std::unique_ptr<GpuUsageReader> with);
    void sample();
    std::unique_ptr<GpuUsageReader> reader;
    prometheus::Family<prometheus::Gauge>&utilization, &total, &used, &power, &limit;
    prometheus::Family<prometheus::Counter>& energy;
    std::map<std::string, double> joules;  // as last read; the driver counts from its own start
  };

  std::optional<Cpu> cpu_;
  std::optional<Gpus> gpus_;
  std::mutex mutex_;
  std::condition_variable ended_changed_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace inazuma
