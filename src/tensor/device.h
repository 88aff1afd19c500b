#pragma once
// Where memory lives and work is done, as values that are passed explicitly.

#include <string>
#include <string_view>

#include "base/status.h"

namespace inazuma {

struct Device {
  enum class Kind { cpu, cuda };
  Kind kind = Kind::cpu;
  int index = 0;

  static Device cpu() { return {}; }
  static Device cuda(int index) { return {Kind::cuda, index}; }
  bool is_cpu() const { return kind == Kind::cpu; }
  bool operator==(const Device&) const = default;
};

/// "cpu", "cuda:1"
std::string to_string(Device device);
/// "cpu", "cuda", "cuda:1"; anything else is Error-free Status invalid.
Result<Device> parse_device(std::string_view text);

/// Ordered work on one device. The CPU has one implicit stream; on a GPU `native` is the cudaStream_t.
struct Stream {
  Device device;
  void* native = nullptr;
};

}  // namespace inazuma
