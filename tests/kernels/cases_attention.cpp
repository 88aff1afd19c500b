#include <algorithm>
#include <cmath>

#include "kernels/cases.h"

namespace inazuma::testing {

namespace {

struct AttentionCase {
  std::vector<int32_t> rows;      ///< query rows of each sequence
  std::vector<int32_t> contexts;  ///< keys of each sequence; empty = attention among the rows themselves
  int heads, head_dim;
  bool causal = false;
  int bias_reach = -1;  ///< -1 = no bias
  int block_tokens = 16;
  float scale = 0.125f;
  float spread = 1.0f;       ///< of q: large = one key takes all
  const char* special = "";  ///< "nan", "nan value": a NaN in the last key (value) of the first sequence
  bool aligned = false;      ///< rows begin at multiples of eight elements, as a model's do
};

struct Inputs {
  Array q, k, v, keys, values, bias;
  std::vector<int32_t> offsets{0}, tables;
  int64_t blocks = 0, table_width = 1;
  int32_t longest = 0;
};

std::shared_ptr<Inputs> inputs_of(const AttentionCase& c) {
  Random random(static_cast<uint64_t>(c.heads * 1009 + c.head_dim + c.block_tokens));
  auto in = std::make_shared<Inputs>();
  for (int32_t rows : c.rows) in->offsets.push_back(in->offsets.back() + rows);
  const int64_t tokens = in->offsets.back(), width = int64_t{c.heads} * c.head_dim;
  const Layout fused = c.aligned ? Layout{.slack = 2 * width} : Layout{.slack = 2 * width + 1, .offset = 1};
  in->q = normal(random, tokens, width, fused, c.spread);
  in->k = normal(random, tokens, width, fused);
  in->v = normal(random, tokens, width, fused);
  const auto& contexts = c.contexts.empty() ? c.rows : c.contexts;
  for (int32_t context : contexts) in->longest = std::max(in->longest, context);
  if (c.special == std::string("nan") && c.contexts.empty()) in->k.at(c.rows[0] - 1, 0) = std::nanf("");
  const bool nan_value = c.special == std::string("nan value");
  if (nan_value && c.contexts.empty()) in->v.at(c.rows[0] - 1, 0) = std::nanf("");
  if (!c.contexts.empty()) {
    in->table_width = (in->longest + c.block_tokens - 1) / c.block_tokens + 1;
    in->blocks = 1;  // block 0 belongs to nobody
    in->tables.assign(contexts.size() * static_cast<size_t>(in->table_width),
                      -7);  // entries beyond the context are never used
    for (size_t s = 0; s < contexts.size(); ++s)
      for (int64_t b = 0; b * c.block_tokens < contexts[s]; ++b)
        in->tables[s * static_cast<size_t>(in->table_width) + static_cast<size_t>(b)] =
            static_cast<int32_t>(in->blocks++);
    // Blocks are handed out back to front: neighbours in the table are not neighbours in memory.
    for (int32_t& entry : in->tables)
      if (entry > 0) entry = static_cast<int32_t>(in->blocks) - entry;
    const auto pool = [&] {
      Array array = blank(in->blocks * c.heads * c.block_tokens, c.head_dim);  // NaN where nothing is stored
      array.shape = Shape{in->blocks, c.heads, c.block_tokens, c.head_dim};
      for (size_t s = 0; s < contexts.size(); ++s)
        for (int64_t j = 0; j < contexts[s]; ++j)
          for (int64_t h = 0; h < c.heads; ++h)
            for (int64_t d = 0; d < c.head_dim; ++d) {
              const int64_t block =
                  in->tables[s * static_cast<size_t>(in->table_width) + static_cast<size_t>(j / c.block_tokens)];
              array.at((block * c.heads + h) * c.block_tokens + j % c.block_tokens, d) = random.normal();
            }
      return array;
    };
    in->keys = pool();
    in->values = pool();
    const int64_t last = contexts[0] - 1;
    if (nan_value)
      in->values.at(
          in->tables[static_cast<size_t>(last / c.block_tokens)] * c.heads * c.block_tokens + last % c.block_tokens,
          0) = std::nanf("");
  }
  in->bias = normal(random, c.heads, 2 * std::max(c.bias_reach, 0) + 1);
  return in;
}

template <class Args>
void set_common(Args& args, const AttentionCase& c, const Inputs& in, Home& home) {
  args.q = home.place(in.q).view;
  args.offsets = home.place(ints(in.offsets)).view;
  args.heads = c.heads;
  args.head_dim = c.head_dim;
  args.scale = c.scale;
  args.causal = c.causal;
  if (c.bias_reach >= 0) args.bias = {home.place(full(in.bias)).view, c.bias_reach};
}

Ready prepare(const AttentionCase& c, const std::shared_ptr<Inputs>& in, Home& home) {
  const Layout layout = c.aligned ? Layout{.slack = 8} : Layout{.slack = 5, .offset = 1};
  const Placed out = home.place(blank(in->q.rows, in->q.cols, layout));
  const auto collect = [&home, out] { return std::vector<Produced>{{"out", home.read(out)}}; };
  if (c.contexts.empty()) {
    AttentionArgs args{
        .out = out.view, .k = home.place(in->k).view, .v = home.place(in->v).view, .max_length = in->longest};
    set_common(args, c, *in, home);
    return {[&home, args] { home.ops().attention(args); }, collect};
  }
  PagedAttentionArgs args{.out = out.view, .keys = home.place(in->keys).view, .values = home.place(in->values).view};
  set_common(args, c, *in, home);
  args.context_lengths = home.place(ints(c.contexts)).view;
  args.block_tables = home.place(ints(in->tables, static_cast<int64_t>(c.contexts.size()))).view;
  args.max_query = *std::max_element(c.rows.begin(), c.rows.end());
  args.max_context = in->longest;
  return {[&home, args] { home.ops().paged_attention(args); }, collect};
}

// A score is a sum of head_dim products in at least 4 lanes: error (head_dim/4 + 4) · eps · |q| |k| · scale, plus the
// rounding of scaling and bias. An error e of a score changes its weight by a factor 1 ± e; the shift by the largest
// rounds once more. The weighted mean then has up to that relative error, twice (numerator and sum), and one rounding
// per key.
double bound_of(const AttentionCase& c, const Inputs& in) {
  double q = 0.0, bias = 0.0;
  for (int64_t r = 0; r < in.q.rows; ++r)
    for (int64_t col = 0; col < in.q.cols; ++col) q = std::max(q, static_cast<double>(std::abs(in.q.at(r, col))));
  if (c.bias_reach >= 0)
    for (int64_t r = 0; r < in.bias.rows; ++r)
      for (int64_t col = 0; col < in.bias.cols; ++col)
        bias = std::max(bias, static_cast<double>(std::abs(in.bias.at(r, col))));
  constexpr double kMost = 5.5;  // |k|, |v| of the normal numbers drawn here
  const double score =
      std::abs(c.scale) * c.head_dim * q * 1.5 + bias;  // Σ|q k| with the mean size of k well below 1.5
  const double score_error = kEps * (c.head_dim / 4.0 + 8) * score;
  return kMost * (2 * score_error + kEps * (in.longest + 4 * score + 16));
}

}  // namespace

std::vector<Case> attention_cases() {
  std::vector<AttentionCase> list;
  for (int32_t length : {1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 40, 65})
    list.push_back({.rows = {length}, .heads = 2, .head_dim = 64, .causal = length % 2 == 0});
  for (int head_dim : {1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 48, 63, 65, 80, 128, 192})
    for (bool causal : {false, true})
      list.push_back({.rows = {9, 6}, .heads = 3, .head_dim = head_dim, .causal = causal});
  list.push_back({.rows = {0}, .heads = 2, .head_dim = 8});
  list.push_back({.rows = {0, 3, 0, 0, 7, 0}, .heads = 2, .head_dim = 16, .causal = true});
  list.push_back({.rows = {40, 1, 12, 70}, .heads = 12, .head_dim = 64});
  list.push_back({.rows = {200, 33}, .heads = 2, .head_dim = 64, .bias_reach = 128, .scale = 1.0f});
  list.push_back({.rows = {40, 5}, .heads = 4, .head_dim = 64, .causal = true, .bias_reach = 16, .scale = 0.3f});
  list.push_back({.rows = {20}, .heads = 2, .head_dim = 32, .bias_reach = 0});
  list.push_back({.rows = {20}, .heads = 2, .head_dim = 32, .spread = 60.0f});
  list.push_back({.rows = {10, 3}, .heads = 2, .head_dim = 32, .causal = true, .special = "nan"});
  list.push_back({.rows = {10, 3}, .heads = 2, .head_dim = 32, .special = "nan"});
  for (bool causal : {false, true})
    list.push_back({.rows = {50, 3}, .heads = 2, .head_dim = 64, .causal = causal, .special = "nan value"});
  list.push_back({.rows = {130}, .heads = 1, .head_dim = 128, .causal = true, .special = "nan value"});
  list.push_back({.rows = {300}, .heads = 1, .head_dim = 64});
  list.push_back({.rows = {63, 64, 128, 129}, .heads = 2, .head_dim = 64});
  list.push_back({.rows = {150, 64}, .heads = 2, .head_dim = 72, .causal = true});

  for (int32_t context : {1, 2, 7, 15, 16, 17, 33, 100, 257})
    list.push_back({.rows = {1}, .contexts = {context}, .heads = 3, .head_dim = 64, .causal = true});
  for (int block_tokens : {1, 3, 4, 16, 32})
    list.push_back({.rows = {5, 1, 9},
                    .contexts = {20, 17, 9},
                    .heads = 2,
                    .head_dim = 40,
                    .causal = true,
                    .block_tokens = block_tokens});
  for (int head_dim : {1, 5, 16, 24, 64, 96, 128})
    list.push_back({.rows = {3, 1}, .contexts = {30, 5}, .heads = 2, .head_dim = head_dim, .causal = true});
  list.push_back({.rows = {4, 1, 7}, .contexts = {40, 3, 0}, .heads = 2, .head_dim = 64});  // cross; an empty source
  list.push_back({.rows = {1, 0, 2},
                  .contexts = {50, 4, 70},
                  .heads = 4,
                  .head_dim = 64,
                  .causal = true,
                  .bias_reach = 20,
                  .scale = 1.0f});
  list.push_back({.rows = {70, 1}, .contexts = {90, 90}, .heads = 2, .head_dim = 64, .causal = true});
  list.push_back({.rows = {1, 1, 1, 1, 1, 1, 1, 1},
                  .contexts = {80, 81, 60, 100, 33, 1, 90, 300},
                  .heads = 16,
                  .head_dim = 64,
                  .causal = true});

  list.push_back(
      {.rows = {9, 1}, .contexts = {70, 20}, .heads = 2, .head_dim = 64, .causal = true, .special = "nan value"});
  list.push_back({.rows = {1, 1}, .contexts = {1100, 64}, .heads = 2, .head_dim = 64, .causal = true});
  list.push_back({.rows = {1, 2}, .contexts = {1100, 65}, .heads = 2, .head_dim = 128, .bias_reach = 40});
  list.push_back({.rows = {40, 1}, .contexts = {200, 129}, .heads = 2, .head_dim = 128, .causal = true});

  // Homes with wide loads take another way when rows are aligned to them.
  for (size_t i = 0, count = list.size(); i < count; ++i)
    if (list[i].head_dim % 8 == 0) {
      list.push_back(list[i]);
      list.back().aligned = true;
    }

  std::vector<Case> cases;
  for (const AttentionCase& c : list) {
    const auto in = inputs_of(c);
    Case out;
    double pairs = 0.0;
    const auto& contexts = c.contexts.empty() ? c.rows : c.contexts;
    for (size_t s = 0; s < c.rows.size(); ++s) pairs += static_cast<double>(c.rows[s]) * contexts[s];
    out.name = fmt::format(
        "{} rows {}{} heads {}x{}{}{}{}{}{} {}", c.contexts.empty() ? "attention" : "paged_attention",
        fmt::join(c.rows, ","), c.contexts.empty() ? "" : fmt::format(" of {}", fmt::join(c.contexts, ",")), c.heads,
        c.head_dim, c.causal ? " causal" : "", c.bias_reach >= 0 ? " bias" : "", c.spread != 1.0f ? " sharp" : "",
        c.block_tokens != 16 ? fmt::format(" blocks of {}", c.block_tokens) : "", c.aligned ? " aligned" : "",
        c.special);
    out.flops = 4.0 * pairs * c.heads * c.head_dim;
    out.bytes = 8.0 * static_cast<double>(in->q.rows * in->q.cols);
    for (int32_t context : contexts) out.bytes += 8.0 * context * c.heads * c.head_dim;
    out.prepare = [c, in](Home& home) { return prepare(c, in, home); };
    out.tolerance = [bound = bound_of(c, *in)](size_t, size_t, double) { return bound; };
    // Weights may be rounded before they meet the values, in the numerator and in the sum: twice the largest value.
    out.rounded = [](size_t, size_t, double oracle) { return 2 * 5.5 + std::abs(oracle); };
    cases.push_back(std::move(out));
  }
  return cases;
}

}  // namespace inazuma::testing
