#pragma once
// What the NVIDIA GPUs of this machine are doing, from the driver's management library (NVML API Reference Guide,
// "Device Queries"). The library is part of the driver: it is looked for when the program runs, and machines without
// one have no GPUs to tell of.

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace inazuma {

/// One GPU; what its driver does not know is absent.
struct GpuUsage {
  std::string uuid;
  std::optional<double> utilization;                ///< share of the time in which a kernel ran, 0 to 1
  std::optional<double> memory_total, memory_used;  ///< bytes
  std::optional<double> power, power_limit;         ///< watts
  std::optional<double> energy;                     ///< joules since the driver was loaded
};

class GpuUsageReader {
 public:
  explicit GpuUsageReader(const std::string& library = "libnvidia-ml.so.1");
  ~GpuUsageReader();
  /// All GPUs of the machine; none where the library is missing or cannot start.
  std::vector<GpuUsage> read() const;

 private:
  struct Library;
  std::unique_ptr<Library> library_;
};

}  // namespace inazuma
