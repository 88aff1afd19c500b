#include "kernels/host_ops.h"

#include <cstring>

#include "kernels/host_checks.h"

namespace inazuma {

namespace {

template <class Element>
Element load(const void* source, int64_t i) {
  Element element;  // files give no promise of alignment
  std::memcpy(&element, static_cast<const char*>(source) + i * int64_t{sizeof element}, sizeof element);
  return element;
}

void from_f32(char* out, float value, DType dtype) {
  if (dtype == DType::f16) {
    const Half half = to_half(value);
    std::memcpy(out, &half, sizeof half);
  } else if (dtype == DType::bf16) {
    const BFloat16 half = to_bfloat16(value);
    std::memcpy(out, &half, sizeof half);
  } else {
    std::memcpy(out, &value, sizeof value);
  }
}

void convert(char* out, DType out_dtype, const Tensor& part) {
  if (part.dtype() == out_dtype) {
    std::memcpy(out, part.data(), part.bytes());
    return;
  }
  if (out_dtype == DType::f32 && reinterpret_cast<uintptr_t>(out) % alignof(float) == 0) {
    to_f32(reinterpret_cast<float*>(out), part.data(), part.dtype(), part.elements());
    return;
  }
  const auto width = static_cast<int64_t>(size_of(part.dtype()));
  for (int64_t i = 0; i < part.elements(); ++i) {
    float value;
    to_f32(&value, static_cast<const char*>(part.data()) + i * width, part.dtype(), 1);
    from_f32(out + i * static_cast<int64_t>(size_of(out_dtype)), value, out_dtype);
  }
}

}  // namespace

void to_f32(float* out, const void* source, DType dtype, int64_t count) {
  switch (dtype) {
    case DType::f32: std::memcpy(out, source, static_cast<size_t>(count) * sizeof(float)); return;
    case DType::f16:
      for (int64_t i = 0; i < count; ++i) out[i] = to_float(load<Half>(source, i));
      return;
    case DType::bf16:
      for (int64_t i = 0; i < count; ++i) out[i] = to_float(load<BFloat16>(source, i));
      return;
    case DType::f64:
      for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(load<double>(source, i));
      return;
    default: throw fail(StatusCode::internal, "cannot convert {} to float32", name(dtype));
  }
}

Parameter HostOps::do_parameter(std::span<const Tensor> parts, DType dtype) {
  size_t bytes = 0;
  std::array<int64_t, Shape::kMaxRank> extents{};
  const Shape& first = parts[0].shape();
  for (int axis = 0; axis < first.rank(); ++axis) extents[static_cast<size_t>(axis)] = first[axis];
  extents[0] = 0;
  for (const Tensor& part : parts) {
    extents[0] += part.rows();
    bytes += static_cast<size_t>(part.elements()) * size_of(dtype);
  }
  auto memory = std::make_shared<Buffer>(Buffer::host(bytes));
  char* out = static_cast<char*>(memory->data());
  for (const Tensor& part : parts) {
    convert(out, dtype, part);
    out += static_cast<size_t>(part.elements()) * size_of(dtype);
  }
  const Shape shape(std::span<const int64_t>(extents.data(), static_cast<size_t>(first.rank())));
  return {memory->tensor(dtype, shape), memory};
}

void HostOps::do_upload(const Tensor& destination, const void* source) {
  std::memcpy(destination.data(), source, destination.bytes());
}

void HostOps::do_download(void* destination, const Tensor& source) {
  std::memcpy(destination, source.data(), source.bytes());
}

void HostOps::do_store_kv(const StoreKvArgs& args) {
  check_slots(args);
  const int64_t heads = args.keys.shape()[1], block_tokens = args.keys.shape()[2], head_dim = args.keys.shape()[3];
  const int32_t* slots = args.slots.as<int32_t>();
  const size_t bytes = static_cast<size_t>(head_dim) * sizeof(float);
  for (int64_t t = 0; t < args.k.rows(); ++t) {
    if (slots[t] < 0) continue;
    const int64_t block = slots[t] / block_tokens, place = slots[t] % block_tokens;
    const float* k = args.k.as<float>() + t * args.k.stride(0);
    const float* v = args.v.as<float>() + t * args.v.stride(0);
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t at = ((block * heads + h) * block_tokens + place) * head_dim;
      std::memcpy(args.keys.as<float>() + at, k + h * head_dim, bytes);
      std::memcpy(args.values.as<float>() + at, v + h * head_dim, bytes);
    }
  }
}

void HostOps::do_gather_rows(const Tensor& out, const Tensor& x, const Tensor& rows) {
  check_ids("gather_rows: rows", rows, x.rows());
  const int32_t* numbers = rows.as<int32_t>();
  for (int64_t i = 0; i < rows.rows(); ++i)
    std::memmove(out.as<float>() + i * out.stride(0), x.as<float>() + numbers[i] * x.stride(0),
                 static_cast<size_t>(x.cols()) * sizeof(float));
}

void HostOps::do_copy_rows(const Tensor& x, const Tensor& from, const Tensor& to) {
  check_ids("copy_rows: from", from, x.rows());
  check_ids("copy_rows: to", to, x.rows());
  const size_t bytes = static_cast<size_t>(x.cols()) * size_of(x.dtype());
  char* const rows = static_cast<char*>(x.data());
  const int32_t* source = from.as<int32_t>();
  const int32_t* target = to.as<int32_t>();
  for (int64_t i = 0; i < from.rows(); ++i)
    std::memmove(rows + static_cast<size_t>(target[i]) * bytes, rows + static_cast<size_t>(source[i]) * bytes, bytes);
}

void HostOps::do_read_history(const Tensor& ids, const Tensor& history, const Tensor& slots, const Tensor& positions) {
  check_ids("read_history: slots", slots, history.rows());
  check_ids("read_history: positions", positions, history.cols());
  for (int64_t t = 0; t < ids.rows(); ++t)
    ids.as<int32_t>()[t] =
        history.as<int32_t>()[slots.as<int32_t>()[t] * history.stride(0) + positions.as<int32_t>()[t]];
}

}  // namespace inazuma
