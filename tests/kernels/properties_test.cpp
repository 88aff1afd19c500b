// Promises of ops.h that closeness to the oracle does not show: neighbours, chunks and threads do not change a bit.

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "kernels/cases.h"

namespace inazuma::testing {
namespace {

std::vector<uint32_t> bits_of(const std::vector<float>& values, size_t begin, size_t count) {
  std::vector<uint32_t> bits(count);
  if (count > 0) std::memcpy(bits.data(), values.data() + begin, count * sizeof(float));
  return bits;
}

Array rows_of(const Array& whole, int64_t begin, int64_t end) {
  return floats(end - begin, whole.cols, [&](int64_t r, int64_t c) { return whole.at(begin + r, c); });
}

class Properties : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Home> home(int threads = 2) const {
    if (GetParam() == "reference") return reference_home();
    if (GetParam().starts_with("cuda")) return std::make_unique<Home>(GetParam(), make_cuda(GetParam(), true));
    return std::make_unique<Home>(GetParam(), std::move(make_cpu_ops({.threads = threads, .isa = GetParam()})).value());
  }
};

std::vector<float> linear_of(Home& home, const Matrix& weight, const Array& x, const Array& bias) {
  const Placed out = home.place(blank(x.rows, weight->out));
  LinearArgs args{.out = out.view, .x = home.place(x).view, .weight = weight.get()};
  args.bias = home.place(bias).view;
  args.activation = Activation::gelu;
  home.ops().linear(args);
  return home.read(out);
}

TEST_P(Properties, ALinearRowDoesNotDependOnItsNeighbours) {
  for (int64_t in : {64, 300, 768, 1500}) {
    Random random(1);
    const int64_t out = 150, rows = 130;
    const auto h = home();
    const Array x = normal(random, rows, in), w = normal(random, out, in);
    Array bias = normal(random, 1, out);
    bias.shape = Shape{out};
    std::vector<float> stored;
    for (int64_t r = 0; r < out; ++r)
      for (int64_t c = 0; c < in; ++c) stored.push_back(w.at(r, c));
    const Matrix weight = h->ops().pack(Tensor(stored.data(), DType::f32, Shape{out, in}), WeightLayout::out_in);
    const std::vector<float> whole = linear_of(*h, weight, x, bias);
    for (int64_t count : {1, 2, 3, 5, 7, 14, 15, 29, 60, 113})
      for (int64_t begin : {int64_t{0}, rows - count}) {
        const std::vector<float> part = linear_of(*h, weight, rows_of(x, begin, begin + count), bias);
        ASSERT_EQ(bits_of(part, 0, part.size()), bits_of(whole, static_cast<size_t>(begin * out), part.size()))
            << count << " rows from " << begin << " of " << rows << ", in = " << in;
      }
  }
}

TEST_P(Properties, ANormRowDoesNotDependOnItsNeighbours) {
  for (const auto& [rows, width] : std::vector<std::pair<int64_t, int64_t>>{{50, 300}, {2100, 768}, {2100, 1024}}) {
    Random random(2);
    const auto h = home();
    const Array x = normal(random, rows, width);
    Array weight = normal(random, 1, width);
    weight.shape = Shape{width};
    const auto normed = [&, width = width](const Array& part) {
      const Placed out = h->place(blank(part.rows, width));
      NormArgs args{.out = out.view, .x = h->place(part).view, .weight = h->place(weight).view};
      h->ops().norm(args);
      return h->read(out);
    };
    const std::vector<float> whole = normed(x);
    for (int64_t r = 0; r < x.rows; r += 1 + rows / 50)
      ASSERT_EQ(bits_of(normed(rows_of(x, r, r + 1)), 0, static_cast<size_t>(width)),
                bits_of(whole, static_cast<size_t>(r * width), static_cast<size_t>(width)));
  }
}

std::vector<float> attended(Home& home, const Array& q, const Array& k, const Array& v, std::vector<int32_t> offsets,
                            int heads, bool causal) {
  const Placed out = home.place(blank(q.rows, q.cols));
  AttentionArgs args{.out = out.view, .q = home.place(q).view, .k = home.place(k).view, .v = home.place(v).view};
  args.offsets = home.place(ints(std::move(offsets))).view;
  args.heads = heads;
  args.head_dim = static_cast<int>(q.cols) / heads;
  args.max_length = static_cast<int>(q.rows);
  args.scale = 0.2f;
  args.causal = causal;
  home.ops().attention(args);
  return home.read(out);
}

TEST_P(Properties, ASequenceDoesNotDependOnItsNeighbours) {
  Random random(3);
  const int heads = 3;
  const std::vector<int32_t> offsets{0, 5, 45, 46, 83};
  const Array q = normal(random, 83, heads * 40), k = normal(random, 83, heads * 40),
              v = normal(random, 83, heads * 40);
  const auto h = home();
  for (bool causal : {false, true}) {
    const std::vector<float> whole = attended(*h, q, k, v, offsets, heads, causal);
    for (size_t s = 0; s + 1 < offsets.size(); ++s) {
      const int32_t begin = offsets[s], end = offsets[s + 1];
      const std::vector<float> alone = attended(*h, rows_of(q, begin, end), rows_of(k, begin, end),
                                                rows_of(v, begin, end), {0, end - begin}, heads, causal);
      ASSERT_EQ(bits_of(alone, 0, alone.size()), bits_of(whole, static_cast<size_t>(begin * q.cols), alone.size()))
          << s;
    }
  }
}

// A prompt of 70 tokens read in chunks: each chunk's keys are stored first, as a model does it.
std::vector<float> in_chunks(Home& home, const Array& q, const Array& k, const Array& v,
                             const std::vector<int32_t>& chunks, int heads, int block_tokens, const Array& bias,
                             int reach) {
  const int head_dim = static_cast<int>(q.cols) / heads;
  Array pool = blank(int64_t{40} * heads * block_tokens, head_dim);
  pool.shape = Shape{40, heads, block_tokens, head_dim};
  const Placed keys = home.place(pool), values = home.place(pool);
  std::vector<int32_t> table(36);
  std::iota(table.begin(), table.end(), 3);
  std::vector<float> all;
  int32_t done = 0;
  for (int32_t count : chunks) {
    std::vector<int32_t> slots;
    for (int32_t t = done; t < done + count; ++t)
      slots.push_back(table[static_cast<size_t>(t / block_tokens)] * block_tokens + t % block_tokens);
    StoreKvArgs store{.keys = keys.view, .values = values.view};
    store.k = home.place(rows_of(k, done, done + count)).view;
    store.v = home.place(rows_of(v, done, done + count)).view;
    store.slots = home.place(ints(slots)).view;
    home.ops().store_kv(store);
    done += count;
    const Placed out = home.place(blank(count, q.cols));
    PagedAttentionArgs args{.out = out.view, .q = home.place(rows_of(q, done - count, done)).view};
    args.keys = keys.view;
    args.values = values.view;
    args.offsets = home.place(ints({0, count})).view;
    args.context_lengths = home.place(ints({done})).view;
    args.block_tables = home.place(ints(table, 1)).view;
    args.heads = heads;
    args.head_dim = head_dim;
    args.max_query = count;
    args.max_context = done;
    args.scale = 0.2f;
    if (reach > 0) args.bias = {home.place(full(bias)).view, reach};
    home.ops().paged_attention(args);
    for (float value : home.read(out)) all.push_back(value);
  }
  return all;
}

TEST_P(Properties, APromptInChunksIsThePromptReadWhole) {
  Random random(4);
  const int heads = 2;
  const auto h = home();
  for (int head_dim : {20, 64})
    for (int reach : {0, 12}) {
      const int64_t width = int64_t{heads} * head_dim;
      const Array q = normal(random, 70, width), k = normal(random, 70, width), v = normal(random, 70, width);
      const Array bias = normal(random, heads, 2 * reach + 1);
      const std::vector<float> whole = in_chunks(*h, q, k, v, {70}, heads, 16, bias, reach);
      const std::vector<std::vector<int32_t>> cuts = {
          std::vector<int32_t>(70, 1), {1, 69}, {69, 1}, {16, 16, 16, 22}, {33, 3, 34}};
      for (const auto& chunks : cuts)
        for (int block_tokens : {2, 16}) {
          const std::vector<float> parts = in_chunks(*h, q, k, v, chunks, heads, block_tokens, bias, reach);
          ASSERT_EQ(bits_of(parts, 0, parts.size()), bits_of(whole, 0, whole.size()))
              << chunks.size() << " chunks, blocks of " << block_tokens;
        }
    }
}

TEST_P(Properties, ThreadsDoNotChangeABit) {
  for (const Case& c : all_cases()) {
    const auto one = home(1), three = home(3);
    const Ready a = c.prepare(*one), b = c.prepare(*three);
    a.run();
    b.run();
    const auto x = a.collect(), y = b.collect();
    for (size_t o = 0; o < x.size(); ++o)
      ASSERT_EQ(bits_of(x[o].values, 0, x[o].values.size()), bits_of(y[o].values, 0, y[o].values.size())) << c.name;
  }
}

TEST_P(Properties, AStreamOfDrawsDoesNotDependOnItsNeighbours) {
  Random random(6);
  const auto h = home();
  const int64_t vocab = 700;
  const Array logits = normal(random, 6, vocab, {}, 2.0f);
  std::vector<SelectionRow> rows(6);
  for (int32_t r = 0; r < 6; ++r)
    rows[static_cast<size_t>(r)] = {.slot = r,
                                    .length = 3,
                                    .generated = 3,
                                    .sample = 1,
                                    .top_k = 10 * r,
                                    .top_p = 0.9f,
                                    .seed = 77u + static_cast<uint64_t>(r)};
  const auto chosen = [&](const Array& scores, std::vector<SelectionRow> wanted) {
    const auto count = static_cast<int64_t>(wanted.size());
    const Placed tokens = h->place(ints(std::vector<int32_t>(wanted.size())));
    Array per_row = full(blank(1, count));
    per_row.shape = Shape{count};
    SelectionArgs args{.logits = h->place(full(scores)).view,
                       .rows = h->bytes(wanted.data(), wanted.size(), sizeof(SelectionRow))};
    args.history = h->place(ints(std::vector<int32_t>(6 * 8), 6)).view;
    args.tokens = tokens.view;
    args.logprobs = h->place(per_row).view;
    h->ops().select_tokens(args);
    return h->read(tokens);
  };
  const std::vector<float> together = chosen(logits, rows);
  for (size_t r = 0; r < rows.size(); ++r)
    EXPECT_EQ(chosen(rows_of(logits, static_cast<int64_t>(r), static_cast<int64_t>(r) + 1), {rows[r]})[0], together[r]);
}

std::vector<std::string> all_homes() {
  std::vector<std::string> names{"reference"};
  for (std::string_view isa : available_cpu_isas()) names.emplace_back(isa);
  for (const std::string& name : cuda_homes()) names.push_back(name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Homes, Properties, ::testing::ValuesIn(all_homes()),
                         [](const auto& home_name) { return home_name.param; });

}  // namespace
}  // namespace inazuma::testing
