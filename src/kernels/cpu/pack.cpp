// Weights into panels: once per model, on all threads.

#include <algorithm>
#include <atomic>
#include <cmath>

#include "kernels/cpu/cpu_ops.h"

namespace inazuma {

namespace {

constexpr int64_t kStrip = 64;  // elements of a source row converted at a time

// One source, whose columns are columns `column` + ... of the whole, into the panels.
class Packer {
 public:
  Packer(const Tensor& source, WeightLayout layout, int64_t column, int64_t panel, int64_t in, float* panels)
      : source_(source), layout_(layout), column_(column), panel_(panel), in_(in), panels_(panels) {}

  /// False if a weight of these columns is not below kModerate.
  bool columns(int64_t begin, int64_t end) const {
    float strip[kStrip];
    bool moderate = true;
    if (layout_ == WeightLayout::out_in) {
      for (int64_t k = 0; k < in_; k += kStrip)
        for (int64_t c = begin; c < end; ++c) {
          const int64_t count = std::min(kStrip, in_ - k);
          moderate &= read(c, k, count, strip);
          float* out = at(c, k);
          for (int64_t i = 0; i < count; ++i) out[i * panel_] = strip[i];
        }
      return moderate;
    }
    for (int64_t k = 0; k < in_; ++k)
      for (int64_t c = begin; c < end; c += kStrip) {
        const int64_t count = std::min(kStrip, end - c);
        moderate &= read(k, c, count, strip);
        for (int64_t i = 0; i < count; ++i) *at(c + i, k) = strip[i];
      }
    return moderate;
  }

 private:
  bool read(int64_t row, int64_t begin, int64_t count, float* out) const {
    const int64_t element = row * source_.stride(0) + begin;
    to_f32(out, static_cast<const char*>(source_.data()) + element * static_cast<int64_t>(size_of(source_.dtype())),
           source_.dtype(), count);
    bool moderate = true;
    for (int64_t i = 0; i < count; ++i) moderate &= std::abs(out[i]) < kModerate;
    return moderate;
  }
  float* at(int64_t column, int64_t k) const {
    const int64_t c = column_ + column;
    return panels_ + (c / panel_ * in_ + k) * panel_ + c % panel_;
  }

  const Tensor& source_;
  WeightLayout layout_;
  int64_t column_, panel_, in_;
  float* panels_;
};

}  // namespace

Matrix CpuOps::do_pack(std::span<const Tensor> weights, WeightLayout layout) {
  const int out_axis = layout == WeightLayout::out_in ? 0 : 1;
  auto packed = std::make_shared<CpuMatrix>();
  packed->in = weights[0].shape()[1 - out_axis];
  for (const Tensor& weight : weights) packed->out += weight.shape()[out_axis];
  const int64_t panel = kernels_.panel, panels = (packed->out + panel - 1) / panel;
  packed->bytes = static_cast<size_t>(panels * panel * packed->in) * sizeof(float);
  packed->memory = Buffer::host(packed->bytes);
  packed->kernels = &kernels_;
  float* memory = static_cast<float*>(packed->memory.data());
  const int64_t last = (panels - 1) * panel * packed->in;
  std::fill(memory + last, memory + panels * panel * packed->in, 0.0f);

  std::atomic<bool> moderate = true;
  int64_t column = 0;
  for (const Tensor& weight : weights) {
    const Packer packer(weight, layout, column, panel, packed->in, memory);
    const int64_t columns = weight.shape()[out_axis];
    // Pieces of whole cache lines of a panel's row, so that threads do not write to the same ones.
    const int64_t piece = 4 * panel, pieces = (columns + piece - 1) / piece;
    pool_.run(pieces, [&](int64_t p, int) {
      if (!packer.columns(p * piece, std::min(columns, (p + 1) * piece))) moderate = false;
    });
    column += columns;
  }
  packed->moderate = moderate;
  return packed;
}

}  // namespace inazuma
