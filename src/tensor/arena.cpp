#include "tensor/arena.h"

#include <algorithm>

namespace inazuma {

namespace {
constexpr size_t kAlignment = 64;
constexpr size_t kSmallestChunk = size_t{1} << 20;
}  // namespace

Arena::Arena(Source source, size_t initial_bytes) : source_(std::move(source)) {
  if (initial_bytes > 0) chunks_.push_back(source_(initial_bytes));
}

Tensor Arena::tensor(DType dtype, const Shape& shape) {
  const size_t bytes = static_cast<size_t>(shape.elements()) * size_of(dtype);
  const size_t rounded = std::max((bytes + kAlignment - 1) / kAlignment * kAlignment, kAlignment);
  if (chunks_.empty() || offset_ + rounded > chunks_.back().bytes()) {
    used_before_ += offset_;
    offset_ = 0;
    chunks_.push_back(source_(std::max({rounded, kSmallestChunk, used_before_})));
  }
  Tensor out = chunks_.back().tensor(dtype, shape, offset_);
  offset_ += rounded;
  high_water_ = std::max(high_water_, used());
  return out;
}

void Arena::reset() {
  if (chunks_.size() > 1) {
    chunks_.clear();
    chunks_.push_back(source_(high_water_));
  }
  offset_ = 0;
  used_before_ = 0;
}

}  // namespace inazuma
