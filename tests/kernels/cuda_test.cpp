// What the GPU home says when there is no GPU, and that running out of its memory harms nothing else.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "kernels/home.h"

namespace inazuma::testing {
namespace {

using ::testing::HasSubstr;

TEST(Cuda, WhatIsMissingIsSaid) {
  const char* const said = std::getenv("INAZUMA_TEST_SAID");  // CMakeLists.txt
  if (said == nullptr && find_cuda(0).ok()) GTEST_SKIP() << "this machine has a GPU";
  const auto home = make_cuda_ops({});
  ASSERT_FALSE(home.ok());
  EXPECT_EQ(home.status().code(), find_cuda(0).code());
  EXPECT_THAT(home.status().message(), HasSubstr(cuda_built_in() ? "--device cpu" : "built without CUDA"));
  EXPECT_THAT(home.status().message(), HasSubstr(said == nullptr ? "" : said));
}

TEST(Cuda, ADeviceThatIsNotThere) {
  if (!find_cuda(0).ok()) GTEST_SKIP() << find_cuda(0).message();
  const auto home = make_cuda_ops({.index = 99});
  EXPECT_EQ(home.status().code(), StatusCode::unavailable);
  EXPECT_THAT(home.status().message(), HasSubstr("there is no cuda:99"));
  EXPECT_EQ(make_cuda_ops({.dtype = DType::i8}).status().code(), StatusCode::invalid);
}

TEST(Cuda, OutOfMemoryIsOneCallersError) {
  if (!find_cuda(0).ok()) GTEST_SKIP() << find_cuda(0).message();
  Home home("cuda", make_cuda("cuda_float32", false));
  const Status status = capture([&] { (void)home.ops().allocate(size_t{1} << 50); });
  EXPECT_EQ(status.code(), StatusCode::out_of_memory);
  EXPECT_THAT(status.message(), HasSubstr("MiB free of"));
  const Placed ids = home.place(ints({0, 0}));
  home.ops().read_history(ids.view, home.place(ints({7, 8, 9, 10}, 2)).view, home.place(ints({1, 0})).view,
                          home.place(ints({1, 0})).view);
  EXPECT_EQ(home.read(ids), (std::vector<float>{10, 7}));
}

}  // namespace
}  // namespace inazuma::testing
