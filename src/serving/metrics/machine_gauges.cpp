#include "serving/metrics/machine_gauges.h"

namespace inazuma {

namespace {

prometheus::Family<prometheus::Gauge>& gauge(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

}  // namespace

MachineGauges::Cpu::Cpu(prometheus::Registry& registry)
    : utilization(gauge(registry, "nv_cpu_utilization", "CPU utilization rate [0.0 - 1.0]").Add({})),
      total(gauge(registry, "nv_cpu_memory_total_bytes", "CPU total memory (RAM), in bytes").Add({})),
      used(gauge(registry, "nv_cpu_memory_used_bytes", "CPU used memory (RAM), in bytes").Add({})) {}

void MachineGauges::Cpu::sample() {
  const HostUsage before = std::exchange(last, read_host_usage());
  const auto passed = static_cast<double>(last.all_ticks - before.all_ticks);
  utilization.Set(passed > 0 ? static_cast<double>(last.busy_ticks - before.busy_ticks) / passed : 0);
  total.Set(last.memory_total);
  used.Set(last.memory_used);
}

MachineGauges::Gpus::Gpus(prometheus::Registry& registry, std::unique_ptr<GpuUsageReader> with)
    : reader(std::move(with)),
      utilization(gauge(registry, "nv_gpu_utilization", "GPU utilization rate [0.0 - 1.0)")),
      total(gauge(registry, "nv_gpu_memory_total_bytes", "GPU total memory, in bytes")),
      used(gauge(registry, "nv_gpu_memory_used_bytes", "GPU used memory, in bytes")),
      power(gauge(registry, "nv_gpu_power_usage", "GPU power usage in watts")),
      limit(gauge(registry, "nv_gpu_power_limit", "GPU power management limit in watts")),
      energy(prometheus::BuildCounter()
                 .Name("nv_energy_consumption")
                 .Help("GPU energy consumption in joules since the server started")
                 .Register(registry)) {}

void MachineGauges::Gpus::sample() {
  for (const GpuUsage& gpu : reader->read()) {
    const prometheus::Labels labels{{"gpu_uuid", gpu.uuid}};
    const auto set = [&](prometheus::Family<prometheus::Gauge>& family, const std::optional<double>& value) {
      if (value) family.Add(labels).Set(*value);
    };
    set(utilization, gpu.utilization);
    set(total, gpu.memory_total);
    set(used, gpu.memory_used);
    set(power, gpu.power);
    set(limit, gpu.power_limit);
    if (!gpu.energy) continue;
    const auto [last, first] = joules.emplace(gpu.uuid, *gpu.energy);
    // A driver that was loaded again counts from 0.
    energy.Add(labels).Increment(*gpu.energy >= last->second ? *gpu.energy - last->second : *gpu.energy);
    last->second = *gpu.energy;
  }
}

MachineGauges::MachineGauges(prometheus::Registry& registry, bool cpu, bool gpu, std::chrono::milliseconds interval) {
  if (cpu) cpu_.emplace(registry);
  if (gpu)
    if (auto reader = std::make_unique<GpuUsageReader>(); !reader->read().empty())
      gpus_.emplace(registry, std::move(reader));
  if (!cpu_ && !gpus_) return;
  const auto sample = [this] {
    if (cpu_) cpu_->sample();
    if (gpus_) gpus_->sample();
  };
  sample();
  thread_ = std::thread([this, interval, sample] {
    std::unique_lock lock(mutex_);
    while (!ended_changed_.wait_for(lock, interval, [this] { return ended_; })) sample();
  });
}

MachineGauges::~MachineGauges() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  ended_changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

}  // namespace inazuma
