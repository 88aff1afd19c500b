// Dense products: x [rows, in] times packed panels, sums kept in registers for a block of rows by one panel.
//
// Order of every sum, whatever the shape of the step: within kDepth consecutive inputs one chain of fused multiply-adds
// from zero, in order; these partial sums are added up in order. So a row's bits do not depend on how many rows there
// are.

#include "kernels/cpu/isa/finish.h"
#include "kernels/cpu/isa/functions.h"

namespace inazuma::INAZUMA_ISA {

namespace {

constexpr int64_t kDepth = 256;
// Rows of x are copied this far apart, so that a register block's rows do not fall on the same cache sets (x's own
// stride is often a multiple of 4 KiB), and at a distance known at compile time.
constexpr int64_t kCopyStride = kDepth + 16;
// Registers: rows · 2 sums, 2 of the panel, 1 of x.
constexpr int kBlockRows = W == 16 ? 14 : 6;

// So few rows only wait for weights: they are fetched this far ahead. With more rows the piece in use must not be
// pushed out of the first cache by what is fetched, so the next piece is.
constexpr int64_t kFewRows = 4, kNearAhead = 2048;

// Memory to be read after this block: `step` bytes from `begin` for every input.
struct Ahead {
  const char* begin;
  int64_t step;
};

// A block's product over up to kDepth inputs, stored to or added to `sums` [Rows][kPanel].
template <int Rows, int Vectors>
void block(const float* x, const float* panel, int64_t depth, bool first, float* sums, Ahead ahead) {
  Vec total[Rows][Vectors];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) total[r][v] = Vec::zero();
  for (int64_t k = 0; k < depth; ++k) {
    Vec b[Vectors];
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) b[v] = Vec::load(panel + k * kPanel + v * W);
    __builtin_prefetch(ahead.begin, 0, 2);
    if constexpr (kPanel * sizeof(float) > 64) __builtin_prefetch(ahead.begin + 64, 0, 2);
    ahead.begin += ahead.step;
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const Vec a = broadcast(x + r * kCopyStride + k);
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) total[r][v] = fma(a, b[v], total[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      float* at = sums + r * kPanel + v * W;
      (first ? total[r][v] : Vec::load(at) + total[r][v]).store(at);
    }
}

template <int Vectors, int Rows = kBlockRows>
void block_of(int64_t rows, const float* x, const float* panel, int64_t depth, bool first, float* sums, Ahead ahead) {
  if constexpr (Rows > 1)
    if (rows < Rows) return block_of<Vectors, Rows - 1>(rows, x, panel, depth, first, sums, ahead);
  block<Rows, Vectors>(x, panel, depth, first, sums, ahead);
}

// Rows of x as [in / kDepth][rows][kCopyStride].
void copy_rows(const LinearJob& job, int64_t first_row, int64_t rows, float* out) {
  for (int64_t begin = 0; begin < job.in; begin += kDepth) {
    const int64_t depth = smaller(kDepth, job.in - begin);
    for (int64_t r = 0; r < rows; ++r, out += kCopyStride) {
      const float* x = job.x + (first_row + r) * job.x_stride + begin;
      for (int64_t k = 0; k < depth; k += W) store_lanes(out + k, load_lanes(x + k, depth - k), depth - k);
    }
  }
}

// All rows times kDepth inputs of one panel. The next such piece of weights lies behind it and is fetched meanwhile,
// spread over the first two blocks of rows.
void piece(const LinearJob& job, int64_t rows, int64_t begin, const float* panel, int64_t columns, const float* copy,
           float* sums) {
  const int64_t depth = smaller(kDepth, job.in - begin);
  const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows, height = rows / blocks, taller = rows % blocks;
  constexpr int64_t kRowBytes = kPanel * int64_t{sizeof(float)};
  const float* b = panel + begin * kPanel;
  const char* next = reinterpret_cast<const char*>(b + depth * kPanel);
  if (rows <= kFewRows) next = reinterpret_cast<const char*>(b) + kNearAhead;
  const int64_t step = blocks == 1 ? kRowBytes : kRowBytes / 2;
  const float* x = copy + begin / kDepth * rows * kCopyStride;
  for (int64_t i = 0, row = 0; i < blocks; ++i) {
    const int64_t count = height + (i < taller ? 1 : 0);
    const Ahead ahead = i < 2 ? Ahead{next + i * depth * step, step} : Ahead{next, 0};
    const auto run = columns > W ? block_of<2> : block_of<1>;
    run(count, x + row * kCopyStride, b, depth, begin == 0, sums + row * kPanel, ahead);
    row += count;
  }
}

}  // namespace

int64_t linear_scratch(int64_t rows, int64_t in) {
  return kLinearRows * kPanel + (in + kDepth - 1) / kDepth * rows * kCopyStride;
}

void linear(const LinearJob& job, int64_t first_row, int64_t rows, int64_t first_panel, int64_t last_panel,
            LinearScratch& scratch) {
  float* sums = scratch.memory;  // [rows][kPanel]
  float* copy = sums + kLinearRows * kPanel;
  if (scratch.held != first_row) copy_rows(job, first_row, rows, copy);
  scratch.held = first_row;
  for (int64_t p = first_panel; p < last_panel; ++p) {
    const int64_t column = p * kPanel, columns = smaller(kPanel, job.out_columns - column);
    const float* panel = job.panels + column * job.in;
    for (int64_t begin = 0; begin < job.in; begin += kDepth) piece(job, rows, begin, panel, columns, copy, sums);
    finish(job, first_row, rows, column, columns, sums);
  }
}

}  // namespace inazuma::INAZUMA_ISA
