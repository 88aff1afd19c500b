#include "tensor/device.h"

#include <charconv>

namespace inazuma {

std::string to_string(Device device) {
  return device.is_cpu() ? "cpu" : fmt::format("cuda:{}", device.index);
}

Result<Device> parse_device(std::string_view text) {
  if (text == "cpu") return Device::cpu();
  if (text == "cuda") return Device::cuda(0);
  if (text.starts_with("cuda:")) {
    const std::string_view digits = text.substr(5);
    int index = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (error == std::errc() && end == digits.data() + digits.size() && index >= 0) return Device::cuda(index);
  }
  return Status(StatusCode::invalid,
                fmt::format("device {} is not known; use auto, cpu, cuda or cuda:N", quoted(text)));
}

}  // namespace inazuma
