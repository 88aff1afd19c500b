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

/// The ids are those of the golden, or, where `ops` computes in 16 bits, part from them at a step at which fp32 saw the
/// two choices closer together than rounding may move them.
void expect_tokens(const std::vector<int>& tokens, const Generation& wanted, const GoldenCase& golden, Ops& ops,
                   const std::string& what);

/// Generated ids of each run, its eos included.
std::vector<std::vector<int>> greedy(Ops& ops, const Model& model, const GoldenCase& golden,
                                     std::span<const Generation> runs, const GreedySchedule& schedule);

}  // namespace inazuma::golden
