#pragma once
// Vec: one register of floats of the instruction set that this file is being compiled for.
//
// Every file that includes this is compiled once per instruction set, with INAZUMA_ISA naming the namespace that its
// code goes into. Such files use nothing of the standard library and no inline function from elsewhere: a function that
// the linker merges across instruction sets could otherwise carry AVX-512 code into a program running on a machine
// without it.
//
// Lanes past the end of a row are read as zero and never written (load_some, store_some).

#include <cstdint>

#if defined(__AVX512F__)
#include "kernels/cpu/isa/vec_avx512.h"
#elif defined(__AVX2__)
#include "kernels/cpu/isa/vec_avx2.h"
#else
#include "kernels/cpu/isa/vec_baseline.h"
#endif

namespace inazuma::INAZUMA_ISA {

constexpr int W = Vec::kWidth;

// Products are summed with `fma` alone (the baseline's rounds twice) and the compiler contracts nothing by itself:
// every path to an output then rounds alike.
inline Vec load_lanes(const float* p, int64_t count) {
  return count >= W ? Vec::load(p) : Vec::load_some(p, count);
}
inline void store_lanes(float* p, Vec v, int64_t count) {
  if (count >= W) {
    v.store(p);
  } else {
    v.store_some(p, count);
  }
}

inline int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}
inline int64_t round_up(int64_t value, int64_t step) {
  return (value + step - 1) / step * step;
}

}  // namespace inazuma::INAZUMA_ISA
