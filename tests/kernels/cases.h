#pragma once
// The one list of cases: what is computed, how far from the oracle an answer may be, and how much work it is. Tests
// compare every home with the reference on it; bench/kernels_bench times the same list.

#include <cmath>

#include "kernels/home.h"

namespace inazuma::testing {

constexpr double kEps = 0x1p-24;  ///< half an ulp of 1 in f32

struct Produced {
  std::string what;
  std::vector<float> values;
};

/// A case made ready on one home: `run` may be called again and again; `collect` reads what it produced.
struct Ready {
  std::function<void()> run;
  std::function<std::vector<Produced>()> collect;
};

struct Case {
  std::string name;
  double flops = 0.0;  ///< of one run, multiply and add counted apart
  double bytes = 0.0;  ///< read and written at least once
  std::function<Ready(Home&)> prepare;
  /// How far element `i` of output `o` may be from the oracle's value; 0 = identical.
  std::function<double(size_t o, size_t i, double oracle)> tolerance;
  /// What a home that computes in 16 bits may add, in units of that type's rounding (2^-11 or 2^-8): the sizes of all
  /// numbers that it rounds on the way. Products and sums are f32 there too.
  std::function<double(size_t o, size_t i, double oracle)> rounded = [](size_t, size_t, double oracle) {
    return std::abs(oracle);
  };
};

std::vector<Case> linear_cases();
std::vector<Case> row_cases();  ///< norm, embed, gather, pool, store, history, log-probabilities
std::vector<Case> attention_cases();
std::vector<Case> selection_cases();
std::vector<Case> all_cases();

}  // namespace inazuma::testing
