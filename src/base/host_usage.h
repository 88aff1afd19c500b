#pragma once
// What this machine is doing, read from procfs.

#include <cstdint>

namespace inazuma {

struct HostUsage {
  uint64_t busy_ticks = 0, all_ticks = 0;  ///< of all cores together since the machine started
  double memory_total = 0;                 ///< bytes
  double memory_used = 0;                  ///< bytes: total less what is available
};

/// Zeros where procfs cannot be read.
HostUsage read_host_usage();

}  // namespace inazuma
