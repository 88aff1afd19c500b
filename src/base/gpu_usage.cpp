#include "base/gpu_usage.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "base/log.h"

namespace inazuma {

namespace {

// NVML's interface as its reference documents it: 0 is success, handles are opaque.
using Device = void*;
using Utilization = unsigned[2];       // nvmlUtilization_t: of the GPU and of its memory, percent
using Memory = unsigned long long[3];  // nvmlMemory_t: total, free, used bytes; some of those used are the driver's own
constexpr unsigned kUuidSize = 96;     // NVML_DEVICE_UUID_V2_BUFFER_SIZE
constexpr double kMilli = 1e-3;

template <class T>
std::optional<double> ask(int (*function)(Device, T*), Device device, double unit) {
  T value{};
  if (function == nullptr || function(device, &value) != 0) return std::nullopt;
  return static_cast<double>(value) * unit;
}

}  // namespace

struct GpuUsageReader::Library {
  struct MemoryApart {  // nvmlMemory_v2_t, of drivers from 510 on: the driver's own stands apart
    unsigned version = sizeof(MemoryApart) | 2u << 24;
    unsigned long long total = 0, reserved = 0, free = 0, used = 0;
  };

  void* handle = nullptr;
  int (*shut_down)() = nullptr;
  int (*count)(unsigned*) = nullptr;
  int (*by_index)(unsigned, Device*) = nullptr;
  int (*uuid)(Device, char*, unsigned) = nullptr;
  int (*utilization)(Device, unsigned*) = nullptr;
  int (*memory)(Device, unsigned long long*) = nullptr;
  int (*memory_apart)(Device, void*) = nullptr;  // of MemoryApart
  int (*power)(Device, unsigned*) = nullptr;
  int (*power_limit)(Device, unsigned*) = nullptr;
  int (*energy)(Device, unsigned long long*) = nullptr;

  ~Library() {
    if (shut_down != nullptr) shut_down();
    if (handle != nullptr) dlclose(handle);
  }
  /// What is wrong with it; "" when it works.
  std::string open(const std::string& name) {
    handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) return dlerror();
    int (*start)() = nullptr;
    if (!find(start, "nvmlInit_v2") || !find(count, "nvmlDeviceGetCount_v2") ||
        !find(by_index, "nvmlDeviceGetHandleByIndex_v2") || !find(uuid, "nvmlDeviceGetUUID"))
      return name + " lacks functions that NVML has";
    if (const int code = start(); code != 0) return fmt::format("NVML does not start (code {})", code);
    find(shut_down, "nvmlShutdown");
    find(utilization, "nvmlDeviceGetUtilizationRates");
    find(memory, "nvmlDeviceGetMemoryInfo");
    find(memory_apart, "nvmlDeviceGetMemoryInfo_v2");
    find(power, "nvmlDeviceGetPowerUsage");
    find(power_limit, "nvmlDeviceGetEnforcedPowerLimit");
    find(energy, "nvmlDeviceGetTotalEnergyConsumption");
    return "";
  }
  template <class Function>
  bool find(Function& function, const char* name) {
    function = reinterpret_cast<Function>(dlsym(handle, name));
    return function != nullptr;
  }
};

GpuUsageReader::GpuUsageReader(const std::string& library) : library_(std::make_unique<Library>()) {
  const std::string problem = library_->open(library);
  if (problem.empty()) return;
  library_.reset();
  log::debug("no GPU metrics", {{"reason", problem}});
}

GpuUsageReader::~GpuUsageReader() = default;

std::vector<GpuUsage> GpuUsageReader::read() const {
  std::vector<GpuUsage> out;
  unsigned count = 0;
  if (!library_ || library_->count(&count) != 0) return out;
  for (unsigned i = 0; i < count; ++i) {
    Device device = nullptr;
    char uuid[kUuidSize] = "";
    if (library_->by_index(i, &device) != 0 || library_->uuid(device, uuid, kUuidSize) != 0) continue;
    GpuUsage& one = out.emplace_back();
    one.uuid = uuid;
    if (Utilization busy{}; library_->utilization != nullptr && library_->utilization(device, busy) == 0)
      one.utilization = busy[0] / 100.0;
    if (Library::MemoryApart apart; library_->memory_apart != nullptr && library_->memory_apart(device, &apart) == 0) {
      one.memory_total = static_cast<double>(apart.total);
      one.memory_used = static_cast<double>(apart.used);
    } else if (Memory memory{}; library_->memory != nullptr && library_->memory(device, memory) == 0) {
      one.memory_total = static_cast<double>(memory[0]);
      one.memory_used = static_cast<double>(memory[2]);
    }
    one.power = ask(library_->power, device, kMilli);
    one.power_limit = ask(library_->power_limit, device, kMilli);
    one.energy = ask(library_->energy, device, kMilli);
  }
  return out;
}

}  // namespace inazuma
