// A driver's management library with two GPUs, of which the second knows less.
#include <cstdint>
#include <cstdio>

extern "C" {
int nvmlInit_v2() {
  return 0;
}
int nvmlShutdown() {
  return 0;
}
int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = 2;
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  *device = reinterpret_cast<void*>(static_cast<uintptr_t>(index + 1));
  return 0;
}
int nvmlDeviceGetUUID(void* device, char* uuid, unsigned length) {
  std::snprintf(uuid, length, "GPU-%d", static_cast<int>(reinterpret_cast<uintptr_t>(device) - 1));
  return 0;
}
int nvmlDeviceGetUtilizationRates(void*, unsigned* rates) {
  rates[0] = 75, rates[1] = 10;
  return 0;
}
int nvmlDeviceGetMemoryInfo(void*, unsigned long long* memory) {
  memory[0] = 1000, memory[1] = 400, memory[2] = 600;
  return 0;
}
struct MemoryWithReserve {
  unsigned version;
  unsigned long long total, reserved, free, used;
};
int nvmlDeviceGetMemoryInfo_v2(void* device, void* out) {
  auto* memory = static_cast<MemoryWithReserve*>(out);
  constexpr int kVersionMismatch = 25, kNotSupported = 3;
  if (memory->version != 0x2000028) return kVersionMismatch;  // as the header of the real one has it
  memory->total = 1000, memory->reserved = 150, memory->free = 400, memory->used = 450;
  return reinterpret_cast<uintptr_t>(device) == 1 ? 0 : kNotSupported;
}
int nvmlDeviceGetPowerUsage(void* device, unsigned* milliwatts) {
  constexpr int kNotSupported = 3;
  *milliwatts = 123'000;
  return reinterpret_cast<uintptr_t>(device) == 1 ? 0 : kNotSupported;
}
int nvmlDeviceGetTotalEnergyConsumption(void*, unsigned long long* millijoules) {
  *millijoules = 5'500;
  return 0;
}
}
