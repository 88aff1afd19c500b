// Which instruction sets this machine runs, and which of them to use.

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

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

// AMX: the processor has tiles of bf16, and the kernel lets this process use their registers (all its threads, from now
// on). ARCH_REQ_XCOMP_PERM of arch_prctl(2), for state component 18, tile data; since Linux 5.16.
bool tiles_are_permitted() {
  constexpr unsigned kBf16 = 1u << 22, kTiles = 1u << 24;
  constexpr int kRequest = 0x1023, kTileData = 18;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & (kBf16 | kTiles)) != (kBf16 | kTiles)) return false;
  return ::syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

// The compiler's check includes that the operating system saves the registers.
const std::array<Isa, 4>& isas() {
  static const std::array<Isa, 4> kIsas = [] {
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return std::array<Isa, 4>{Isa{"amx", &avx512::kTileKernels, avx512 && tiles_are_permitted()},
                              Isa{"avx512", &avx512::kKernels, avx512}, Isa{"avx2", &avx2::kKernels, avx2},
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
