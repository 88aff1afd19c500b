#pragma once
// The simulated clock of the batchers' tests.

#include <chrono>

#include "serving/batching/dynamic_batcher.h"

namespace inazuma::test {

inline const Clock::time_point kStart = Clock::time_point{} + std::chrono::hours(1);

inline Clock::time_point at(int ms) {
  return kStart + std::chrono::milliseconds(ms);
}

}  // namespace inazuma::test
