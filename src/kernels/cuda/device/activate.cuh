#pragma once
// The element-wise functions of activation.h in f32.

#include "kernels/activation.h"

namespace inazuma::cuda {

__device__ __forceinline__ float exp2_short(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float reciprocal_short(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// x Φ(x) = max(x, 0) - |x| Φ(-|x|), the logarithm of Φ(-|x|) to the base 2 as a polynomial that is off by a factor of
/// at most 1 ± 2.2e-6 up to 5.8 (least squares weighted until the largest error is smallest) and falls for ever after:
/// 4e-7 at worst, exact enough where that is rounded to 16 bits. At inf the second term is 0, at -inf it
/// is NaN as IEEE says.
__device__ __forceinline__ float gelu_short(float x) {
  float below, positive;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(below) : "f"(x), "f"(3.0e38f));
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(positive) : "f"(x), "f"(0.0f));
  const float size = fabsf(below);
  float log = fmaf(size, -1.17201684e-06f, 5.14625362e-05f);
  log = fmaf(size, log, -0.000870366831f);
  log = fmaf(size, log, 0.00833352201f);
  log = fmaf(size, log, -0.0537056229f);
  log = fmaf(size, log, -0.458636805f);
  log = fmaf(size, log, -1.15120867f);
  log = fmaf(size, log, -0.999996915f);
  return fmaf(-size, exp2_short(log), positive);
}

/// `Short`: the result is rounded to 16 bits at once, so that the last digits of f32 need not be right.
template <bool Short>
__device__ __forceinline__ float activate(Activation activation, float x) {
  const auto logistic = [](float v) {
    if constexpr (Short) {
      return reciprocal_short(1.0f + exp2_short(-1.4426950408889634f * v));
    } else {
      return 1.0f / (1.0f + expf(-v));
    }
  };
  // x / (1 + exp(-2 inner)): x/2 (1 + tanh(inner)) without the cancellation of the left tail. At -inf the limit is 0
  // but IEEE says -inf/inf = NaN, as the other homes do.
  const auto tanh_form = [&](float inner) {
    return Short ? x * logistic(2.0f * inner) : x / (1.0f + expf(-2.0f * inner));
  };
  const auto erf_form = [&] {
    constexpr float kSqrtHalf = 0.70710678118654752f;
    return Short ? gelu_short(x) : 0.5f * x * erfcf(-x * kSqrtHalf);
  };
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return x < 0.0f ? 0.0f : x;
    case Activation::relu2: return x < 0.0f ? 0.0f : x * x;
    case Activation::gelu: return erf_form();
    case Activation::gelu_tanh: return tanh_form(0.7978845608028654f * (x + 0.044715f * x * x * x));
    case Activation::gelu_fast: return tanh_form(0.7978845608f * x * (1.0f + 0.044715f * x * x));
    case Activation::gelu_10: {
      const float y = erf_form();
      return y > 10.0f ? 10.0f : y < -10.0f ? -10.0f : y;
    }
    case Activation::quick_gelu: return x / (1.0f + expf(-1.702f * x));
    case Activation::silu: return Short ? x * logistic(x) : x / (1.0f + expf(-x));
    case Activation::mish: return x * tanhf(x > 20.0f ? x : log1pf(expf(x)));
    case Activation::tanh: return tanhf(x);
    case Activation::sigmoid: return logistic(x);
  }
  return x;
}

}  // namespace inazuma::cuda
