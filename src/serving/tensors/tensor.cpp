#include "serving/tensors/tensor.h"

#include <array>
#include <cstring>

namespace inazuma {

namespace {

struct TypeRow {
  std::string_view name;
  size_t size;
};
// In the order of DataType.
constexpr std::array<TypeRow, 15> kTypes{{{"INVALID", 0},
                                          {"BOOL", 1},
                                          {"UINT8", 1},
                                          {"UINT16", 2},
                                          {"UINT32", 4},
                                          {"UINT64", 8},
                                          {"INT8", 1},
                                          {"INT16", 2},
                                          {"INT32", 4},
                                          {"INT64", 8},
                                          {"FP16", 2},
                                          {"FP32", 4},
                                          {"FP64", 8},
                                          {"BYTES", 0},
                                          {"BF16", 2}}};

constexpr size_t kLengthBytes = 4;

}  // namespace

std::string_view wire_name(DataType type) {
  return kTypes[static_cast<size_t>(type)].name;
}

std::optional<DataType> parse_data_type(std::string_view wire_name) {
  for (size_t i = 1; i < kTypes.size(); ++i)
    if (kTypes[i].name == wire_name) return static_cast<DataType>(i);
  return std::nullopt;
}

size_t element_size(DataType type) {
  return kTypes[static_cast<size_t>(type)].size;
}

Result<int64_t> element_count(const std::vector<int64_t>& shape) {
  constexpr int64_t kMost = int64_t{1} << 62;
  int64_t product = 1;
  bool zero = false;
  for (const int64_t dim : shape) {
    if (dim < 0) return Status(StatusCode::invalid, fmt::format("shape {} has a negative dimension", show(shape)));
    if (dim == 0)
      zero = true;
    else if (product > kMost / dim)
      return Status(StatusCode::invalid, fmt::format("shape {} has more than 2^62 elements", show(shape)));
    else
      product *= dim;
  }
  return zero ? int64_t{0} : product;
}

std::string show(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ","));
}

Result<std::vector<std::string_view>> split_bytes(std::string_view raw, int64_t count) {
  std::vector<std::string_view> out;
  out.reserve(static_cast<size_t>(
      std::min<int64_t>(std::max<int64_t>(count, 0), static_cast<int64_t>(raw.size() / kLengthBytes))));
  size_t at = 0;
  while (at < raw.size()) {
    if (raw.size() - at < kLengthBytes)
      return Status(
          StatusCode::invalid,
          fmt::format("incomplete string length indicator: {} bytes left, a length takes 4", raw.size() - at));
    uint32_t length = 0;
    std::memcpy(&length, raw.data() + at, kLengthBytes);
    at += kLengthBytes;
    if (raw.size() - at < length)
      return Status(StatusCode::invalid,
                    fmt::format("incomplete string data: expected {} bytes, {} are left", length, raw.size() - at));
    if (static_cast<int64_t>(out.size()) == count)
      return Status(StatusCode::invalid,
                    fmt::format("unexpected number of string elements: more than the expected {}", count));
    out.push_back(raw.substr(at, length));
    at += length;
  }
  if (static_cast<int64_t>(out.size()) != count)
    return Status(StatusCode::invalid, fmt::format("expected {} string elements, got {}", count, out.size()));
  return out;
}

void append_bytes_element(std::string& raw, std::string_view element) {
  const auto length = static_cast<uint32_t>(element.size());
  raw.append(reinterpret_cast<const char*>(&length), kLengthBytes);
  raw.append(element);
}

std::string join_bytes(const std::vector<std::string>& elements) {
  std::string raw;
  for (const std::string& element : elements) append_bytes_element(raw, element);
  return raw;
}

}  // namespace inazuma
