#include "serving/tensors/classify.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace inazuma {

namespace {

constexpr int64_t kMostElements = 1'000'000;

template <class T>
void append_best(std::string& raw, std::string_view data, int64_t begin, int64_t classes, int64_t kept,
                 const std::vector<std::string>& labels) {
  std::vector<T> values(static_cast<size_t>(classes));
  std::memcpy(values.data(), data.data() + static_cast<size_t>(begin) * sizeof(T), values.size() * sizeof(T));
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  // NaN has no order of its own: last.
  const auto better = [&](int64_t a, int64_t b) {
    const T x = values[static_cast<size_t>(a)], y = values[static_cast<size_t>(b)];
    if constexpr (std::is_floating_point_v<T>)
      if (std::isnan(x) || std::isnan(y))
        return !std::isnan(x) && std::isnan(y) ? true : std::isnan(x) == std::isnan(y) && a < b;
    return x > y || (x == y && a < b);
  };
  std::partial_sort(order.begin(), order.begin() + kept, order.end(), better);
  for (int64_t i = 0; i < kept; ++i) {
    const int64_t index = order[static_cast<size_t>(i)];
    std::string text = std::to_string(values[static_cast<size_t>(index)]) + ":" + std::to_string(index);
    if (static_cast<size_t>(index) < labels.size()) text += ":" + labels[static_cast<size_t>(index)];
    append_bytes_element(raw, text);
  }
}

}  // namespace

Result<NamedTensor> classify(const NamedTensor& tensor, uint32_t n, bool batched,
                             const std::vector<std::string>& labels) {
  const auto refuse = [&](std::string why) {
    return Status(StatusCode::invalid, fmt::format("classification of output '{}': {}", tensor.name, why));
  };
  const Result<int64_t> counted = element_count(tensor.shape);
  if (!counted.ok()) return refuse(counted.status().message());
  const int64_t batch = batched && !tensor.shape.empty() ? tensor.shape[0] : 1;
  if (*counted == 0) return refuse("the tensor has no elements");
  if (*counted > kMostElements)
    return refuse(fmt::format("{} elements, at most {} can be ranked", *counted, kMostElements));
  if (tensor.data.size() != static_cast<size_t>(*counted) * element_size(tensor.type) || element_size(tensor.type) == 0)
    return refuse(fmt::format("datatype {} cannot be ranked", wire_name(tensor.type)));
  const int64_t classes = *counted / batch;
  const int64_t kept = std::min<int64_t>(n, classes);

  std::string raw;
  for (int64_t row = 0; row < batch; ++row) {
    const auto append = [&]<class T>() {
      append_best<T>(raw, tensor.data.view(), row * classes, classes, kept, labels);
    };
    switch (tensor.type) {
      case DataType::uint8: append.operator()<uint8_t>(); break;
      case DataType::uint16: append.operator()<uint16_t>(); break;
      case DataType::uint32: append.operator()<uint32_t>(); break;
      case DataType::uint64: append.operator()<uint64_t>(); break;
      case DataType::int8: append.operator()<int8_t>(); break;
      case DataType::int16: append.operator()<int16_t>(); break;
      case DataType::int32: append.operator()<int32_t>(); break;
      case DataType::int64: append.operator()<int64_t>(); break;
      case DataType::fp32: append.operator()<float>(); break;
      case DataType::fp64: append.operator()<double>(); break;
      default: return refuse(fmt::format("datatype {} cannot be ranked", wire_name(tensor.type)));
    }
  }
  std::vector<int64_t> shape{kept};
  if (batched) shape.insert(shape.begin(), batch);
  return NamedTensor{tensor.name, DataType::bytes, std::move(shape), std::move(raw)};
}

}  // namespace inazuma
