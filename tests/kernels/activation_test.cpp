// The vectorised activations over the whole range of floats, in units of what rounding their argument costs.

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/home.h"
#include "kernels/reference/reference_ops.h"

namespace inazuma::testing {
namespace {

constexpr double kEps = 0x1p-24;

// activate(x) through linear with a weight of one and alpha 1: the sum is x itself.
std::vector<float> activated(Home& home, Activation activation, const std::vector<float>& x) {
  const float one = 1.0f;
  const Matrix weight = home.ops().pack(Tensor(&one, DType::f32, Shape{1, 1}), WeightLayout::out_in);
  const auto rows = static_cast<int64_t>(x.size());
  const Placed out = home.place(blank(rows, 1));
  const Placed in = home.place(floats(rows, 1, [&](int64_t r, int64_t) { return x[static_cast<size_t>(r)]; }));
  home.ops().linear({.out = out.view, .x = in.view, .weight = weight.get(), .activation = activation});
  return home.read(out);
}

std::vector<float> points() {
  std::vector<float> x{0.0f,    -0.0f, 1e-30f, -1e-30f, 1e-8f, 0.6249f, 0.625f,
                       0.6251f, 88.0f, -88.0f, 1e4f,    -1e4f, 3e38f};
  for (float v = -30.0f; v < 30.0f; v += 0.00371f) x.push_back(v);
  for (float v = 1e-6f; v < 100.0f; v *= 1.013f) x.push_back(v), x.push_back(-v);
  return x;
}

// Largest error in units of eps (|y| (1 + c(x)) + tiny): 1 unit is half an ulp of y, and c(x) is how much a relative
// change of the exponential's argument changes y: x² in the tails of the Gaussian forms, |x| (to the third for its tanh
// form) else.
double worst(Activation activation, Home& home) {
  const std::vector<float> x = points(), y = activated(home, activation, x);
  double most = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = activate(activation, x[i]), size = std::abs(static_cast<double>(x[i]));
    if (!(std::abs(exact) <= 3.4e38)) {
      EXPECT_TRUE(std::isinf(y[i])) << name(activation) << "(" << x[i] << ")";
      continue;
    }
    const bool gaussian = activation == Activation::gelu || activation == Activation::gelu_10;
    const bool cubic = activation == Activation::gelu_tanh || activation == Activation::gelu_fast;
    const double argument = x[i] > 0.0f ? 0.0 : gaussian ? size * size : cubic ? size + 0.1 * size * size * size : size;
    // exp gives 0 below 2^-126 instead of a subnormal: x times that at most.
    const double unit = kEps * std::abs(exact) * (1.0 + argument) + 0x1p-126 * std::max(1.0, size);
    most = std::max(most, std::abs(y[i] - exact) / unit);
  }
  return most;
}

TEST(Activation, IsGoodToAFewUlps) {
  for (const auto& make : homes()) {
    const auto home = make();
    if (home->dtype() != DType::f32) continue;  // rounds more than any activation errs
    for (int a = 0; a <= static_cast<int>(Activation::sigmoid); ++a) {
      const auto activation = static_cast<Activation>(a);
      const double error = worst(activation, *home);
      EXPECT_LE(error, 10.0) << home->name() << " " << name(activation);
      RecordProperty(fmt::format("{} {}", home->name(), name(activation)), fmt::format("{:.2f}", error));
    }
  }
}

TEST(Activation, NaNStaysNaN) {
  for (const auto& make : homes()) {
    const auto home = make();
    for (int a = 0; a <= static_cast<int>(Activation::sigmoid); ++a)
      EXPECT_TRUE(std::isnan(activated(*home, static_cast<Activation>(a), {NAN})[0])) << home->name() << " " << a;
  }
}

}  // namespace
}  // namespace inazuma::testing
