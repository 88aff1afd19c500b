// Every case on every home, against the oracle.

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "kernels/cases.h"

namespace inazuma::testing {
namespace {

double rounding_of(DType dtype) {
  return dtype == DType::f16 ? 0x1p-11 : dtype == DType::bf16 ? 0x1p-8 : 0.0;
}

void compare(const Case& c, const std::vector<Produced>& oracle, const std::vector<Produced>& got, DType dtype) {
  constexpr double kSmallestHalf = 0x1p-24;
  ASSERT_EQ(oracle.size(), got.size());
  for (size_t o = 0; o < oracle.size(); ++o) {
    ASSERT_EQ(oracle[o].values.size(), got[o].values.size());
    int shown = 0;
    for (size_t i = 0; i < got[o].values.size() && shown < 3; ++i) {
      const float expected = oracle[o].values[i], actual = got[o].values[i];
      if (std::isnan(expected) && std::isnan(actual)) continue;
      if (expected == actual) continue;
      double bound = c.tolerance(o, i, expected);
      if (const double extra = c.rounded(o, i, expected); dtype != DType::f32 && extra > 0.0)
        bound += rounding_of(dtype) * 1.05 * extra + kSmallestHalf;
      if (std::abs(static_cast<double>(expected) - actual) <= bound) continue;
      ADD_FAILURE() << c.name << ": " << got[o].what << "[" << i << "] is " << actual << ", the oracle says "
                    << expected << " (may differ by " << bound << ")";
      ++shown;
    }
  }
}

TEST(Kernels, EveryHomeAgreesWithTheOracle) {
  const std::vector<Case> cases = all_cases();
  std::map<DType, std::vector<std::vector<Produced>>> oracles;  // by what the numbers were rounded to
  for (const auto& make : homes()) {
    const DType dtype = make()->dtype();
    std::vector<std::vector<Produced>>& oracle = oracles[dtype];
    for (size_t i = oracle.size(); i < cases.size(); ++i) {
      const auto reference = reference_home(dtype);
      const Ready truth = cases[i].prepare(*reference);
      truth.run();
      oracle.push_back(truth.collect());
    }
    const auto home = make();
    SCOPED_TRACE(home->name());
    for (size_t i = 0; i < cases.size(); ++i) {
      const Ready ready = cases[i].prepare(*home);
      ready.run();
      compare(cases[i], oracle[i], ready.collect(), dtype);
      home->forget();
    }
  }
}

}  // namespace
}  // namespace inazuma::testing
