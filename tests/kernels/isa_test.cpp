// Which instruction set is active, by what it cannot hide: its name, its layout of weights, and its rounding.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/ops.h"

namespace inazuma {
namespace {

class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }

 private:
  const char* name_;
};

std::string description(const CpuOptions& options) {
  return (*make_cpu_ops(options))->description();
}

// x·w + y·z where a fused multiply-add gives another last bit than a rounded product: (1 + 2^-12)² - (1 + 2^-11) =
// 2^-24.
float product_of(std::string_view isa) {
  const auto ops = std::move(make_cpu_ops({.threads = 1, .isa = std::string(isa)})).value();
  const float x[2] = {-(1.0f + 0x1p-11f), 1.0f + 0x1p-12f}, w[2] = {1.0f, 1.0f + 0x1p-12f};
  const Matrix weight = ops->pack(Tensor(w, DType::f32, Shape{1, 2}), WeightLayout::out_in);
  float out = -1.0f;
  LinearArgs args{
      .out = Tensor(&out, DType::f32, Shape{1, 1}), .x = Tensor(x, DType::f32, Shape{1, 2}), .weight = weight.get()};
  ops->linear(args);
  return out;
}

TEST(CpuIsa, EachIsWhatItSays) {
  const auto isas = available_cpu_isas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.back(), "baseline");
  for (std::string_view isa : isas) {
    EXPECT_EQ(description({.threads = 2, .isa = std::string(isa)}), fmt::format("cpu {} (2 threads)", isa));
    // Fused on all but the baseline, which multiplies and rounds first.
    EXPECT_EQ(product_of(isa), isa == "baseline" ? 0.0f : 0x1p-24f) << isa;
    const float w[1] = {1.0f};
    const auto ops = std::move(make_cpu_ops({.threads = 1, .isa = std::string(isa)})).value();
    const Matrix weight = ops->pack(Tensor(w, DType::f32, Shape{1, 1}), WeightLayout::out_in);
    const size_t registers = isa == "amx" || isa == "avx512" ? 64 : isa == "avx2" ? 32 : 16;
    EXPECT_EQ(weight->bytes, 2 * registers) << isa;  // one panel is two registers wide
  }
}

TEST(CpuIsa, TheBestIsChosenAndCanBeOverridden) {
  unsetenv("INAZUMA_CPU_ISA");
  const auto isas = available_cpu_isas();
  EXPECT_EQ(description({.threads = 1}), fmt::format("cpu {} (1 thread)", isas.front()));
  const Variable variable("INAZUMA_CPU_ISA", "baseline");
  EXPECT_EQ(description({.threads = 1}), "cpu baseline (1 thread)");
  EXPECT_EQ(description({.threads = 1, .isa = std::string(isas.front())}),
            fmt::format("cpu {} (1 thread)", isas.front()))
      << "an explicit choice comes before the environment";
}

TEST(CpuIsa, AnUnknownOneIsRefusedByName) {
  const auto result = make_cpu_ops({.isa = "neon"});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), StatusCode::invalid);
  EXPECT_NE(result.status().message().find("'neon'"), std::string::npos) << result.status().message();
  EXPECT_NE(result.status().message().find("baseline"), std::string::npos) << result.status().message();
  const Variable variable("INAZUMA_CPU_ISA", "fast");
  const auto other = make_cpu_ops({});
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.status().message().find("INAZUMA_CPU_ISA"), std::string::npos) << other.status().message();
  EXPECT_FALSE(make_cpu_ops({.threads = -1}).ok());
}

TEST(CpuIsa, AWeightOfAnotherHomeIsRefused) {
  const auto isas = available_cpu_isas();
  const auto cpu = std::move(make_cpu_ops({.threads = 1, .isa = std::string(isas.front())})).value();
  const auto reference = make_reference_ops();
  const float w[1] = {1.0f}, x[1] = {2.0f};
  float out[1] = {};
  const Matrix weight = reference->pack(Tensor(w, DType::f32, Shape{1, 1}), WeightLayout::out_in);
  LinearArgs args{
      .out = Tensor(out, DType::f32, Shape{1, 1}), .x = Tensor(x, DType::f32, Shape{1, 1}), .weight = weight.get()};
  EXPECT_THROW(cpu->linear(args), Error);
}

}  // namespace
}  // namespace inazuma
