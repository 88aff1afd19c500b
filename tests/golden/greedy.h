#pragma once
// A loop over forward and select_tokens that stands in for the engine: many greedy runs, joining at different times.

#include <span>
#include <vector>

#include "golden/driver.h"
#include "golden/golden_case.h"

namespace inazuma::golden {

struct GreedySchedule {
  size_t chunk = 1000;  ///< most prompt ids a step
  size_t stagger = 0;   ///< steps between one run's start and the next one's
};

/// Generated ids of each run, its eos included.
std::vector<std::vector<int>> greedy(Ops& ops, const Model& model, const GoldenCase& golden,
                                     std::span<const Generation> runs, const GreedySchedule& schedule);

}  // namespace inazuma::golden
