#include "peak.h"

#include "kernels/cpu/isa/vec.h"

namespace inazuma::INAZUMA_ISA {

namespace {

constexpr int kChains = 12;  // latency 4 times 2 units needs 8; more than 12 and the constants do not fit 16 registers

double multiply_adds(int64_t rounds, float& result) {
  Vec total[kChains];
  for (int i = 0; i < kChains; ++i) total[i] = Vec::all(static_cast<float>(i));
  Vec a = Vec::all(0.999f), b = Vec::all(1e-5f);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) total[i] = fma(total[i], a, b);
  }
  Vec all = Vec::zero();
  for (int i = 0; i < kChains; ++i) all = all + total[i];
  result = sum(all);
  return 2.0 * static_cast<double>(rounds) * kChains * W;
}

constexpr int64_t kStep = 256 / sizeof(float);

float read(const float* data, int64_t count) {
  constexpr int kVectors = kStep / W;
  Vec total[kVectors];
  for (int i = 0; i < kVectors; ++i) total[i] = Vec::zero();
  for (int64_t at = 0; at < count; at += kStep) {
    for (int line = 0; line < 4; ++line) __builtin_prefetch(data + at + 1024 + line * 16);
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) total[i] = total[i] + Vec::load(data + at + i * W);
  }
  Vec all = Vec::zero();
  for (int i = 0; i < kVectors; ++i) all = all + total[i];
  return sum(all);
}

void copy(float* out, const float* data, int64_t count) {
  for (int64_t at = 0; at < count; at += W) Vec::load(data + at).store(out + at);
}

}  // namespace

extern const PeakLoops kPeak = {.name = Vec::kName, .multiply_adds = multiply_adds, .read = read, .copy = copy};

}  // namespace inazuma::INAZUMA_ISA
