#include "base/status.h"

#include <gtest/gtest.h>

namespace inazuma {
namespace {

TEST(Status, CarriesKindAndSentence) {
  const Status status = Status(StatusCode::invalid, "top_p is 2, must be in (0, 1]").in("request 3");
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.code(), StatusCode::invalid);
  EXPECT_EQ(status.message(), "request 3: top_p is 2, must be in (0, 1]");
  EXPECT_TRUE(Status().in("nothing").ok());
}

TEST(Result, ValueOfAFailureThrowsItsStatus) {
  const Result<int> failed = fail(StatusCode::not_found, "model {} is not loaded", "x");
  EXPECT_FALSE(failed.ok());
  try {
    (void)failed.value();
    FAIL() << "no exception";
  } catch (const Error& error) {
    EXPECT_EQ(error.status().code(), StatusCode::not_found);
  }
  EXPECT_EQ(Result<int>(7).value(), 7);
}

TEST(Capture, TurnsExceptionsIntoStatus) {
  EXPECT_EQ(capture([] { throw fail(StatusCode::too_long, "x"); }).code(), StatusCode::too_long);
  EXPECT_EQ(capture([]() -> int { throw std::bad_alloc(); }).status().code(), StatusCode::out_of_memory);
  EXPECT_EQ(capture([] { return 5; }).value(), 5);
}

TEST(Quoted, IsOneSafeLine) {
  EXPECT_EQ(quoted("日本語"), "'日本語'");
  EXPECT_EQ(quoted("a\nb\x1b[31m"), "'a\\x0ab\\x1b[31m'");
  EXPECT_EQ(quoted("\xff\xe3\x81"), "'\\xff\\xe3\\x81'");
  EXPECT_EQ(quoted("\xc2\x85"), "'\\u0085'");
  EXPECT_EQ(quoted("あいう", 2), "'あい…'");
}

}  // namespace
}  // namespace inazuma
