// Every case on every home, against the oracle.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
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

/// All, or with $INAZUMA_TEST_CASES those whose names contain one of its words (separated by '|'): a memory checker
/// takes minutes for what takes a second without.
std::vector<Case> chosen_cases() {
  std::vector<Case> cases = all_cases();
  const char* given = std::getenv("INAZUMA_TEST_CASES");
  if (given == nullptr) return cases;
  const auto left_out = [words = std::string(given)](const Case& c) {
    for (size_t begin = 0; begin <= words.size();) {
      const size_t end = std::min(words.find('|', begin), words.size());
      if (c.name.find(words.substr(begin, end - begin)) != std::string::npos) return false;
      begin = end + 1;
    }
    return true;
  };
  std::erase_if(cases, left_out);
  return cases;
}

TEST(Kernels, EveryHomeAgreesWithTheOracle) {
  const std::vector<Case> cases = chosen_cases();
  ASSERT_FALSE(cases.empty()) << "no case has such a name";
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
