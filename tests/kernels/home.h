#pragma once
// A home under test: arrays are placed in its memory between guards and read back with the guards checked.

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
/// An output whose elements are guards (NaN) until written.
Array blank(int64_t rows, int64_t cols, Layout layout = {});

struct Placed {
  Tensor view;
  Tensor whole;
  std::shared_ptr<Array> original;
};

class Home {
 public:
  Home(std::string name, std::unique_ptr<Ops> ops) : name_(std::move(name)), ops_(std::move(ops)) {}
  const std::string& name() const { return name_; }
  Ops& ops() { return *ops_; }
  Placed place(Array array);
  Tensor bytes(const void* data, size_t rows, size_t row_bytes);
  /// The view's elements in row order (integers as their values). Throws when a guard was overwritten.
  std::vector<float> read(const Placed& placed);

 private:
  std::string name_;
  std::unique_ptr<Ops> ops_;
  std::vector<Buffer> memory_;
};

/// The oracle and every home that can run here, e.g. "cpu avx2 x2". A new home adds a line.
std::vector<std::function<std::unique_ptr<Home>()>> homes();
std::unique_ptr<Home> reference_home();

}  // namespace inazuma::testing
