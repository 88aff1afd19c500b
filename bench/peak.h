#pragma once
// What this machine can do at most, measured: an FMA loop and a memory reading loop per instruction set.

#include <cstdint>

namespace inazuma {

/// Loops of one instruction set, on one thread.
struct PeakLoops {
  const char* name;
  double (*multiply_adds)(int64_t rounds, float& result);  ///< returns the number of operations done
  float (*read)(const float* data, int64_t count);
  void (*copy)(float* out, const float* data, int64_t count);
};

namespace baseline {
extern const PeakLoops kPeak;
}
namespace avx2 {
extern const PeakLoops kPeak;
}
namespace avx512 {
extern const PeakLoops kPeak;
}

}  // namespace inazuma
