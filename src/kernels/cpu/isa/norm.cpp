// Layer and RMS norm with the residual sum before it. A row is read three times from the first cache: sum, squares,
// result.

#include "kernels/cpu/isa/functions.h"

namespace inazuma::INAZUMA_ISA {

namespace {

constexpr int kSums = 4;  // independent chains, always filled in the same order

// x + residual at column c of a row.
struct Row {
  const float* x;
  const float* residual;
  Vec at(int64_t c, int64_t lanes) const {
    const Vec value = load_lanes(x + c, lanes);
    return residual == nullptr ? value : value + load_lanes(residual + c, lanes);
  }
};

// Σ f(value) over a row, f giving zero for lanes past its end.
template <class F>
float total_over(int64_t width, F f) {
  Vec partial[kSums] = {Vec::zero(), Vec::zero(), Vec::zero(), Vec::zero()};
  int64_t c = 0;
  for (; c + kSums * W <= width; c += kSums * W)
    for (int s = 0; s < kSums; ++s) partial[s] = f(partial[s], c + s * W, int64_t{W});
  for (; c < width; c += W) partial[0] = f(partial[0], c, smaller(W, width - c));
  return sum((partial[0] + partial[1]) + (partial[2] + partial[3]));
}

// Lanes from `count` on made zero.
Vec only(Vec v, int64_t count) {
  if (count >= W) return v;
  alignas(64) float lanes[W] = {};
  v.store_some(lanes, count);
  return Vec::load(lanes);
}

void norm_row(const NormJob& job, int64_t r) {
  const Row row{job.x + r * job.x_stride, job.residual == nullptr ? nullptr : job.residual + r * job.residual_stride};
  const auto width = static_cast<float>(job.width);
  const float mean =
      job.centred ? total_over(job.width, [&](Vec t, int64_t c, int64_t lanes) { return t + row.at(c, lanes); }) / width
                  : 0.0f;
  const Vec centre = Vec::all(mean);
  const float squares = total_over(job.width, [&](Vec t, int64_t c, int64_t lanes) {
    const Vec d = only(row.at(c, lanes) - centre, lanes);
    return fma(d, d, t);
  });
  const Vec scale = Vec::all(1.0f / __builtin_sqrtf(squares / width + job.epsilon));
  float* out = job.out + r * job.out_stride;
  float* kept = job.sum == nullptr ? nullptr : job.sum + r * job.sum_stride;
  for (int64_t c = 0; c < job.width; c += W) {
    const int64_t lanes = smaller(W, job.width - c);
    const Vec value = row.at(c, lanes);
    if (kept != nullptr) store_lanes(kept + c, value, lanes);
    Vec y = (value - centre) * scale * load_lanes(job.weight + c, lanes);
    if (job.bias != nullptr) y = y + load_lanes(job.bias + c, lanes);
    store_lanes(out + c, y, lanes);
  }
}

}  // namespace

void norm(const NormJob& job, int64_t first_row, int64_t last_row) {
  for (int64_t r = first_row; r < last_row; ++r) norm_row(job, r);
}

}  // namespace inazuma::INAZUMA_ISA
