#include <cmath>
#include <numeric>

#include "kernels/cases.h"

namespace inazuma::testing {

namespace {

constexpr Layout kOdd{.slack = 3, .offset = 1};

std::function<double(size_t, size_t, double)> exact() {
  return [](size_t, size_t, double) { return 0.0; };
}

struct NormCase {
  int64_t rows, width;
  NormKind kind = NormKind::layer;
  bool bias = true, residual = false, sum = false;
  const char* alias = "";  ///< "out=x", "sum=residual", "sum=x"
  Layout view;
  const char* special = "";  ///< "constant": rows without variance; "large": a mean far from zero; "nan"
};

Case norm_case(const NormCase& c) {
  Random random(static_cast<uint64_t>(c.rows * 31 + c.width));
  auto x = std::make_shared<Array>(normal(random, c.rows, c.width, c.view));
  auto residual = std::make_shared<Array>(normal(random, c.rows, c.width, c.view));
  const std::string special = c.special, alias = c.alias;
  for (int64_t r = 0; r < c.rows; ++r)
    for (int64_t k = 0; k < c.width; ++k) {
      if (special == "constant") x->at(r, k) = 2.5f;
      if (special == "large") x->at(r, k) += 1000.0f;
    }
  if (special == "nan") x->at(c.rows / 2, c.width / 2) = std::nanf("");
  auto weight = std::make_shared<Array>(normal(random, 1, c.width));
  auto bias = std::make_shared<Array>(normal(random, 1, c.width));
  weight->shape = bias->shape = Shape{c.width};

  Case out;
  out.name =
      fmt::format("norm {} {}x{}{}{}{} {}{}", c.kind == NormKind::layer ? "layer" : "rms", c.rows, c.width,
                  c.residual ? " residual" : "", c.sum ? " sum" : "", c.view.offset != 0 ? " odd" : "", alias, special);
  out.flops = 8.0 * static_cast<double>(c.rows * c.width);
  out.bytes = 4.0 * static_cast<double>(c.rows * c.width * (2 + c.residual + c.sum));
  out.prepare = [=](Home& home) {
    NormArgs args{.epsilon = 1e-5f, .kind = c.kind};
    const Placed px = home.place(*x), pr = home.place(*residual);
    const Placed out_place = alias == "out=x" ? px : home.place(blank(c.rows, c.width, c.view));
    const Placed sum = alias == "sum=residual" ? pr
                       : alias == "sum=x"      ? px
                                               : home.place(blank(c.rows, c.width, c.view));
    args.x = px.view;
    args.out = out_place.view;
    args.weight = home.place(*weight).view;
    if (c.bias && c.kind == NormKind::layer) args.bias = home.place(*bias).view;
    if (c.residual) args.residual = pr.view;
    if (c.sum) args.sum = sum.view;
    return Ready{[&home, args] { home.ops().norm(args); },
                 [&home, out_place, sum, c] {
                   std::vector<Produced> all{{"out", home.read(out_place)}};
                   if (c.sum) all.push_back({"sum", home.read(sum)});
                   return all;
                 }};
  };
  // Sums of n terms in at least 4 chains of at least 4 lanes: n/16 additions and a few; the mean's error moves every
  // value, the variance's scales them.
  out.tolerance = [=](size_t o, size_t i, double oracle) {
    if (o == 1) return kEps * std::abs(oracle);
    const auto row = static_cast<int64_t>(i) / c.width, column = static_cast<int64_t>(i) % c.width;
    const auto value = [&](int64_t k) {
      return static_cast<double>(x->at(row, k)) + (c.residual ? static_cast<double>(residual->at(row, k)) : 0.0);
    };
    const auto n = static_cast<double>(c.width);
    double mean = 0.0, size = 0.0, squares = 0.0;
    for (int64_t k = 0; k < c.width; ++k) mean += value(k) / n, size += std::abs(value(k)) / n;
    if (c.kind == NormKind::rms) mean = 0.0;
    for (int64_t k = 0; k < c.width; ++k) squares += (value(k) - mean) * (value(k) - mean) / n;
    const double scale = 1.0 / std::sqrt(squares + 1e-5), chain = n / 16 + 12, w = std::abs(weight->at(0, column));
    const double moved = kEps * (2 * std::abs(value(column)) + chain * size);
    const double scaled = kEps * (2 * chain + 4) * std::abs(value(column) - mean);
    return 1.1 * w * scale * (moved + scaled) + 3 * kEps * (std::abs(oracle) + std::abs(bias->at(0, column)));
  };
  return out;
}

Case embed_case(int64_t tokens, int64_t width, int terms, Layout view) {
  Random random(static_cast<uint64_t>(tokens + width));
  std::vector<Array> tables, ids;
  for (int t = 0; t < terms; ++t) {
    tables.push_back(normal(random, 11 + t, width, view));
    std::vector<int32_t> numbers;
    for (int64_t i = 0; i < tokens; ++i) numbers.push_back(random.below(11 + t));
    ids.push_back(ints(numbers));
  }
  Case out;
  out.name = fmt::format("embed {}x{} of {} tables", tokens, width, terms);
  out.bytes = 4.0 * static_cast<double>(tokens * width * (terms + 1));
  out.prepare = [=](Home& home) {
    std::vector<EmbeddingTerm> list;
    for (size_t t = 0; t < tables.size(); ++t) list.push_back({home.place(tables[t]).view, home.place(ids[t]).view});
    const Placed result = home.place(blank(tokens, width, view));
    return Ready{[&home, list, result] { home.ops().embed(result.view, list); },
                 [&home, result] {
                   return std::vector<Produced>{{"out", home.read(result)}};
                 }};
  };
  // `terms` roundings of sums of normal numbers below 6 each.
  out.tolerance = [terms](size_t, size_t, double) { return kEps * terms * 6.0 * terms; };
  return out;
}

/// floats: the answer is f32 in every home.
Case gather_case(int64_t width, Layout view, std::vector<int32_t> rows, bool floats = false) {
  Random random(3);
  const Array x = normal(random, 9, width, view), numbers = ints(rows);
  Case out;
  const Array answer = blank(numbers.cols, width, view);
  out.name = fmt::format("gather_rows {}x{}{}", rows.size(), width, floats ? " to f32" : "");
  out.bytes = 8.0 * static_cast<double>(static_cast<int64_t>(rows.size()) * width);
  out.prepare = [=](Home& home) {
    const Placed result = home.place(floats ? full(answer) : answer);
    return Ready{[&home, result, px = home.place(x), pn = home.place(numbers)] {
                   home.ops().gather_rows(result.view, px.view, pn.view);
                 },
                 [&home, result] {
                   return std::vector<Produced>{{"out", home.read(result)}};
                 }};
  };
  out.tolerance = out.rounded = exact();
  return out;
}

Case copy_case(const std::vector<int32_t>& from, const std::vector<int32_t>& to, int64_t width) {
  Random random(11);
  const Array x = normal(random, 9, width, {});
  Case out;
  out.name = fmt::format("copy_rows {}x{}", from.size(), width);
  out.bytes = 8.0 * static_cast<double>(static_cast<int64_t>(from.size()) * width);
  out.prepare = [=](Home& home) {
    const Placed rows = home.place(x);
    return Ready{[&home, rows, pf = home.place(ints(from)), pt = home.place(ints(to))] {
                   home.ops().copy_rows(rows.view, pf.view, pt.view);
                 },
                 [&home, rows] {
                   return std::vector<Produced>{{"x", home.read(rows)}};
                 }};
  };
  out.tolerance = out.rounded = exact();
  return out;
}

Case pool_case(Pooling pooling, int64_t width, Layout view, bool nan) {
  Random random(5);
  Array x = normal(random, 20, width, view);
  if (nan) x.at(4, width - 1) = std::nanf("");
  Case out;
  out.name = fmt::format("pool {} width {}{}", inazuma::name(pooling), width, nan ? " nan" : "");
  out.bytes = 80.0 * static_cast<double>(width);
  out.prepare = [=](Home& home) {
    const Placed result = home.place(blank(4, width, view));
    const Tensor offsets = home.place(ints({0, 1, 8, 8, 20})).view, which = home.place(ints({3, 0, 2, 1})).view;
    return Ready{[&home, result, offsets, which, pooling, px = home.place(x)] {
                   home.ops().pool(result.view, px.view, offsets, which, pooling);
                 },
                 [&home, result] {
                   return std::vector<Produced>{{"out", home.read(result)}};
                 }};
  };
  // At most 12 rows of numbers below 6, weighted by up to 12 (weighted_mean divides by 78 again); one chain of
  // additions.
  out.tolerance = [](size_t, size_t, double) { return kEps * 14 * 12 * 6; };
  return out;
}

Case store_case(int heads, int head_dim, int block_tokens) {
  Random random(7);
  const int64_t width = int64_t{heads} * head_dim;
  const Array k = normal(random, 5, width, kOdd), v = normal(random, 5, width, kOdd);
  Case out;
  out.name = fmt::format("store_kv {} heads of {} in blocks of {}", heads, head_dim, block_tokens);
  out.bytes = 80.0 * static_cast<double>(width);
  out.prepare = [=](Home& home) {
    Array pool = blank(int64_t{4} * heads * block_tokens, head_dim);
    for (int64_t r = 0; r < pool.rows; ++r)
      for (int64_t c = 0; c < pool.cols; ++c) pool.at(r, c) = -1.0f;
    pool.shape = Shape{4, heads, block_tokens, head_dim};
    const Placed keys = home.place(pool), values = home.place(pool);
    StoreKvArgs args{.keys = keys.view, .values = values.view, .k = home.place(k).view, .v = home.place(v).view};
    args.slots = home.place(ints({0, 4 * block_tokens - 1, -1, block_tokens, 2 * block_tokens + 1})).view;
    return Ready{[&home, args] { home.ops().store_kv(args); },
                 [&home, keys, values] {
                   return std::vector<Produced>{{"keys", home.read(keys)}, {"values", home.read(values)}};
                 }};
  };
  out.tolerance = out.rounded = exact();
  return out;
}

Case history_case() {
  std::vector<int32_t> numbers(35);
  std::iota(numbers.begin(), numbers.end(), 100);
  Case out;
  out.name = "read_history";
  out.prepare = [=](Home& home) {
    const Placed result = home.place(ints({0, 0, 0, 0}));
    const Tensor history = home.place(ints(numbers, 5)).view;
    const Tensor slots = home.place(ints({4, 0, 2, 4})).view, positions = home.place(ints({6, 0, 3, 6})).view;
    return Ready{[=, &home] { home.ops().read_history(result.view, history, slots, positions); },
                 [=, &home] {
                   return std::vector<Produced>{{"ids", home.read(result)}};
                 }};
  };
  out.tolerance = out.rounded = exact();
  return out;
}

Case logprob_case(int64_t vocab, float spread, Layout view) {
  Random random(static_cast<uint64_t>(vocab));
  const Array logits = full(normal(random, 4, vocab, view, spread));
  std::vector<int32_t> targets;
  for (int r = 0; r < 4; ++r) targets.push_back(r == 0 ? static_cast<int32_t>(vocab - 1) : random.below(vocab));
  Case out;
  out.name = fmt::format("token_logprobs 4x{} spread {}", vocab, spread);
  out.bytes = 16.0 * static_cast<double>(vocab);
  out.prepare = [=](Home& home) {
    Array blank_row = full(blank(1, 4));
    blank_row.shape = Shape{4};
    const Placed result = home.place(blank_row);
    const Tensor ids = home.place(ints(targets)).view;
    return Ready{[=, &home, places = home.place(logits)] { home.ops().token_logprobs(result.view, places.view, ids); },
                 [=, &home] {
                   return std::vector<Produced>{{"out", home.read(result)}};
                 }};
  };
  // Terms rounded in their argument (spread · 6 ulps) and summed 1024/4 at a time in float, then in double.
  out.tolerance = [spread](size_t, size_t, double oracle) {
    return kEps * (256 + 8 + 12.0 * spread + 2 * std::abs(oracle));
  };
  out.rounded = exact();
  return out;
}

}  // namespace

std::vector<Case> row_cases() {
  std::vector<Case> cases;
  for (int64_t width : {1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 64, 65, 100, 127, 768, 1024, 1025})
    for (NormKind kind : {NormKind::layer, NormKind::rms})
      cases.push_back(norm_case({.rows = 3, .width = width, .kind = kind, .residual = width % 2 == 1, .view = kOdd}));
  for (int64_t rows : {0, 1, 40, 90})
    cases.push_back(norm_case({.rows = rows, .width = 768, .residual = true, .sum = true}));
  for (NormKind kind : {NormKind::layer, NormKind::rms}) {
    cases.push_back(norm_case({.rows = 7, .width = 70, .kind = kind, .alias = "out=x", .view = kOdd}));
    cases.push_back(norm_case({.rows = 7, .width = 70, .kind = kind, .residual = true, .alias = "out=x"}));
    cases.push_back(
        norm_case({.rows = 7, .width = 70, .kind = kind, .residual = true, .sum = true, .alias = "sum=residual"}));
    cases.push_back(norm_case({.rows = 7, .width = 70, .kind = kind, .residual = true, .sum = true, .alias = "sum=x"}));
    cases.push_back(norm_case({.rows = 3, .width = 70, .kind = kind, .bias = false, .special = "constant"}));
    cases.push_back(norm_case({.rows = 3, .width = 770, .kind = kind, .special = "large"}));
    cases.push_back(norm_case({.rows = 3, .width = 33, .kind = kind, .special = "nan"}));
  }
  for (int64_t tokens : {0, 1, 40}) cases.push_back(embed_case(tokens, 768, 3, {}));
  for (int64_t width : {1, 7, 33}) cases.push_back(embed_case(5, width, 2, kOdd));
  cases.push_back(embed_case(5, 64, 1, kOdd));
  cases.push_back(gather_case(33, kOdd, {8, 0, 0, 3}));
  cases.push_back(gather_case(1, {}, {5}));
  cases.push_back(gather_case(64, {}, {}));
  cases.push_back(gather_case(768, {}, {8, 0, 0, 3, 7}));
  cases.push_back(gather_case(1032, {.slack = 8}, {2, 8, 1}, true));
  cases.push_back(copy_case({8, 0, 0, 3}, {1, 2, 7, 4}, 64));
  cases.push_back(copy_case({3}, {5}, 33));
  cases.push_back(copy_case({1, 2}, {3, 0}, 20000));
  cases.push_back(copy_case({}, {}, 8));
  for (Pooling pooling :
       {Pooling::mean, Pooling::cls, Pooling::max, Pooling::mean_sqrt_len, Pooling::weighted_mean, Pooling::last})
    for (int64_t width : {1, 19, 64}) cases.push_back(pool_case(pooling, width, kOdd, width == 19));
  cases.push_back(store_case(3, 5, 4));
  cases.push_back(store_case(12, 64, 16));
  cases.push_back(history_case());
  for (int64_t vocab : {1, 5, 100, 32000}) cases.push_back(logprob_case(vocab, 3.0f, kOdd));
  cases.push_back(logprob_case(5000, 100.0f, {}));
  return cases;
}

std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (auto list : {linear_cases, row_cases, attention_cases, selection_cases})
    for (Case& c : list()) all.push_back(std::move(c));
  return all;
}

}  // namespace inazuma::testing
