#pragma once
// Scratch memory of one step: bump allocation, reset every step.

#include <functional>
#include <vector>

#include "tensor/tensor.h"

namespace inazuma {

/// Memory comes from `source` in chunks. While the largest plan has not been seen a step may add chunks; `reset` then
/// joins them into one of the high-water size, so that a steady step allocates nothing and addresses repeat from step
/// to step (which recorded device graphs rely on). Not thread-safe: one arena belongs to one runner.
class Arena {
 public:
  using Source = std::function<Buffer(size_t bytes)>;
  explicit Arena(Source source = Buffer::host, size_t initial_bytes = 0);

  /// Uninitialised, 64-byte aligned; valid until the next reset.
  Tensor tensor(DType dtype, const Shape& shape);
  void reset();

  size_t used() const { return used_before_ + offset_; }
  size_t high_water() const { return high_water_; }
  size_t chunks() const { return chunks_.size(); }

 private:
  Source source_;
  std::vector<Buffer> chunks_;
  size_t offset_ = 0;       // within the last chunk
  size_t used_before_ = 0;  // in the chunks before it
  size_t high_water_ = 0;
};

}  // namespace inazuma
