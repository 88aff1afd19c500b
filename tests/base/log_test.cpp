#include "base/log.h"

#include <gtest/gtest.h>

namespace inazuma::log {
namespace {

TEST(Log, OneLineWhateverTheInput) {
  const std::string line =
      format(Level::info, "bad\ninput", {{"text", "a b\x1b[31m\nlevel=error"}, {"n", 3}, {"ok", true}}, false, "T");
  EXPECT_EQ(line, "T info  bad\\x0ainput text='a b\\x1b[31m\\x0alevel=error' n=3 ok=true");
}

TEST(Log, JsonKeepsTypesAndSurvivesBrokenUtf8) {
  const std::string line = format(Level::warn, "日本", {{"text", "\xff\"x"}, {"n", 3}, {"x", 0.5}}, true, "T");
  EXPECT_EQ(line,
            "{\"ts\":\"T\",\"level\":\"warn\",\"msg\":\"日本\",\"text\":\"\xEF\xBF\xBD\\\"x\",\"n\":3,\"x\":0.5}");
}

}  // namespace
}  // namespace inazuma::log
