// Every case on every home, against the oracle.

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cases.h"

namespace inazuma::testing {
namespace {

void compare(const Case& c, const std::vector<Produced>& oracle, const std::vector<Produced>& got) {
  ASSERT_EQ(oracle.size(), got.size());
  for (size_t o = 0; o < oracle.size(); ++o) {
    ASSERT_EQ(oracle[o].values.size(), got[o].values.size());
    int shown = 0;
    for (size_t i = 0; i < got[o].values.size() && shown < 3; ++i) {
      const float expected = oracle[o].values[i], actual = got[o].values[i];
      if (std::isnan(expected) && std::isnan(actual)) continue;
      if (expected == actual) continue;
      const double bound = c.tolerance(o, i, expected);
      if (std::abs(static_cast<double>(expected) - actual) <= bound) continue;
      ADD_FAILURE() << c.name << ": " << got[o].what << "[" << i << "] is " << actual << ", the oracle says "
                    << expected << " (may differ by " << bound << ")";
      ++shown;
    }
  }
}

TEST(Kernels, EveryHomeAgreesWithTheOracle) {
  for (const Case& c : all_cases()) {
    const auto reference = reference_home();
    const Ready truth = c.prepare(*reference);
    truth.run();
    const std::vector<Produced> oracle = truth.collect();
    for (const auto& make : homes()) {
      const auto home = make();
      SCOPED_TRACE(home->name());
      const Ready ready = c.prepare(*home);
      ready.run();
      compare(c, oracle, ready.collect());
    }
  }
}

}  // namespace
}  // namespace inazuma::testing
