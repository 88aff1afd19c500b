#pragma once
// The element-wise functions that follow a dense product.

namespace inazuma {

enum class Activation {
  none,
  relu,
  relu2,       ///< relu(x)^2
  gelu,        ///< x/2 (1 + erf(x / sqrt 2))
  gelu_tanh,   ///< x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): gelu_new, gelu_pytorch_tanh, T5's gated-gelu
  gelu_fast,   ///< the same with 0.7978845608 x (1 + 0.044715 x^2)
  gelu_10,     ///< gelu clipped to [-10, 10]
  quick_gelu,  ///< x sigmoid(1.702 x)
  silu,
  mish,
  tanh,
  sigmoid,
};

}  // namespace inazuma
