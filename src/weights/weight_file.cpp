#include "weights/weight_file.h"

#include <cstring>

namespace inazuma {
namespace {

void copy_row(const char* from, int64_t stride_bytes, char* to, int64_t count, size_t element) {
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(to + i * static_cast<int64_t>(element), from + i * stride_bytes, element);
}

}  // namespace

void materialise(const FileTensor& tensor, char* out) {
  if (tensor.bytes == 0) return;
  if (tensor.strides.empty()) {
    std::memcpy(out, tensor.data, tensor.bytes);
    return;
  }
  const size_t element = size_of(tensor.dtype);
  const auto scale = static_cast<int64_t>(element);
  const size_t last = tensor.shape.size() - 1;
  const int64_t row = tensor.shape[last];
  std::vector<int64_t> index(last, 0);
  int64_t offset = 0;
  for (char* end = out + tensor.bytes; out != end; out += row * scale) {
    copy_row(tensor.data + offset * scale, tensor.strides[last] * scale, out, row, element);
    for (size_t axis = last; axis-- > 0;) {  // advance the outer indices like an odometer
      offset += tensor.strides[axis];
      if (++index[axis] < tensor.shape[axis]) break;
      offset -= tensor.strides[axis] * tensor.shape[axis];
      index[axis] = 0;
    }
  }
}

}  // namespace inazuma
