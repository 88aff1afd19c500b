#include "text/spans.h"

#include <gtest/gtest.h>

#include <sstream>

namespace inazuma {
namespace {

std::vector<TagSpan> spans(const std::string& tags) {
  std::istringstream stream(tags);
  std::vector<std::string> all{std::istream_iterator<std::string>(stream), {}};
  return spans_of_tags(all);
}

TEST(SpansOfTags, FollowTheTaggingRule) {
  using Spans = std::vector<TagSpan>;
  EXPECT_EQ(spans("I-P I-G O"), (Spans{{0, 1, "G"}}));
  EXPECT_EQ(spans("E-P I-P B-P"), (Spans{{0, 1, "P"}, {2, 2, "P"}}));
  EXPECT_EQ(spans("O I-P E-P I-P"), (Spans{{1, 3, "P"}}));
  EXPECT_EQ(spans("S-P S-P"), (Spans{{0, 0, "P"}, {1, 1, "P"}}));
  EXPECT_EQ(spans("O O"), Spans{});
  EXPECT_EQ(spans(""), Spans{});
  EXPECT_EQ(spans("B-a-b I-a-b O 人名"), (Spans{{0, 1, "a-b"}, {3, 3, "人名"}}));
  EXPECT_EQ(spans("B-P O-X O B-Q E-Q"), (Spans{{0, 1, "X"}, {3, 4, "Q"}}));
}

TEST(WordsOf, GroupsSubTokens) {
  Encoding encoding;  // [CLS] a ##b c [SEP] d [SEP]
  encoding.word = {-1, 0, 0, 1, -1, 0, -1};
  encoding.sequence = {-1, 0, 0, 0, -1, 1, -1};
  encoding.offsets = {{0, 0}, {0, 1}, {1, 3}, {4, 5}, {0, 0}, {2, 6}, {0, 0}};
  encoding.ids.assign(7, 0);
  auto words = words_of(encoding);
  ASSERT_EQ(words.size(), 3u);
  EXPECT_EQ(words[0].begin, 1u);
  EXPECT_EQ(words[0].end, 3u);
  EXPECT_EQ(words[0].span, (TextSpan{0, 3}));
  EXPECT_EQ(words[1].span, (TextSpan{4, 5}));
  EXPECT_EQ(words[2].sequence, 1);
  EXPECT_EQ(words[2].begin, 5u);
}

}  // namespace
}  // namespace inazuma
