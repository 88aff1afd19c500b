#pragma once
// Tensors as clients send and receive them: a name, one of KServe's datatypes, a shape, and bytes that somebody owns.
// (Inside models there are typed views of src/tensor; these never reach them.)

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace inazuma {

/// Numbers are those of inference.DataType (proto/model_config.proto).
enum class DataType : uint8_t {
  invalid,
  boolean,
  uint8,
  uint16,
  uint32,
  uint64,
  int8,
  int16,
  int32,
  int64,
  fp16,
  fp32,
  fp64,
  bytes,
  bf16
};

/// "FP32"; "BYTES" for strings; "INVALID".
std::string_view wire_name(DataType type);
std::optional<DataType> parse_data_type(std::string_view wire_name);
/// Bytes of an element; 0 for bytes (variable) and invalid.
size_t element_size(DataType type);

/// Read-only bytes with whatever keeps them alive: a request body, a mapped region, a buffer of the model's.
class SharedBytes {
 public:
  SharedBytes() = default;
  SharedBytes(std::string bytes) {
    auto owned = std::make_shared<const std::string>(std::move(bytes));
    view_ = *owned;
    owner_ = std::move(owned);
  }
  SharedBytes(std::string_view view, std::shared_ptr<const void> owner) : owner_(std::move(owner)), view_(view) {}

  std::string_view view() const { return view_; }
  const char* data() const { return view_.data(); }
  size_t size() const { return view_.size(); }
  /// A part of the same bytes, with the same owner.
  SharedBytes part(size_t offset, size_t length) const { return {view_.substr(offset, length), owner_}; }

 private:
  std::shared_ptr<const void> owner_;
  std::string_view view_;
};

/// Data lies as KServe's raw form: little-endian, row-major, packed; BYTES elements each behind a 4-byte length.
struct NamedTensor {
  std::string name;
  DataType type = DataType::invalid;
  std::vector<int64_t> shape;
  SharedBytes data;
};

/// Product of a shape ([] is 1). invalid: a negative dimension, or a product over 2^62.
Result<int64_t> element_count(const std::vector<int64_t>& shape);
/// "[-1,16]"
std::string show(const std::vector<int64_t>& shape);

/// Elements of a BYTES tensor, as views into it. invalid: a length that runs past the end, or not exactly `count`
/// elements.
Result<std::vector<std::string_view>> split_bytes(std::string_view raw, int64_t count);
/// The raw form of one element appended.
void append_bytes_element(std::string& raw, std::string_view element);
std::string join_bytes(const std::vector<std::string>& elements);

/// A numeric tensor from host values.
template <class T>
NamedTensor make_tensor(std::string name, DataType type, std::vector<int64_t> shape, const std::vector<T>& values) {
  return {std::move(name), type, std::move(shape),
          std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T))};
}

}  // namespace inazuma
