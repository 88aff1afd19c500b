#pragma once
// exp, tanh and the activations on Vec. Polynomials are from tools/fit_activations.py; the errors named here are tested
// (tests/kernels/activation_test.cpp).

#include "kernels/activation.h"
#include "kernels/cpu/isa/vec.h"

namespace inazuma::INAZUMA_ISA {

template <int N>
inline Vec polynomial(Vec x, const float (&c)[N]) {
  Vec y = Vec::all(c[N - 1]);
#pragma GCC unroll 16
  for (int i = N - 2; i >= 0; --i) y = fma(y, x, Vec::all(c[i]));
  return y;
}

/// Within 2 ulp; 0 below the smallest normal float (subnormals are slow and mean nothing here), inf above the largest.
inline Vec exp(Vec x) {
  constexpr float kPowers[] = {1.0f, 1.0f, 0.499999911f, 0.166664198f, 0.0416682251f, 0.00837482233f, 0.00138368295f};
  const Vec low = Vec::all(-87.33f);
  const Vec inside = min(Vec::all(89.0f), max(low, x));  // the order keeps NaN
  const Vec n = round(inside * Vec::all(1.44269504f));
  Vec r = fma(n, Vec::all(-0.693359375f), inside);  // ln 2 in two parts: the first times n is exact
  r = fma(n, Vec::all(2.12194440e-4f), r);
  const Vec y = scale_by_power(polynomial(r, kPowers), n);
  return select(less(x, low), Vec::zero(), y);
}

inline Vec sigmoid(Vec x) {
  return Vec::all(1.0f) / (Vec::all(1.0f) + exp(Vec::zero() - x));
}

inline Vec tanh(Vec x) {
  constexpr float kOdd[] = {1.0f, -0.333332598f, 0.133311272f, -0.0537210666f, 0.0205909815f, -0.00565998023f};
  const Vec size = abs(x);
  const Vec near = x * polynomial(x * x, kOdd);
  const Vec far = Vec::all(1.0f) - Vec::all(2.0f) / (exp(size + size) + Vec::all(1.0f));
  const Vec signed_far = select(less(x, Vec::zero()), Vec::zero() - far, far);
  return select(less(size, Vec::all(0.625f)), near, signed_far);
}

/// x Φ(x) through erfc(t) = exp(-t²) u P(u), u = 1 / (1 + t / 2): the left tail keeps its digits.
inline Vec gelu(Vec x) {
  constexpr float kTail[] = {0.282084346f, 0.282412112f,  0.242835075f, 0.203752741f, -0.0291491598f,
                             0.281734318f, -0.490407377f, 0.286124468f, -0.05938657f};
  const Vec t = abs(x) * Vec::all(0.707106781f);
  const Vec u = Vec::all(1.0f) / fma(t, Vec::all(0.5f), Vec::all(1.0f));
  const Vec half_erfc = Vec::all(0.5f) * (polynomial(u, kTail) * u) * exp(Vec::zero() - t * t);
  return x * select(less(x, Vec::zero()), half_erfc, Vec::all(1.0f) - half_erfc);
}

/// x/2 (1 + tanh(z)) = x sigmoid(2z), z = slope · x (1 + 0.044715 x²): no cancellation in the left tail.
inline Vec gelu_by_tanh(Vec x, float slope) {
  const Vec cubic = fma(Vec::all(0.044715f) * (x * x), x, x);
  return x / (Vec::all(1.0f) + exp(Vec::all(-2.0f * slope) * cubic));
}

inline Vec mish(Vec x) {
  const Vec e = exp(min(Vec::all(20.0f), x));  // tanh(softplus(x)) = n / (n + 2); beyond 20 it is 1
  const Vec n = e * (e + Vec::all(2.0f));
  return x * (n / (n + Vec::all(2.0f)));
}

inline Vec activate(Activation activation, Vec x) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return max(Vec::zero(), x);
    case Activation::relu2: return max(Vec::zero(), x) * max(Vec::zero(), x);
    case Activation::gelu: return gelu(x);
    case Activation::gelu_tanh:
    case Activation::gelu_fast: return gelu_by_tanh(x, 0.7978845608f);
    case Activation::gelu_10: return min(Vec::all(10.0f), max(Vec::all(-10.0f), gelu(x)));
    case Activation::quick_gelu: return x / (Vec::all(1.0f) + exp(Vec::all(-1.702f) * x));
    case Activation::silu: return x / (Vec::all(1.0f) + exp(Vec::zero() - x));
    case Activation::mish: return mish(x);
    case Activation::tanh: return tanh(x);
    case Activation::sigmoid: return sigmoid(x);
  }
  return x;
}

}  // namespace inazuma::INAZUMA_ISA
