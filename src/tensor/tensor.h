#pragma once
// A non-owning typed view of memory, and the move-only owner of that memory.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace inazuma {

/// View: pointer, dtype, shape, strides (in elements), device. Copying copies the view. The innermost axis is always
/// contiguous; an outer stride may exceed the row (a column range of a fused product).
class Tensor {
 public:
  Tensor() = default;
  /// Contiguous, row-major.
  Tensor(void* data, DType dtype, const Shape& shape, Device device = Device::cpu());
  /// Read-only data: the caller promises not to write through the view.
  Tensor(const void* data, DType dtype, const Shape& shape, Device device = Device::cpu())
      : Tensor(const_cast<void*>(data), dtype, shape, device) {}

  bool defined() const { return data_ != nullptr; }
  void* data() const { return data_; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t stride(int axis) const { return strides_[static_cast<size_t>(axis)]; }
  Device device() const { return device_; }
  int64_t rows() const { return shape_.rank() == 0 ? 1 : shape_[0]; }
  int64_t cols() const { return shape_.back(); }
  int64_t elements() const { return shape_.elements(); }
  size_t bytes() const { return static_cast<size_t>(elements()) * size_of(dtype_); }
  bool contiguous() const;

  /// Rows [begin, end) of axis 0.
  Tensor rows(int64_t begin, int64_t end) const;
  /// Columns [begin, end) of a rank-2 tensor: same row stride, narrower rows.
  Tensor columns(int64_t begin, int64_t end) const;
  /// The same contiguous elements under another shape.
  Tensor reshaped(const Shape& shape) const;

  /// Typed pointer; throws Error(internal) when T is not the element type.
  template <class T>
  T* as() const;

 private:
  void* data_ = nullptr;
  DType dtype_ = DType::f32;
  Shape shape_;
  std::array<int64_t, Shape::kMaxRank> strides_{};
  Device device_;
};

/// Owner of a block of memory on one device, aligned to at least 64 bytes. Move-only.
class Buffer {
 public:
  using Free = std::function<void(void*)>;

  Buffer() = default;
  Buffer(void* data, size_t bytes, Device device, Free free);
  /// Host memory, 64-byte aligned (2 MiB aligned and advised as huge pages from 2 MiB on: weight streaming is bound by
  /// page walks otherwise). Throws Error(out_of_memory).
  static Buffer host(size_t bytes);

  void* data() const { return data_.get(); }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  Tensor tensor(DType dtype, const Shape& shape, size_t byte_offset = 0) const;

 private:
  std::unique_ptr<void, Free> data_{nullptr, [](void*) {}};
  size_t bytes_ = 0;
  Device device_;
};

}  // namespace inazuma
