// Which instruction sets this machine runs, and which of them to use.

#include <array>
#include <cstdlib>

#include "kernels/cpu/cpu_ops.h"

namespace inazuma {

namespace {

struct Isa {
  std::string_view name;
  const Kernels* kernels;
  bool available;
};

// The compiler's check includes that the operating system saves the registers.
const std::array<Isa, 3>& isas() {
  static const std::array<Isa, 3> kIsas = [] {
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return std::array<Isa, 3>{Isa{"avx512", &avx512::kKernels, avx512}, Isa{"avx2", &avx2::kKernels, avx2},
                              Isa{"baseline", &baseline::kKernels, true}};
  }();
  return kIsas;
}

}  // namespace

std::span<const std::string_view> available_cpu_isas() {
  static const std::vector<std::string_view> kNames = [] {
    std::vector<std::string_view> names;
    for (const Isa& isa : isas())
      if (isa.available) names.push_back(isa.name);
    return names;
  }();
  return kNames;
}

Result<std::unique_ptr<Ops>> make_cpu_ops(const CpuOptions& options) {
  constexpr int kMostThreads = 1024;
  if (options.threads < 0 || options.threads > kMostThreads)
    return Status(StatusCode::invalid,
                  fmt::format("{} CPU threads asked for; use 0 (one per core) to {}", options.threads, kMostThreads));
  std::string wanted = options.isa;
  std::string_view source = "option";
  if (const char* variable = std::getenv("INAZUMA_CPU_ISA"); wanted.empty() && variable != nullptr) {
    wanted = variable;
    source = "INAZUMA_CPU_ISA";
  }
  for (const Isa& isa : isas())
    if (isa.available && (wanted.empty() || wanted == isa.name))
      return capture([&]() -> std::unique_ptr<Ops> { return std::make_unique<CpuOps>(*isa.kernels, options.threads); });
  return Status(StatusCode::invalid, fmt::format("CPU instruction set {} ({}) is not available here; use one of {}",
                                                 quoted(wanted), source, fmt::join(available_cpu_isas(), ", ")));
}

}  // namespace inazuma
