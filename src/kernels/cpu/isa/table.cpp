// The short loops, and the table of this instruction set.

#include "kernels/cpu/isa/functions.h"
#include "kernels/cpu/isa/math.h"

namespace inazuma::INAZUMA_ISA {

namespace {

constexpr float kInfinity = __builtin_huge_valf();
constexpr float kLargest = 3.40282347e38f;

void add(float* out, const float* x, int64_t count) {
  for (int64_t i = 0; i < count; i += W)
    store_lanes(out + i, load_lanes(out + i, count - i) + load_lanes(x + i, count - i), count - i);
}

void add_scaled(float* out, const float* x, float weight, int64_t count) {
  for (int64_t i = 0; i < count; i += W)
    store_lanes(out + i, fma(Vec::all(weight), load_lanes(x + i, count - i), load_lanes(out + i, count - i)),
                count - i);
}

void raise(float* out, const float* x, int64_t count) {
  for (int64_t i = 0; i < count; i += W) {
    const Vec a = load_lanes(out + i, count - i), b = load_lanes(x + i, count - i);
    store_lanes(out + i, select(is_nan(a), a, max(a, b)), count - i);  // max gives b when b is NaN
  }
}

void scale(float* x, float factor, int64_t count) {
  for (int64_t i = 0; i < count; i += W) store_lanes(x + i, load_lanes(x + i, count - i) * Vec::all(factor), count - i);
}

Vec cleaned(Vec x) {
  return select(is_nan(x), Vec::all(-kInfinity), min(x, Vec::all(kLargest)));
}

float clean(float* x, float divisor, int64_t count) {
  Vec high = Vec::all(-kInfinity);
  for (int64_t i = 0; i < count; i += W) {
    Vec y = cleaned(load_lanes(x + i, count - i));
    if (divisor != 1.0f) y = cleaned(y / Vec::all(divisor));
    store_lanes(x + i, y, count - i);
    if (count - i >= W) high = max(high, y);
  }
  float most = largest(high);
  for (int64_t i = count / W * W; i < count; ++i) most = x[i] > most ? x[i] : most;
  return most;
}

float largest_of(const float* x, int64_t count) {
  Vec high = Vec::all(-kInfinity);
  const int64_t whole = count / W * W;
  for (int64_t i = 0; i < whole; i += W) high = max(Vec::load(x + i), high);
  float most = largest(high);
  for (int64_t i = whole; i < count; ++i) most = x[i] > most ? x[i] : most;
  return most;
}

int64_t find(const float* x, float value, int64_t count) {
  const int64_t whole = count / W * W;
  int64_t i = 0;
  for (const Vec v = Vec::all(value); i < whole && bits(equal(Vec::load(x + i), v)) == 0; i += W) {
  }
  while (i < count && x[i] != value) ++i;
  return i;
}

int64_t collect(const float* x, float edge, int64_t first, int64_t count, int32_t* ids, int64_t room, int64_t& found) {
  int64_t i = first;
  for (const Vec e = Vec::all(edge); i < count && found + W <= room; i += W) {
    uint32_t hits = count - i >= W ? bits(not_less(Vec::load(x + i), e)) : 0;
    for (; hits != 0; hits &= hits - 1) ids[found++] = static_cast<int32_t>(i + __builtin_ctz(hits));
    if (count - i >= W) continue;
    for (; i < count; ++i)
      if (x[i] >= edge) ids[found++] = static_cast<int32_t>(i);
    return count;
  }
  return smaller(i, count);
}

double exp_sum(const float* x, float shift, float* out, int64_t count) {
  double total = 0.0;
  for (int64_t begin = 0; begin < count; begin += kSumBlock) {
    Vec partial = Vec::zero();
    const int64_t end = smaller(begin + kSumBlock, count);
    for (int64_t i = begin; i < end; i += W) {
      const int64_t lanes = end - i;
      Vec e = exp(load_lanes(x + i, lanes) - Vec::all(shift));
      if (lanes < W) {
        alignas(64) float kept[W] = {};
        e.store_some(kept, lanes);
        e = Vec::load(kept);
      }
      partial = partial + e;
      if (out != nullptr) store_lanes(out + i, e, lanes);
    }
    total += static_cast<double>(sum(partial));
  }
  return total;
}

constexpr Kernels kTable = {
    .name = Vec::kName,
    .width = W,
    .panel = kPanel,
    .linear = linear,
    .linear_scratch = linear_scratch,
    .linear_rows = kLinearRows,
    .norm = norm,
    .attend = attend,
    .attend_scratch = attend_scratch,
    .add = add,
    .add_scaled = add_scaled,
    .raise = raise,
    .scale = scale,
    .clean = clean,
    .largest = largest_of,
    .find = find,
    .collect = collect,
    .exp_sum = exp_sum,
};

#if defined(__AVX512F__)
constexpr Kernels with_tiles(Kernels table) {
  table.name = "amx";
  table.linear = linear_tiles;
  table.linear_scratch = linear_tiles_scratch;
  table.linear_rows = kLinearTilesRows;
  return table;
}
#endif

}  // namespace

extern const Kernels kKernels = kTable;
#if defined(__AVX512F__)
extern const Kernels kTileKernels = with_tiles(kTable);
#endif

}  // namespace inazuma::INAZUMA_ISA
