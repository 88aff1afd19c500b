#pragma once
// What every file format is reduced to: named views of mapped bytes.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"

namespace inazuma {

/// A tensor inside a mapped file, proven to lie within it. `data` is null only when there are no elements, and may be
/// unaligned for its dtype.
struct FileTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  ///< in elements, >= 0; empty = row-major contiguous
  const char* data = nullptr;    ///< of the element at index 0, ..., 0
  size_t bytes = 0;              ///< of the contiguous tensor
};

/// The tensors of one file, in the file's own order. Views point into the bytes that were parsed.
struct FileTensors {
  std::string format;  ///< "safetensors", "torch zip", "torch legacy"
  std::vector<FileTensor> tensors;
};

/// Copies a strided tensor to `out` (`tensor.bytes` bytes), row-major.
void materialise(const FileTensor& tensor, char* out);

}  // namespace inazuma
