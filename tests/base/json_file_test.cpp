#include "base/json_file.h"

#include <gtest/gtest.h>

namespace inazuma {
namespace {

TEST(PythonJson, TakesPythonsThreeWordsOutsideStrings) {
  const nlohmann::json value =
      parse_python_json(R"({"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" Infinity"})", "x");
  EXPECT_EQ(value["a"], "NaN");
  EXPECT_EQ(value["b"][0], "-Infinity");
  EXPECT_EQ(value["c"], "NaN \" Infinity");
}

TEST(PythonJson, RefusesDeepNestingBeforeItHurts) {
  const std::string deep = std::string(200000, '[') + std::string(200000, ']');
  try {
    (void)parse_python_json(deep, "config.json");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.status().code(), StatusCode::malformed);
    EXPECT_NE(error.status().message().find("config.json: nested deeper"), std::string::npos);
  }
  EXPECT_NO_THROW((void)parse_python_json(R"(["[[[[[[", "]]]]"])", "x"));
}

}  // namespace
}  // namespace inazuma
