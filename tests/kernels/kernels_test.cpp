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

/// Whether $`variable` is not given, or `name` contains one of its words (separated by '|'): a memory checker takes
/// minutes for what takes a second without.
bool chosen(const char* variable, const std::string& name) {
  const char* given = std::getenv(variable);
  if (given == nullptr) return true;
  const std::string words = given;
  for (size_t begin = 0; begin <= words.size();) {
    const size_t end = std::min(words.find('|', begin), words.size());
    if (name.find(words.substr(begin, end - begin)) != std::string::npos) return true;
    begin = end + 1;
  }
  return false;
}

std::vector<Case> chosen_cases() {
  std::vector<Case> cases = all_cases();
  std::erase_if(cases, [](const Case& c) { return !chosen("INAZUMA_TEST_CASES", c.name); });
  return cases;
}

TEST(Kernels, EveryHomeAgreesWithTheOracle) {
  const std::vector<Case> cases = chosen_cases();
  ASSERT_FALSE(cases.empty()) << "no case has such a name";
  std::map<DType, std::vector<std::vector<Produced>>> oracles;  // by what the numbers were rounded to
  int worked = 0;
  for (const auto& make : homes()) {
    const auto home = make();
    if (!chosen("INAZUMA_TEST_HOMES", home->name())) continue;
    ++worked;
    const DType dtype = home->dtype();
    std::vector<std::vector<Produced>>& oracle = oracles[dtype];
    for (size_t i = oracle.size(); i < cases.size(); ++i) {
      const auto reference = reference_home(dtype);
      const Ready truth = cases[i].prepare(*reference);
      truth.run();
      oracle.push_back(truth.collect());
    }
    SCOPED_TRACE(home->name());
    for (size_t i = 0; i < cases.size(); ++i) {
      const Ready ready = cases[i].prepare(*home);
      ready.run();
      compare(cases[i], oracle[i], ready.collect(), dtype);
      home->forget();
    }
  }
  EXPECT_GT(worked, 0) << "no home has such a name";
}

}  // namespace
}  // namespace inazuma::testing
