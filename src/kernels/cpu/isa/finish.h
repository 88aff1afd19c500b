#pragma once
// What follows the sums of a dense product.

#include "kernels/cpu/isa/functions.h"
#include "kernels/cpu/isa/math.h"

namespace inazuma::INAZUMA_ISA {

// alpha, bias, activation, multiplier, residual: from sums [rows][kPanel] to columns [column, column + columns) of out.
inline void finish(const LinearJob& job, int64_t row, int64_t rows, int64_t column, int64_t columns,
                   const float* sums) {
  const Vec alpha = Vec::all(job.alpha);
  for (int64_t r = 0; r < rows; ++r, ++row, sums += kPanel)
    for (int64_t c = 0; c < columns; c += W) {
      const int64_t at = column + c, lanes = columns - c;
      Vec y = Vec::load(sums + c) * alpha;
      if (job.bias != nullptr) y = y + load_lanes(job.bias + at, lanes);
      if (job.activation != Activation::none) y = activate(job.activation, y);
      if (job.multiplier != nullptr) y = y * load_lanes(job.multiplier + row * job.multiplier_stride + at, lanes);
      if (job.residual != nullptr) y = y + load_lanes(job.residual + row * job.residual_stride + at, lanes);
      store_lanes(job.out + row * job.out_stride + at, y, lanes);
    }
}

}  // namespace inazuma::INAZUMA_ISA
