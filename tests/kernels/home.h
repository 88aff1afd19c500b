#pragma once
// A home under test: arrays are placed in its memory between guards and read back with the guards checked. A home that
// computes in 16 bits gets its floats in 16 bits; its oracle is a reference that was given the same rounded numbers.

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/ops.h"

namespace inazuma::testing {

/// Numbers that repeat everywhere: splitmix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next();
  double uniform();  ///< [0, 1)
  float normal();
  int32_t below(int64_t limit);

 private:
  uint64_t state_;
};

/// A host array of 4-byte elements: `rows` of `cols`, `stride` apart, beginning `offset` elements after an aligned
/// address. What lies between and around the rows is guard: it must not change, and read by mistake it is NaN.
struct Array {
  DType dtype = DType::f32;
  int64_t rows = 0, cols = 0, stride = 0, offset = 0;
  std::vector<uint32_t> words;  ///< guards included
  Shape shape;                  ///< what the view is given as, when not [rows, cols]
  bool full = false;            ///< floats stay f32 in every home (logits, log-probabilities, bias tables)

  float& at(int64_t r, int64_t c);
  float at(int64_t r, int64_t c) const { return const_cast<Array*>(this)->at(r, c); }
  int32_t& id(int64_t i);
  size_t place(int64_t r, int64_t c) const;
};
struct Layout {
  int64_t slack = 0;  ///< stride - cols
  int64_t offset = 0;
};
Array floats(int64_t rows, int64_t cols, const std::function<float(int64_t, int64_t)>& value, Layout layout = {});
Array normal(Random& random, int64_t rows, int64_t cols, Layout layout = {}, float scale = 1.0f);
Array ints(std::vector<int32_t> values, int64_t rows = 0);  ///< rows 0 = one-dimensional
Array full(Array array);                                    ///< marked as such
/// An output whose elements are guards (NaN) until written.
Array blank(int64_t rows, int64_t cols, Layout layout = {});

struct Placed {
  Tensor view;
  Tensor whole;
  std::shared_ptr<Array> original;
};

class Home {
 public:
  /// `rounded`: floats are rounded to this type first, whatever they are stored as (an oracle).
  Home(std::string name, std::unique_ptr<Ops> ops, DType rounded = DType::f32)
      : name_(std::move(name)), ops_(std::move(ops)), rounded_(rounded) {}
  const std::string& name() const { return name_; }
  Ops& ops() { return *ops_; }
  DType dtype() const { return ops_->compute_dtype(); }
  Matrix pack(std::span<const Tensor> weights, WeightLayout layout);
  Placed place(Array array);
  Tensor bytes(const void* data, size_t rows, size_t row_bytes);
  /// Frees everything placed.
  void forget() { memory_.clear(); }
  /// The view's elements in row order (integers as their values). Throws when a guard was overwritten.
  std::vector<float> read(const Placed& placed);

 private:
  std::string name_;
  std::unique_ptr<Ops> ops_;
  DType rounded_;
  std::vector<Buffer> memory_;
};

using MakeHome = std::function<std::unique_ptr<Home>()>;
/// Every home that can run here beside the oracle, e.g. "cpu avx2 x3", "cuda float16". A new home adds a line.
std::vector<MakeHome> homes();
/// Those whose memory the host reads, computing in f32.
std::vector<MakeHome> host_homes();
std::unique_ptr<Home> reference_home(DType rounded = DType::f32);
/// "cuda_float32", ...: one that was found is made again as options say. Empty, and said once why, without a GPU.
std::vector<std::string> cuda_homes();
std::unique_ptr<Ops> make_cuda(const std::string& name, bool invariant);

}  // namespace inazuma::testing
