// Violated contracts are refused with a sentence that names the operation, the argument and both shapes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/home.h"

namespace inazuma::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.status().code(), StatusCode::internal);
    return error.status().message();
  }
  return "no refusal";
}

class Contract : public ::testing::TestWithParam<std::string> {
 protected:
  Contract()
      : ops_(GetParam() == "reference" ? make_reference_ops() : std::move(make_cpu_ops({.threads = 2})).value()) {}
  Tensor f(const Shape& shape) { return Tensor(memory_.data(), DType::f32, shape); }
  Tensor i(const Shape& shape) { return Tensor(numbers_.data(), DType::i32, shape); }
  Matrix weight(int64_t out, int64_t in) { return ops_->pack(f({out, in}), WeightLayout::out_in); }

  std::unique_ptr<Ops> ops_;
  std::vector<float> memory_ = std::vector<float>(4096);
  std::vector<int32_t> numbers_ = std::vector<int32_t>(256);
};

TEST_P(Contract, Linear) {
  const Matrix w = weight(8, 4);
  LinearArgs good{.out = f({3, 8}), .x = f({3, 4}), .weight = w.get(), .bias = f({8})};
  EXPECT_EQ(refusal([&] { ops_->linear(good); }), "no refusal");
  LinearArgs args = good;
  args.out = f({3, 9});
  EXPECT_THAT(refusal([&] { ops_->linear(args); }),
              AllOf(HasSubstr("linear: out"), HasSubstr("[3, 9]"), HasSubstr("[3, 8]")));
  args = good, args.x = f({3, 5});
  EXPECT_THAT(refusal([&] { ops_->linear(args); }),
              AllOf(HasSubstr("linear: x"), HasSubstr("[3, 5]"), HasSubstr("[3, 4]")));
  args = good, args.bias = f({7});
  EXPECT_THAT(refusal([&] { ops_->linear(args); }), AllOf(HasSubstr("bias"), HasSubstr("[7]"), HasSubstr("[8]")));
  args = good, args.residual = f({2, 8});
  EXPECT_THAT(refusal([&] { ops_->linear(args); }), HasSubstr("residual"));
  args = good, args.multiplier = i({3, 8});
  EXPECT_THAT(refusal([&] { ops_->linear(args); }), HasSubstr("multiplier is int32 but out is float32"));
  args = good, args.x = i({3, 4});
  EXPECT_THAT(refusal([&] { ops_->linear(args); }), HasSubstr("x is int32, expected float32"));
  args = good, args.weight = nullptr;
  EXPECT_THAT(refusal([&] { ops_->linear(args); }), HasSubstr("no weight"));
  args = good, args.x = Tensor(memory_.data(), DType::f32, Shape{3, 4}, Device::cuda(1));
  EXPECT_THAT(refusal([&] { ops_->linear(args); }), HasSubstr("x is on cuda:1, expected cpu"));
  args = good, args.x = Tensor(static_cast<void*>(nullptr), DType::f32, Shape{3, 4});
  EXPECT_THAT(refusal([&] { ops_->linear(args); }), HasSubstr("no memory"));
}

TEST_P(Contract, Weights) {
  EXPECT_THAT(refusal([&] { (void)ops_->pack(f({8}), WeightLayout::out_in); }), HasSubstr("expected rank 2"));
  EXPECT_THAT(refusal([&] { (void)ops_->pack(i({8, 2}), WeightLayout::out_in); }), HasSubstr("int32"));
  const std::vector<Tensor> uneven{f({8, 4}), f({8, 5})};
  EXPECT_THAT(refusal([&] { (void)ops_->pack(uneven, WeightLayout::out_in); }),
              AllOf(HasSubstr("[8, 4]"), HasSubstr("[8, 5]")));
  EXPECT_EQ(ops_->pack(uneven, WeightLayout::in_out)->out, 9);
  EXPECT_EQ(ops_->pack(Tensor(static_cast<void*>(nullptr), DType::f32, Shape{8, 4}), WeightLayout::out_in), nullptr);
  EXPECT_FALSE(ops_->parameter(Tensor(static_cast<void*>(nullptr), DType::f32, Shape{8}), DType::f32).defined());
  EXPECT_THAT(refusal([&] { (void)ops_->parameter(i({8}), DType::f32); }),
              HasSubstr("cannot convert int32 to float32"));
  EXPECT_THAT(refusal([&] { (void)ops_->parameter(uneven, DType::f32); }), HasSubstr("cannot be joined"));
}

TEST_P(Contract, ParametersAreJoinedAndConverted) {
  const std::vector<Half> halves{to_half(1.5f), to_half(-2.0f)};
  const std::vector<BFloat16> brains{to_bfloat16(0.25f)};
  const std::vector<Tensor> parts{Tensor(halves.data(), DType::f16, Shape{2}),
                                  Tensor(brains.data(), DType::bf16, Shape{1})};
  const Parameter joined = ops_->parameter(parts, DType::f32);
  ASSERT_EQ(joined.tensor.shape(), (Shape{3}));
  EXPECT_EQ(joined.tensor.as<float>()[0], 1.5f);
  EXPECT_EQ(joined.tensor.as<float>()[1], -2.0f);
  EXPECT_EQ(joined.tensor.as<float>()[2], 0.25f);
  const Parameter half = ops_->parameter(joined.tensor, DType::bf16);
  EXPECT_EQ(to_float(half.tensor.as<BFloat16>()[1]), -2.0f);
  const Parameter ids = ops_->parameter(i({4, 2}), DType::i32);
  EXPECT_EQ(ids.tensor.shape(), (Shape{4, 2}));
  // A file promises no alignment: the same numbers one byte further.
  std::vector<char> shifted(1 + sizeof(float));
  std::memcpy(shifted.data() + 1, &memory_[0], sizeof(float));
  EXPECT_EQ(ops_->parameter(Tensor(shifted.data() + 1, DType::f32, Shape{1}), DType::f32).tensor.as<float>()[0],
            memory_[0]);
}

TEST_P(Contract, Norm) {
  NormArgs args{.out = f({2, 4}), .x = f({2, 4}), .weight = f({4}), .bias = f({4}), .kind = NormKind::rms};
  EXPECT_THAT(refusal([&] { ops_->norm(args); }), HasSubstr("rms norm takes no bias"));
  args.kind = NormKind::layer, args.weight = f({5});
  EXPECT_THAT(refusal([&] { ops_->norm(args); }), AllOf(HasSubstr("norm: weight"), HasSubstr("[5]"), HasSubstr("[4]")));
}

TEST_P(Contract, IdsAndRowsOutsideTheirTables) {
  numbers_[1] = 5;
  const EmbeddingTerm term{f({5, 4}), i({2})};
  EXPECT_THAT(refusal([&] {
                ops_->embed(f({2, 4}), std::span(&term, 1));
              }),
              HasSubstr("embed: ids[1] is 5, must be in [0, 5)"));
  numbers_[1] = -1;
  EXPECT_THAT(refusal([&] { ops_->copy_rows(f({5, 4}), i({2}), i({2})); }), HasSubstr("from[1] is -1"));
  EXPECT_THAT(refusal([&] { ops_->gather_rows(f({2, 4}), f({5, 4}), i({2})); }), HasSubstr("rows[1] is -1"));
  EXPECT_THAT(refusal([&] { ops_->token_logprobs(f({2}), f({2, 4}), i({2})); }), HasSubstr("targets[1] is -1"));
}

TEST_P(Contract, Attention) {
  AttentionArgs args{
      .out = f({4, 6}), .q = f({4, 6}), .k = f({4, 6}), .v = f({4, 6}), .offsets = i({2}), .heads = 2, .head_dim = 3};
  args.max_length = 3;
  numbers_[1] = 4;
  EXPECT_THAT(refusal([&] { ops_->attention(args); }), HasSubstr("sequence 0 has 4 rows, more than the declared 3"));
  args.max_length = 4, numbers_[1] = 5;
  EXPECT_THAT(refusal([&] { ops_->attention(args); }), HasSubstr("stay within 4 rows"));
  args.heads = 3;
  EXPECT_THAT(refusal([&] { ops_->attention(args); }), AllOf(HasSubstr("[4, 6]"), HasSubstr("[4, 9]")));
}

TEST_P(Contract, PagedAttention) {
  std::vector<int32_t> offsets{0, 2}, contexts{5}, table{0, 7};
  const auto ints_of = [](std::vector<int32_t>& v, const Shape& shape) { return Tensor(v.data(), DType::i32, shape); };
  PagedAttentionArgs args{.out = f({2, 6}), .q = f({2, 6}), .keys = f({4, 2, 4, 3}), .values = f({4, 2, 4, 3})};
  args.offsets = ints_of(offsets, {2}), args.context_lengths = ints_of(contexts, {1}),
  args.block_tables = ints_of(table, {1, 2});
  args.heads = 2, args.head_dim = 3, args.max_query = 2, args.max_context = 8;
  EXPECT_THAT(refusal([&] { ops_->paged_attention(args); }), HasSubstr("block_tables[0, 1] is 7, must be in [0, 4)"));
  table[1] = 1, contexts[0] = 9;
  EXPECT_THAT(refusal([&] { ops_->paged_attention(args); }), HasSubstr("context_lengths[0] is 9"));
  args.max_context = 9;
  EXPECT_THAT(refusal([&] { ops_->paged_attention(args); }), HasSubstr("needs 3 blocks, its table holds 2"));
  contexts[0] = 1;
  EXPECT_THAT(refusal([&] { ops_->paged_attention(args); }), HasSubstr("2 rows but a context of 1"));
  StoreKvArgs store{
      .keys = args.keys, .values = args.values, .k = f({2, 6}), .v = f({2, 6}), .slots = ints_of(table, {2})};
  table[1] = 16;
  EXPECT_THAT(refusal([&] { ops_->store_kv(store); }), HasSubstr("slots[1] is 16, the pool holds 16"));
}

TEST_P(Contract, Selection) {
  SelectionRow row;
  SelectionArgs args{.logits = f({1, 4}), .rows = Tensor(&row, DType::u8, Shape{1, sizeof row}), .history = i({2, 3})};
  std::vector<int32_t> token(1);
  args.tokens = Tensor(token.data(), DType::i32, Shape{1});
  args.logprobs = f({1});
  const auto with = [&](SelectionRow changed) {
    row = changed;
    return refusal([&] { ops_->select_tokens(args); });
  };
  EXPECT_EQ(with({}), "no refusal");
  EXPECT_THAT(with({.slot = 2}), HasSubstr("row 0 has slot 2, history has 2"));
  EXPECT_THAT(with({.length = 3}), HasSubstr("length 3, must be in [0, 3)"));
  EXPECT_THAT(with({.length = 1, .generated = 2}), HasSubstr("2 generated of 1"));
  EXPECT_THAT(with({.eos_count = 9}), HasSubstr("9 eos ids"));
  EXPECT_THAT(with({.ban_end = 1}), HasSubstr("bans [0, 1) of 0"));
  EXPECT_THAT(with({.temperature = 0.0f}), HasSubstr("must be > 0"));
}

INSTANTIATE_TEST_SUITE_P(Homes, Contract, ::testing::Values("reference", "cpu"));

TEST(Names, AsConfigurationFilesSpellThem) {
  EXPECT_EQ(parse_activation("gelu_new").value(), Activation::gelu_tanh);
  EXPECT_EQ(parse_activation("swish").value(), Activation::silu);
  EXPECT_EQ(parse_activation("gelu_10").value(), Activation::gelu_10);
  for (int a = 0; a <= static_cast<int>(Activation::sigmoid); ++a)
    EXPECT_EQ(parse_activation(name(static_cast<Activation>(a))).value(), static_cast<Activation>(a));
  for (int p = 0; p <= static_cast<int>(Pooling::last); ++p)
    EXPECT_EQ(parse_pooling(name(static_cast<Pooling>(p))).value(), static_cast<Pooling>(p));
  const auto unknown = parse_activation("laplace");
  EXPECT_EQ(unknown.status().code(), StatusCode::invalid);
  EXPECT_THAT(unknown.status().message(), AllOf(HasSubstr("'laplace'"), HasSubstr("gelu_new"), HasSubstr("swish")));
  EXPECT_EQ(parse_pooling("median").status().code(), StatusCode::invalid);
}

}  // namespace
}  // namespace inazuma::testing
