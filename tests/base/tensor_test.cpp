#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "tensor/arena.h"

namespace inazuma {
namespace {

TEST(Half, RoundTripsEveryFiniteValue) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Half half{static_cast<uint16_t>(bits)};
    const float value = to_float(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(to_float(to_half(value))));
    } else {
      EXPECT_EQ(to_half(value).bits, bits) << value;
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(to_half(65519.0f).bits, 0x7BFF);
  EXPECT_EQ(to_half(65520.0f).bits, 0x7C00);
  EXPECT_EQ(to_half(1.0f + 0x1p-11f).bits, 0x3C00);
  EXPECT_EQ(to_half(1.0f + 3 * 0x1p-11f).bits, 0x3C02);
  EXPECT_EQ(to_half(0x1p-25f).bits, 0x0000);
  EXPECT_EQ(to_half(0x1.8p-25f).bits, 0x0001);
  EXPECT_EQ(to_bfloat16(1.0f + 0x1p-8f).bits, 0x3F80);
  EXPECT_EQ(to_bfloat16(1.0f + 3 * 0x1p-8f).bits, 0x3F82);
}

TEST(Tensor, ViewsShareMemory) {
  const Buffer buffer = Buffer::host(4 * 6 * sizeof(float));
  const Tensor tensor = buffer.tensor(DType::f32, {4, 6});
  for (int i = 0; i < 24; ++i) tensor.as<float>()[i] = static_cast<float>(i);
  const Tensor middle = tensor.rows(1, 3).columns(2, 4);
  EXPECT_EQ(middle.shape(), (Shape{2, 2}));
  EXPECT_FALSE(middle.contiguous());
  EXPECT_EQ(middle.as<float>()[0], 8.0f);
  EXPECT_EQ(middle.as<float>()[middle.stride(0)], 14.0f);
  EXPECT_THROW((void)tensor.as<int32_t>(), Error);
  EXPECT_THROW((void)tensor.rows(3, 5), Error);
  EXPECT_THROW((void)middle.reshaped({4}), Error);
}

TEST(Arena, SteadyStateAllocatesNothingAndRepeatsAddresses) {
  int allocations = 0;
  Arena arena([&](size_t bytes) { return ++allocations, Buffer::host(bytes); });
  auto step = [&] {
    arena.reset();
    (void)arena.tensor(DType::f32, {1000, 700});
    return arena.tensor(DType::f32, {3, 500000}).data();
  };
  step();
  const void* second = step();
  const int warm = allocations;
  EXPECT_EQ(step(), second);
  EXPECT_EQ(allocations, warm);
  EXPECT_EQ(arena.chunks(), 1u);
}

}  // namespace
}  // namespace inazuma
