#include <cmath>

#include "kernels/cases.h"

namespace inazuma::testing {

namespace {

struct LinearCase {
  int64_t rows, in, out;
  WeightLayout layout = WeightLayout::out_in;
  Activation activation = Activation::none;
  bool bias = false, multiplier = false, residual = false, in_place = false;
  float alpha = 1.0f;
  Layout view;  ///< of x, out, multiplier and residual
  DType stored = DType::f32;
  int parts = 1;             ///< stacked weights
  bool floats = false;       ///< out (and residual) are f32 in every home
  const char* special = "";  ///< "nan": row 0 of x holds a NaN; "inf": an infinity; "inf weight": a weight is one
};

struct Inputs {
  Array x, bias, multiplier, residual;
  std::vector<std::vector<float>> weights;          ///< by part, as stored
  std::vector<std::vector<uint16_t>> half_weights;  ///< when stored is f16 or bf16
  std::vector<Tensor> sources;
};

uint16_t half_bits(float value, DType dtype) {
  return dtype == DType::f16 ? to_half(value).bits : to_bfloat16(value).bits;
}

std::shared_ptr<Inputs> inputs_of(const LinearCase& c) {
  Random random(static_cast<uint64_t>(c.rows * 7919 + c.in * 104729 + c.out));
  auto inputs = std::make_shared<Inputs>();
  inputs->x = normal(random, c.rows, c.in, c.view);
  if (c.special == std::string("nan")) inputs->x.at(0, c.in / 2) = std::nanf("");
  if (c.special == std::string("inf")) inputs->x.at(0, c.in / 2) = HUGE_VALF;
  const float scale = 1.0f / std::sqrt(static_cast<float>(c.in));
  for (int p = 0; p < c.parts; ++p) {
    const int64_t columns = c.out / c.parts + (p == 0 ? c.out % c.parts : 0);
    auto& weight = inputs->weights.emplace_back(static_cast<size_t>(columns * c.in));
    auto& half = inputs->half_weights.emplace_back(weight.size());
    for (size_t i = 0; i < weight.size(); ++i) {
      weight[i] = scale * random.normal();
      if (c.special == std::string("inf weight") && i == 5) weight[i] = HUGE_VALF;
      if (c.stored == DType::f32) continue;
      half[i] = half_bits(weight[i], c.stored);
      weight[i] = c.stored == DType::f16 ? to_float(Half{half[i]}) : to_float(BFloat16{half[i]});
    }
    const Shape shape = c.layout == WeightLayout::out_in ? Shape{columns, c.in} : Shape{c.in, columns};
    const void* data = c.stored == DType::f32 ? static_cast<const void*>(weight.data()) : half.data();
    inputs->sources.emplace_back(data, c.stored, shape);
  }
  inputs->bias = normal(random, 1, c.out);
  inputs->bias.shape = Shape{c.out};
  inputs->multiplier = normal(random, c.rows, c.out, c.view);
  inputs->residual = normal(random, c.rows, c.out, c.view);
  return inputs;
}

Ready prepare(const LinearCase& c, const std::shared_ptr<Inputs>& inputs, Home& home) {
  LinearArgs args;
  auto weight = home.pack(inputs->sources, c.layout);
  const Placed x = home.place(inputs->x);
  const auto like_out = [&](Array array) { return home.place(c.floats ? full(std::move(array)) : std::move(array)); };
  const Placed out = like_out(c.in_place ? inputs->residual : blank(c.rows, c.out, c.view));
  args.x = x.view;
  args.out = out.view;
  args.weight = weight.get();
  args.activation = c.activation;
  args.alpha = c.alpha;
  if (c.bias) args.bias = home.place(inputs->bias).view;
  if (c.multiplier) args.multiplier = home.place(inputs->multiplier).view;
  if (c.residual) args.residual = c.in_place ? out.view : like_out(inputs->residual).view;
  return {.run = [&home, args, weight] { home.ops().linear(args); },
          .collect =
              [&home, out] {
                return std::vector<Produced>{{"out", home.read(out)}};
              }};
}

// Forward error of the sum: at most (length of the longest chain of additions) · eps · Σ|x w| (Higham, Accuracy and
// Stability of Numerical Algorithms, section 3.1); chains are 256 long, then one addition per 256. It passes the
// activation with its largest slope (1.13 for gelu; 2|z| for relu2), whose own evaluation is good to some ulps of its
// argument's size.
// In 16 bits the sum may be rounded before bias and activation follow: `sums` gives its share of the answer.
std::function<double(size_t, size_t, double)> tolerance_of(const LinearCase& c, const std::shared_ptr<Inputs>& inputs,
                                                           const std::shared_ptr<std::vector<double>>& sums) {
  auto bounds = std::make_shared<std::vector<double>>();
  return [c, inputs, bounds, sums](size_t, size_t i, double oracle) {
    if (bounds->empty() && c.rows > 0) {
      const bool out_in = c.layout == WeightLayout::out_in;
      const double chain = static_cast<double>(std::min<int64_t>(c.in, 256)) + static_cast<double>(c.in) / 256 + 4;
      for (int64_t r = 0; r < c.rows; ++r)
        for (size_t p = 0, column = 0; p < inputs->weights.size(); ++p) {
          const int64_t columns = static_cast<int64_t>(inputs->weights[p].size()) / c.in;
          for (int64_t o = 0; o < columns; ++o, ++column) {
            double sum = 0.0, size = 0.0;
            for (int64_t k = 0; k < c.in; ++k) {
              const double product = static_cast<double>(inputs->x.at(r, k)) *
                                     inputs->weights[p][static_cast<size_t>(out_in ? o * c.in + k : k * columns + o)];
              sum += product;
              size += std::abs(product);
            }
            const double bias = c.bias ? inputs->bias.at(0, static_cast<int64_t>(column)) : 0.0;
            const double z = std::abs(sum * c.alpha + bias);
            const double slope = c.activation == Activation::relu2 ? 2.0 * z : 1.2;
            double bound = slope * kEps * (chain + 2) * (size * std::abs(c.alpha) + std::abs(bias));
            if (c.activation != Activation::none) bound += 16 * kEps * (z * std::max(1.0, z) + 1.0);
            if (c.multiplier) bound *= std::abs(inputs->multiplier.at(r, static_cast<int64_t>(column)));
            const double gate = c.multiplier ? std::abs(inputs->multiplier.at(r, static_cast<int64_t>(column))) : 1.0;
            // The library may add the residual before the bias, and rounds in between.
            const double size_of_sum = std::abs(sum * c.alpha) + std::abs(bias);
            const double added =
                c.residual ? size_of_sum + std::abs(inputs->residual.at(r, static_cast<int64_t>(column))) : 0.0;
            const double steepest = c.activation == Activation::relu2 ? 2 * (z + 0x1p-6 * size_of_sum) : 1.2;
            sums->push_back(steepest * (size_of_sum + z) * gate + added);
            if (c.residual) bound += kEps * std::abs(inputs->residual.at(r, static_cast<int64_t>(column)));
            bounds->push_back(bound);
          }
        }
    }
    return (*bounds)[i] + 4 * kEps * std::abs(oracle);
  };
}

}  // namespace

std::vector<Case> linear_cases() {
  std::vector<LinearCase> list;
  const Layout odd{.slack = 3, .offset = 1};
  for (int64_t rows : {0, 1, 2, 3, 5, 6, 7, 13, 14, 15, 16, 29, 40, 113})
    list.push_back({.rows = rows, .in = 300, .out = 100, .bias = true});
  for (int64_t out : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 45, 63, 65}) {
    list.push_back({.rows = 5, .in = 64, .out = out, .bias = true, .residual = true, .view = odd});
    list.push_back({.rows = 1, .in = 33, .out = out, .layout = WeightLayout::in_out});
  }
  for (int64_t in : {1, 2, 3, 15, 17, 255, 256, 257, 511, 512, 513, 768, 1024, 3072})
    list.push_back({.rows = 9, .in = in, .out = 40, .multiplier = true, .view = odd});
  for (int a = 0; a <= static_cast<int>(Activation::sigmoid); ++a)
    list.push_back({.rows = 17,
                    .in = 50,
                    .out = 70,
                    .activation = static_cast<Activation>(a),
                    .bias = true,
                    .multiplier = a % 2 == 1,
                    .residual = a % 3 == 1,
                    .alpha = 3.0f});
  list.push_back({.rows = 20, .in = 128, .out = 128, .bias = true, .residual = true, .in_place = true, .view = odd});
  list.push_back({.rows = 4, .in = 96, .out = 96, .residual = true, .in_place = true, .alpha = 0.125f});
  for (DType stored : {DType::f16, DType::bf16})
    for (WeightLayout layout : {WeightLayout::out_in, WeightLayout::in_out})
      list.push_back({.rows = 6, .in = 80, .out = 50, .layout = layout, .stored = stored, .parts = 3});
  list.push_back({.rows = 8, .in = 100, .out = 100, .layout = WeightLayout::in_out, .bias = true, .parts = 3});
  list.push_back({.rows = 3, .in = 70, .out = 40, .bias = true, .special = "nan"});
  list.push_back({.rows = 3, .in = 70, .out = 40, .activation = Activation::gelu_tanh, .special = "inf"});
  list.push_back({.rows = 20, .in = 70, .out = 40, .residual = true, .in_place = true, .special = "inf"});
  list.push_back({.rows = 130, .in = 70, .out = 40, .bias = true, .special = "inf weight"});
  list.push_back({.rows = 40, .in = 768, .out = 768, .bias = true, .residual = true});
  list.push_back({.rows = 3, .in = 768, .out = 3072, .activation = Activation::gelu, .bias = true});
  list.push_back({.rows = 1, .in = 256, .out = 32000});
  // Many rows, aligned: tiles of 64 and 128 rows and columns, whole and cut, one inner stage and more than a ring of
  // them.
  list.push_back({.rows = 130, .in = 768, .out = 200, .activation = Activation::gelu, .bias = true});
  list.push_back({.rows = 300, .in = 128, .out = 328, .bias = true, .residual = true, .in_place = true});
  list.push_back({.rows = 257, .in = 72, .out = 136, .activation = Activation::gelu_tanh, .multiplier = true});
  list.push_back({.rows = 70, .in = 3072, .out = 72, .bias = true, .residual = true, .floats = true});
  list.push_back(
      {.rows = 190, .in = 1032, .out = 264, .residual = true, .in_place = true, .alpha = 0.5f, .floats = true});
  // Rows that pass in pieces of their inputs, by more panels than have their sums kept (cpu/isa/linear_tiles.cpp).
  list.push_back({.rows = 90, .in = 1450, .out = 1700, .bias = true});
  list.push_back({.rows = 2100, .in = 64, .out = 1160, .activation = Activation::relu, .bias = true});
  list.push_back({.rows = 1500, .in = 192, .out = 392, .residual = true});
  list.push_back({.rows = 2100, .in = 24, .out = 2320, .activation = Activation::gelu, .bias = true});

  std::vector<Case> cases;
  for (const LinearCase& c : list) {
    const auto inputs = inputs_of(c);
    Case out;
    out.name = fmt::format("linear {}x{}x{}{}{}{}{}{}{}{}{}{}{}{}", c.rows, c.in, c.out,
                           c.layout == WeightLayout::in_out ? " in_out" : "",
                           c.activation == Activation::none ? "" : fmt::format(" {}", inazuma::name(c.activation)),
                           c.bias ? " bias" : "", c.multiplier ? " multiplier" : "", c.residual ? " residual" : "",
                           c.in_place ? " in_place" : "", c.floats ? " f32" : "", c.view.offset != 0 ? " odd" : "",
                           c.stored == DType::f32 ? "" : fmt::format(" {}", inazuma::name(c.stored)),
                           c.parts > 1 ? " stacked" : "", c.alpha != 1.0f ? " alpha" : "", c.special);
    out.flops = 2.0 * static_cast<double>(c.rows * c.in * c.out);
    out.bytes = 4.0 * static_cast<double>(c.in * c.out + c.rows * (c.in + c.out));
    out.prepare = [c, inputs](Home& home) { return prepare(c, inputs, home); };
    const auto sums = std::make_shared<std::vector<double>>();
    out.tolerance = tolerance_of(c, inputs, sums);
    out.rounded = [sums](size_t, size_t i, double oracle) { return (*sums)[i] + std::abs(oracle); };
    cases.push_back(std::move(out));
  }
  return cases;
}

}  // namespace inazuma::testing
