#include "kernels/home.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace inazuma::testing {

namespace {
constexpr uint32_t kGuard = 0x7FC0DEADu;  // a NaN
constexpr size_t kMargin = 64;
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

Placed Home::place(Array array) {
  memory_.push_back(ops_->allocate(array.words.size() * sizeof(uint32_t)));
  Placed placed;
  placed.whole = memory_.back().tensor(array.dtype, Shape{static_cast<int64_t>(array.words.size())});
  ops_->upload(placed.whole, array.words.data());
  void* first = static_cast<char*>(placed.whole.data()) + array.place(0, 0) * sizeof(uint32_t);
  const Device device = ops_->stream().device;
  placed.view = array.stride == array.cols
                    ? Tensor(first, array.dtype, array.shape, device)
                    : Tensor(first, array.dtype, Shape{array.rows, array.stride}, device).columns(0, array.cols);
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

std::vector<float> Home::read(const Placed& placed) {
  const Array& array = *placed.original;
  std::vector<uint32_t> words(array.words.size());
  ops_->download(words.data(), placed.whole);
  std::vector<bool> inside(words.size(), false);
  std::vector<float> values;
  for (int64_t r = 0; r < array.rows; ++r)
    for (int64_t c = 0; c < array.cols; ++c) {
      const size_t at = array.place(r, c);
      inside[at] = true;
      values.push_back(array.dtype == DType::i32 ? static_cast<float>(static_cast<int32_t>(words[at]))
                                                 : std::bit_cast<float>(words[at]));
    }
  for (size_t i = 0; i < words.size(); ++i)
    if (!inside[i] && words[i] != array.words[i])
      throw std::runtime_error(
          fmt::format("{}: word {} outside of a view {} was overwritten", name_, i, to_string(placed.view.shape())));
  return values;
}

std::unique_ptr<Home> reference_home() {
  return std::make_unique<Home>("reference", make_reference_ops());
}

std::vector<std::function<std::unique_ptr<Home>()>> homes() {
  std::vector<std::function<std::unique_ptr<Home>()>> all;
  for (std::string_view isa : available_cpu_isas())
    for (int threads : {1, 3})
      all.push_back([isa, threads] {
        auto ops = make_cpu_ops({.threads = threads, .isa = std::string(isa)});
        return std::make_unique<Home>(fmt::format("cpu {} x{}", isa, threads), std::move(ops).value());
      });
  return all;
}

}  // namespace inazuma::testing
