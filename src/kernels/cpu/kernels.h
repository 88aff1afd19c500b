#pragma once
// What is compiled once per instruction set, as plain data and functions on it: each instruction set fills one table.
// Pointers and strides are in floats. Who calls splits the work over threads; no split changes a result.

#include <cstdint>

#include "kernels/activation.h"

namespace inazuma {

/// The right side of a product: `panels` of `panel` columns each, a panel holding [in][panel] floats; the last one is
/// filled up with zeros. A panel is read from front to back, once, whatever the number of rows.
struct LinearJob {
  const float* x = nullptr;
  int64_t x_stride = 0;
  int64_t in = 0;
  int64_t out_columns = 0;
  const float* panels = nullptr;
  bool moderate = true;  ///< all weights are below kModerate
  float* out = nullptr;
  int64_t out_stride = 0;
  const float* bias = nullptr;        ///< or null
  const float* multiplier = nullptr;  ///< or null
  int64_t multiplier_stride = 0;
  const float* residual = nullptr;  ///< or null
  int64_t residual_stride = 0;
  float alpha = 1.0f;
  Activation activation = Activation::none;
};

/// Numbers below this are finite and stay so when they are rounded to bf16. False for NaN.
constexpr float kModerate = 0x1.FFp127f;

/// Scratch of one thread for `linear`: rows of x laid out for the kernel, and sums that are not finished.
struct LinearScratch {
  float* memory = nullptr;  ///< Kernels::linear_scratch(...) floats, 64-byte aligned
  int64_t held = -1;        ///< first of the rows that it holds now; -1 = none. Reset at the start of an operation.
};

struct NormJob {
  float* out = nullptr;
  int64_t out_stride = 0;
  const float* x = nullptr;
  int64_t x_stride = 0;
  const float* residual = nullptr;  ///< or null
  int64_t residual_stride = 0;
  float* sum = nullptr;  ///< or null
  int64_t sum_stride = 0;
  const float* weight = nullptr;
  const float* bias = nullptr;  ///< or null
  int64_t width = 0;
  float epsilon = 0.0f;
  bool centred = true;  ///< layer norm, else rms
};

/// Where row j of the keys (or values) of one head is: rows lie in runs of `run` rows; run r starts at
/// base + (table ? table[r] : r) · run_stride, its rows are row_stride apart.
struct KeyRows {
  const float* base = nullptr;
  int64_t row_stride = 0;
  int64_t run_stride = 0;
  int64_t run = 1;
  const int32_t* table = nullptr;
};

/// One head of consecutive query rows of one sequence. Row i stands at `position` + i and sees `keys` keys, causal rows
/// no later one than their own position.
struct AttendJob {
  float* out = nullptr;
  int64_t out_stride = 0;
  const float* q = nullptr;
  int64_t q_stride = 0;
  int64_t rows = 0;
  int64_t position = 0;
  int64_t keys = 0;
  bool causal = false;
  KeyRows key, value;
  int64_t head_dim = 0;
  float scale = 1.0f;
  const float* bias = nullptr;  ///< of this head: bias[clamp(key - query, -reach, reach) + reach]; or null
  int64_t bias_reach = 0;
  float* scratch = nullptr;  ///< Kernels::attend_scratch(keys, head_dim) floats
};

struct Kernels {
  const char* name;
  int width;  ///< floats of a register
  int panel;  ///< columns of a panel of LinearJob

  /// Rows [first_row, first_row + rows), rows <= linear_rows, of panels [first_panel, last_panel).
  void (*linear)(const LinearJob& job, int64_t first_row, int64_t rows, int64_t first_panel, int64_t last_panel,
                 LinearScratch& scratch);
  int64_t (*linear_scratch)(int64_t rows, int64_t in);
  int64_t linear_rows;
  void (*norm)(const NormJob& job, int64_t first_row, int64_t last_row);
  void (*attend)(const AttendJob& job);
  int64_t (*attend_scratch)(int64_t keys, int64_t head_dim);

  /// out[i] += x[i].
  void (*add)(float* out, const float* x, int64_t count);
  /// out[i] += weight · x[i].
  void (*add_scaled)(float* out, const float* x, float weight, int64_t count);
  /// out[i] = max(out[i], x[i]), NaN if either is.
  void (*raise)(float* out, const float* x, int64_t count);
  void (*scale)(float* x, float factor, int64_t count);

  /// NaN -> -inf, values above the largest float -> it; then divides by `divisor` (1 = leaves) and cleans again.
  /// Returns the largest.
  float (*clean)(float* x, float divisor, int64_t count);
  float (*largest)(const float* x, int64_t count);
  /// First index that holds `value`, or count.
  int64_t (*find)(const float* x, float value, int64_t count);
  /// Ids in order of x[id] >= edge, as many as fit into `room`; returns where it stopped (count when all were seen).
  int64_t (*collect)(const float* x, float edge, int64_t first, int64_t count, int32_t* ids, int64_t room,
                     int64_t& found);
  /// out[i] = exp(x[i] - shift) (out may be null); returns the sum, in blocks of kSumBlock summed in double.
  double (*exp_sum)(const float* x, float shift, float* out, int64_t count);
};
constexpr int64_t kSumBlock = 1024;

namespace baseline {
extern const Kernels kKernels;
}
namespace avx2 {
extern const Kernels kKernels;
}
namespace avx512 {
extern const Kernels kKernels;
extern const Kernels kTileKernels;  ///< with dense products on AMX tiles
}  // namespace avx512

}  // namespace inazuma
