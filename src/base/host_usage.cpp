#include "base/host_usage.h"

#include <array>
#include <fstream>
#include <limits>
#include <string>

namespace inazuma {

HostUsage read_host_usage() {
  HostUsage out;
  // "cpu user nice system idle iowait irq softirq steal": what a guest used is inside user already.
  std::ifstream stat("/proc/stat");
  std::string word;
  std::array<uint64_t, 8> ticks{};
  stat >> word;
  for (uint64_t& one : ticks)
    if (stat >> one) out.all_ticks += one;
  out.busy_ticks = out.all_ticks - ticks[3] - ticks[4];

  std::ifstream memory("/proc/meminfo");
  constexpr double kKibi = 1024;
  double kibibytes = 0, available = 0;
  while (memory >> word >> kibibytes) {
    if (word == "MemTotal:") out.memory_total = kibibytes * kKibi;
    if (word == "MemAvailable:") available = kibibytes * kKibi;
    memory.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  out.memory_used = out.memory_total - available;
  return out;
}

}  // namespace inazuma
