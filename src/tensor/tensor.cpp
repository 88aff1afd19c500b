#include "tensor/tensor.h"

#include <sys/mman.h>

#include <cstdlib>

namespace inazuma {

Shape::Shape(std::span<const int64_t> extents) {
  if (extents.size() > kMaxRank)
    throw fail(StatusCode::unsupported, "a tensor of rank {} is not supported (at most {})", extents.size(), kMaxRank);
  for (int64_t extent : extents) {
    if (extent < 0) throw fail(StatusCode::invalid, "negative tensor extent {}", extent);
    extents_[static_cast<size_t>(rank_++)] = extent;
  }
}

int64_t Shape::elements() const {
  int64_t product = 1;
  for (int axis = 0; axis < rank_; ++axis) product *= extents_[static_cast<size_t>(axis)];
  return product;
}

bool Shape::operator==(const Shape& other) const {
  if (rank_ != other.rank_) return false;
  for (int axis = 0; axis < rank_; ++axis)
    if ((*this)[axis] != other[axis]) return false;
  return true;
}

std::string to_string(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape.extents(), ", "));
}

Tensor::Tensor(void* data, DType dtype, const Shape& shape, Device device)
    : data_(data), dtype_(dtype), shape_(shape), device_(device) {
  int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides_[static_cast<size_t>(axis)] = stride;
    stride *= shape[axis];
  }
}

bool Tensor::contiguous() const {
  int64_t stride = 1;
  for (int axis = shape_.rank() - 1; axis >= 0; --axis) {
    if (shape_[axis] != 1 && strides_[static_cast<size_t>(axis)] != stride) return false;
    stride *= shape_[axis];
  }
  return true;
}

Tensor Tensor::rows(int64_t begin, int64_t end) const {
  if (shape_.rank() < 1 || begin < 0 || begin > end || end > shape_[0])
    throw fail(StatusCode::internal, "rows [{}, {}) of a tensor {}", begin, end, to_string(shape_));
  Tensor out = *this;
  std::array<int64_t, Shape::kMaxRank> extents{};
  for (int axis = 0; axis < shape_.rank(); ++axis) extents[static_cast<size_t>(axis)] = shape_[axis];
  extents[0] = end - begin;
  out.shape_ = Shape(std::span<const int64_t>(extents.data(), static_cast<size_t>(shape_.rank())));
  out.data_ = static_cast<char*>(data_) + begin * strides_[0] * static_cast<int64_t>(size_of(dtype_));
  return out;
}

Tensor Tensor::columns(int64_t begin, int64_t end) const {
  if (shape_.rank() != 2 || begin < 0 || begin > end || end > shape_[1])
    throw fail(StatusCode::internal, "columns [{}, {}) of a tensor {}", begin, end, to_string(shape_));
  Tensor out = *this;
  out.shape_ = Shape{shape_[0], end - begin};
  out.data_ = static_cast<char*>(data_) + begin * static_cast<int64_t>(size_of(dtype_));
  return out;
}

Tensor Tensor::reshaped(const Shape& shape) const {
  if (shape.elements() != elements() || !contiguous())
    throw fail(StatusCode::internal, "cannot view a tensor {} as {}", to_string(shape_), to_string(shape));
  return Tensor(data_, dtype_, shape, device_);
}

template <class T>
T* Tensor::as() const {
  using E = std::remove_const_t<T>;
  constexpr DType expected = [] {
    if constexpr (std::is_same_v<E, float>) return DType::f32;
    if constexpr (std::is_same_v<E, double>) return DType::f64;
    if constexpr (std::is_same_v<E, Half>) return DType::f16;
    if constexpr (std::is_same_v<E, BFloat16>) return DType::bf16;
    if constexpr (std::is_same_v<E, int64_t>) return DType::i64;
    if constexpr (std::is_same_v<E, int32_t>) return DType::i32;
    if constexpr (std::is_same_v<E, int16_t>) return DType::i16;
    if constexpr (std::is_same_v<E, int8_t>) return DType::i8;
    if constexpr (std::is_same_v<E, uint8_t>) return DType::u8;
    if constexpr (std::is_same_v<E, bool>) return DType::boolean;
  }();
  if (dtype_ != expected) throw fail(StatusCode::internal, "a {} tensor was read as {}", name(dtype_), name(expected));
  return static_cast<T*>(data_);
}

template float* Tensor::as<float>() const;
template const float* Tensor::as<const float>() const;
template double* Tensor::as<double>() const;
template Half* Tensor::as<Half>() const;
template BFloat16* Tensor::as<BFloat16>() const;
template int64_t* Tensor::as<int64_t>() const;
template int32_t* Tensor::as<int32_t>() const;
template const int32_t* Tensor::as<const int32_t>() const;
template int16_t* Tensor::as<int16_t>() const;
template int8_t* Tensor::as<int8_t>() const;
template uint8_t* Tensor::as<uint8_t>() const;
template bool* Tensor::as<bool>() const;

Buffer::Buffer(void* data, size_t bytes, Device device, Free free)
    : data_(data, std::move(free)), bytes_(bytes), device_(device) {}

Buffer Buffer::host(size_t bytes) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t alignment = bytes >= kHugePage ? kHugePage : 64;
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* data = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (data == nullptr) throw fail(StatusCode::out_of_memory, "cannot allocate {} bytes of host memory", bytes);
  if (alignment == kHugePage)
    madvise(data, rounded, MADV_HUGEPAGE);  // advice: a kernel without huge pages may ignore it
  return Buffer(data, bytes, Device::cpu(), [](void* p) { std::free(p); });
}

Tensor Buffer::tensor(DType dtype, const Shape& shape, size_t byte_offset) const {
  const size_t needed = byte_offset + static_cast<size_t>(shape.elements()) * size_of(dtype);
  if (needed > bytes_)
    throw fail(StatusCode::internal, "a tensor {} needs {} bytes of a buffer of {}", to_string(shape), needed, bytes_);
  return Tensor(static_cast<char*>(data_.get()) + byte_offset, dtype, shape, device_);
}

}  // namespace inazuma
