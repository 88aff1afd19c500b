#include "kernels/home.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <stdexcept>

namespace inazuma::testing {

namespace {
constexpr uint32_t kGuard = 0x7FC0DEADu;  // a NaN
constexpr size_t kMargin = 64;

uint16_t half_bits(uint32_t word, DType dtype) {
  const float value = std::bit_cast<float>(word);
  return dtype == DType::f16 ? to_half(value).bits : to_bfloat16(value).bits;
}
float from_half_bits(uint16_t bits, DType dtype) {
  return dtype == DType::f16 ? to_float(Half{bits}) : to_float(BFloat16{bits});
}

/// The array's words as a home of `dtype` stores them: the same, or half as wide.
std::vector<uint32_t> words_of(const Array& array, DType dtype) {
  if (dtype == array.dtype || size_of(dtype) == 4) return array.words;
  std::vector<uint32_t> halves((array.words.size() + 1) / 2);
  auto* out = reinterpret_cast<uint16_t*>(halves.data());
  for (size_t i = 0; i < array.words.size(); ++i) out[i] = half_bits(array.words[i], dtype);
  return halves;
}
}  // namespace

uint64_t Random::next() {
  uint64_t z = state_ += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}
double Random::uniform() {
  return static_cast<double>(next() >> 11) * 0x1p-53;
}
float Random::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return static_cast<float>(radius * std::cos(2.0 * M_PI * uniform()));
}
int32_t Random::below(int64_t limit) {
  return static_cast<int32_t>(next() % static_cast<uint64_t>(limit));
}

size_t Array::place(int64_t r, int64_t c) const {
  return kMargin + static_cast<size_t>(offset + r * stride + c);
}
float& Array::at(int64_t r, int64_t c) {
  return reinterpret_cast<float&>(words[place(r, c)]);
}
int32_t& Array::id(int64_t i) {
  return reinterpret_cast<int32_t&>(words[place(i / cols, i % cols)]);
}

Array blank(int64_t rows, int64_t cols, Layout layout) {
  Array array{.rows = rows, .cols = cols, .stride = cols + layout.slack, .offset = layout.offset};
  array.words.assign(2 * kMargin + static_cast<size_t>(layout.offset + rows * array.stride), kGuard);
  array.shape = Shape{rows, cols};
  return array;
}

Array floats(int64_t rows, int64_t cols, const std::function<float(int64_t, int64_t)>& value, Layout layout) {
  Array array = blank(rows, cols, layout);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) array.at(r, c) = value(r, c);
  return array;
}

Array normal(Random& random, int64_t rows, int64_t cols, Layout layout, float scale) {
  return floats(
      rows, cols, [&](int64_t, int64_t) { return scale * random.normal(); }, layout);
}

Array ints(std::vector<int32_t> values, int64_t rows) {
  const auto count = static_cast<int64_t>(values.size());
  Array array = rows == 0 ? blank(1, count) : blank(rows, count / rows);
  array.dtype = DType::i32;
  if (rows == 0) array.shape = Shape{count};
  for (int64_t i = 0; i < count; ++i) array.id(i) = values[static_cast<size_t>(i)];
  return array;
}

Array full(Array array) {
  array.full = true;
  return array;
}

Placed Home::place(Array array) {
  const bool real = array.dtype == DType::f32 && !array.full;
  if (real && rounded_ != DType::f32)
    for (uint32_t& word : array.words)
      if (word != kGuard) word = std::bit_cast<uint32_t>(from_half_bits(half_bits(word, rounded_), rounded_));
  const DType dtype = real ? this->dtype() : array.dtype;
  const std::vector<uint32_t> words = words_of(array, dtype);
  memory_.push_back(ops_->allocate(words.size() * sizeof(uint32_t)));
  Placed placed;
  placed.whole = memory_.back().tensor(DType::i32, Shape{static_cast<int64_t>(words.size())});
  ops_->upload(placed.whole, words.data());
  void* first = static_cast<char*>(placed.whole.data()) + array.place(0, 0) * size_of(dtype);
  const Device device = ops_->stream().device;
  placed.view = array.stride == array.cols
                    ? Tensor(first, dtype, array.shape, device)
                    : Tensor(first, dtype, Shape{array.rows, array.stride}, device).columns(0, array.cols);
  placed.original = std::make_shared<Array>(std::move(array));
  return placed;
}

Tensor Home::bytes(const void* data, size_t rows, size_t row_bytes) {
  memory_.push_back(ops_->allocate(rows * row_bytes + 1));
  const Tensor view =
      memory_.back().tensor(DType::u8, Shape{static_cast<int64_t>(rows), static_cast<int64_t>(row_bytes)});
  ops_->upload(view, data);
  return view;
}

Matrix Home::pack(std::span<const Tensor> weights, WeightLayout layout) {
  if (rounded_ == DType::f32) return ops_->pack(weights, layout);
  std::vector<std::vector<float>> values;
  std::vector<Tensor> views;
  for (const Tensor& weight : weights) {
    auto& rounded = values.emplace_back(static_cast<size_t>(weight.elements()));
    for (size_t i = 0; i < rounded.size(); ++i) {
      const float value = weight.dtype() == DType::f32
                              ? weight.as<const float>()[i]
                              : from_half_bits(static_cast<const uint16_t*>(weight.data())[i], weight.dtype());
      rounded[i] = from_half_bits(half_bits(std::bit_cast<uint32_t>(value), rounded_), rounded_);
    }
    views.emplace_back(rounded.data(), DType::f32, weight.shape());
  }
  return ops_->pack(views, layout);
}

std::vector<float> Home::read(const Placed& placed) {
  const Array& array = *placed.original;
  const DType dtype = placed.view.dtype();
  const std::vector<uint32_t> before = words_of(array, dtype);
  std::vector<uint32_t> after(before.size());
  ops_->download(after.data(), placed.whole);
  const bool narrow = size_of(dtype) == 2;
  const auto element = [narrow](const std::vector<uint32_t>& all, size_t i) {
    return narrow ? uint32_t{reinterpret_cast<const uint16_t*>(all.data())[i]} : all[i];
  };
  std::vector<uint32_t> words(array.words.size());
  for (size_t i = 0; i < words.size(); ++i) words[i] = element(after, i);
  std::vector<bool> inside(words.size(), false);
  std::vector<float> values;
  for (int64_t r = 0; r < array.rows; ++r)
    for (int64_t c = 0; c < array.cols; ++c) {
      const size_t at = array.place(r, c);
      inside[at] = true;
      values.push_back(array.dtype == DType::i32 ? static_cast<float>(static_cast<int32_t>(words[at]))
                       : narrow                  ? from_half_bits(static_cast<uint16_t>(words[at]), dtype)
                                                 : std::bit_cast<float>(words[at]));
    }
  for (size_t i = 0; i < words.size(); ++i)
    if (!inside[i] && words[i] != element(before, i))
      throw std::runtime_error(
          fmt::format("{}: word {} outside of a view {} was overwritten", name_, i, to_string(placed.view.shape())));
  return values;
}

std::unique_ptr<Home> reference_home(DType rounded) {
  return std::make_unique<Home>("reference", make_reference_ops(), rounded);
}

std::vector<std::string> cuda_homes() {
  static const Status found = make_cuda_ops({}).status();
  static const bool said = [] {
    if (!found.ok()) std::printf("The GPU home is left out here: %s\n", found.message().c_str());
    return true;
  }();
  (void)said;
  if (!found.ok()) return {};
  return {"cuda_float32", "cuda_float16", "cuda_bfloat16"};
}

std::unique_ptr<Ops> make_cuda(const std::string& name, bool invariant) {
  const DType dtype = parse_dtype(name.substr(name.find('_') + 1)).value();
  return make_cuda_ops({.dtype = dtype, .invariant = invariant}).value();
}

std::vector<MakeHome> homes() {
  std::vector<MakeHome> all = host_homes();
  for (const std::string& name : cuda_homes())
    for (const bool invariant : {false, true})
      all.push_back([name, invariant] {
        return std::make_unique<Home>(name + (invariant ? " invariant" : ""), make_cuda(name, invariant));
      });
  return all;
}

std::vector<MakeHome> host_homes() {
  std::vector<MakeHome> all;
  for (std::string_view isa : available_cpu_isas())
    for (int threads : {1, 3})
      all.push_back([isa, threads] {
        auto ops = make_cpu_ops({.threads = threads, .isa = std::string(isa)});
        return std::make_unique<Home>(fmt::format("cpu {} x{}", isa, threads), std::move(ops).value());
      });
  return all;
}

}  // namespace inazuma::testing
