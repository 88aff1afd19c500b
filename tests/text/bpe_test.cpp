// The merge engine, the byte-level alphabet and the BPE model of tokenizer.json.
#include <gtest/gtest.h>

#include <random>

#include "text/bpe/bpe_model.h"
#include "text/bpe/byte_level.h"
#include "text/unicode.h"

namespace inazuma {
namespace {

using Texts = std::vector<std::string>;

Texts words(std::string_view text) {
  const std::u32string points = decode_utf8(text);
  Texts out;
  for (size_t begin = 0, end = 0; begin < points.size(); begin = end) {
    end = gpt2_word_end(points, begin);
    out.push_back(encode_utf8(std::u32string_view(points).substr(begin, end - begin)));
  }
  return out;
}

TEST(ByteLevel, AlphabetOfTheReferencePage) {
  EXPECT_EQ(byte_level_point(' '), U'\u0120');
  EXPECT_EQ(byte_level_point('\n'), U'\u010A');
  EXPECT_EQ(byte_level_point(0x7F), U'\u0121');
  EXPECT_EQ(byte_level_point(0x80), U'\u0122');
  EXPECT_EQ(byte_level_point(0xA0), U'\u0142');
  EXPECT_EQ(byte_level_point(0xAD), U'\u0143');
  for (unsigned byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(byte_level_byte(byte_level_point(static_cast<unsigned char>(byte))), byte);
  }
  EXPECT_FALSE(byte_level_byte(U' ').has_value());
  EXPECT_FALSE(byte_level_byte(U'\u0144').has_value());
  EXPECT_EQ(byte_level_decode(byte_level_encode("東 京\xFF")), "東 京\xFF");
}

TEST(ByteLevel, WordsOfThePattern) {
  EXPECT_EQ(words("I'll don't IT'S 're"), (Texts{"I", "'ll", " don", "'t", " IT", "'", "S", " '", "re"}));
  EXPECT_EQ(words("a  b \n c\t"), (Texts{"a", " ", " b", " \n", " c", "\t"}));
  EXPECT_EQ(words("x   "), (Texts{"x", "   "}));
  EXPECT_EQ(words("\tx"), (Texts{"\t", "x"}));
  EXPECT_EQ(words("abc123!?年１２ ½x"), (Texts{"abc", "123", "!?", "年", "１２", " ½", "x"}));
  EXPECT_EQ(words("か\u3099 \u3000次"), (Texts{"か", "\u3099", " ", "\u3000", "次"}));
  EXPECT_EQ(words("'"), (Texts{"'"}));
  EXPECT_EQ(words("!'s"), (Texts{"!'", "s"}));
}

TEST(ByteLevel, ClassesOfTheRegexModule) {
  EXPECT_EQ(regex_word_class(U'\x1C'), WordClass::other);  // str.isspace() says otherwise
  EXPECT_EQ(regex_word_class(U'\x85'), WordClass::space);
  EXPECT_EQ(regex_word_class(U'\u180E'), WordClass::other);
  EXPECT_EQ(regex_word_class(U'\u2167'), WordClass::number);
  EXPECT_EQ(regex_word_class(0x323B0), WordClass::letter);  // newer than utf8proc's tables
  EXPECT_EQ(regex_word_class(0x1CCF0), WordClass::number);
  EXPECT_EQ(regex_word_class(0x323AF), WordClass::letter);
  EXPECT_EQ(regex_word_class(0x33480), WordClass::other);
}

/// The definition, without a heap: look for the lowest rank, merge, look again.
std::vector<uint32_t> merge_plainly(const MergeTable& table, std::vector<uint32_t> word, MergeOrder order) {
  for (;;) {
    const Merge* lowest = nullptr;
    size_t at = 0;
    for (size_t i = 0; i + 1 < word.size(); ++i) {
      const Merge* merge = table.find(word[i], word[i + 1]);
      if (merge == nullptr || (lowest != nullptr && lowest->rank <= merge->rank)) continue;
      lowest = merge;
      at = i;
    }
    if (lowest == nullptr) return word;
    const uint32_t left = word[at], right = word[at + 1];
    std::vector<uint32_t> next(word.begin(), word.begin() + static_cast<ptrdiff_t>(at));
    bool once = false;
    for (size_t i = at; i < word.size(); ++i) {
      const bool pair = i + 1 < word.size() && word[i] == left && word[i + 1] == right;
      if (pair && (order == MergeOrder::whole_rank || !once)) {
        next.push_back(lowest->result);
        once = true;
        ++i;
      } else {
        next.push_back(word[i]);
      }
    }
    word = std::move(next);
  }
}

TEST(Merging, EqualsItsDefinition) {
  std::mt19937 random(3);
  for (int round = 0; round < 3000; ++round) {
    MergeTable table;
    const uint32_t count = 1 + random() % 40;
    const uint32_t letters = 2 + random() % 3;
    for (uint32_t rank = 0; rank < count; ++rank) {  // ranks in any order: also those that training never gives
      const uint32_t known = letters + rank;
      table.add(random() % known, random() % known,
                {random() % 4 == 0 ? count - rank + 1000 : rank * 2 + 5000, letters + rank});
    }
    std::vector<uint32_t> word;
    for (size_t length = random() % 30; length > 0; --length) word.push_back(random() % letters);
    for (MergeOrder order : {MergeOrder::lowest_pair, MergeOrder::whole_rank}) {
      std::vector<BpeSymbol> symbols;
      for (uint32_t i = 0; i < word.size(); ++i) symbols.push_back({word[i], i, i + 1});
      Merger(table, order).run(symbols);
      std::vector<uint32_t> got;
      uint32_t end = 0;
      for (const BpeSymbol& symbol : symbols) {
        EXPECT_EQ(symbol.begin, end);
        end = symbol.end;
        got.push_back(symbol.symbol);
      }
      EXPECT_EQ(end, word.size());
      ASSERT_EQ(got, merge_plainly(table, word, order)) << "round " << round;
    }
  }
}

TEST(Merging, LongWordsTakeNoSquareTime) {
  MergeTable table;
  table.add(0, 0, {0, 1});
  table.add(1, 1, {1, 2});
  std::vector<BpeSymbol> symbols;
  for (uint32_t i = 0; i < 1'000'000; ++i) symbols.push_back({0, i, i + 1});
  Merger(table, MergeOrder::whole_rank).run(symbols);
  EXPECT_EQ(symbols.size(), 250'000u);
}

BpeModel small_model(BpeOptions options, std::vector<std::string> tokens, const BpeModel::Merges& merges) {
  StringMap<int32_t> vocabulary;
  for (size_t i = 0; i < tokens.size(); ++i) vocabulary.emplace(tokens[i], static_cast<int32_t>(i));
  return BpeModel(std::move(vocabulary), merges, std::move(options));
}

std::vector<BpeToken> run(const BpeModel& model, std::string_view word) {
  std::vector<BpeToken> out;
  model.tokenize(word, out);
  return out;
}

using Tokens = std::vector<BpeToken>;

// Expected values below: tokenizers 0.22.2, models.BPE(...).tokenize(word).
TEST(BpeModelOptions, UnknownCharacters) {
  const Texts tokens = {"<unk>", "a", "b", "ab"};
  BpeOptions options;
  options.unk_token = "<unk>";
  EXPECT_EQ(run(small_model(options, tokens, {{"a", "b"}}), "accb"),
            (Tokens{{1, 0, 1}, {0, 1, 2}, {0, 2, 3}, {2, 3, 4}}));
  options.fuse_unk = true;
  EXPECT_EQ(run(small_model(options, tokens, {{"a", "b"}}), "aあcab"), (Tokens{{1, 0, 1}, {0, 1, 5}, {3, 5, 7}}));
  EXPECT_EQ(run(small_model({}, tokens, {{"a", "b"}}), "acb"), (Tokens{{3, 0, 2}})) << "without an unknown token";
}

TEST(BpeModelOptions, PrefixAndSuffix) {
  BpeOptions options;
  options.continuing_subword_prefix = "##";
  options.end_of_word_suffix = "</w>";
  const BpeModel model =
      small_model(options, {"a", "##b", "##c</w>", "ab", "abc</w>", "a</w>"}, {{"a", "##b"}, {"ab", "##c</w>"}});
  EXPECT_EQ(run(model, "abc"), (Tokens{{4, 0, 3}}));
  EXPECT_EQ(run(model, "a"), (Tokens{{5, 0, 1}}));
  EXPECT_EQ(run(model, ""), Tokens());
}

TEST(BpeModelOptions, BytesAndWholeWords) {
  BpeOptions options;
  options.byte_fallback = true;
  options.unk_token = "<unk>";
  EXPECT_EQ(run(small_model(options, {"<unk>", "a", "<0xC3>", "<0xA9>"}, {}), "aéü"),
            (Tokens{{1, 0, 1}, {2, 1, 2}, {3, 2, 3}, {0, 3, 5}}));
  BpeOptions whole;
  whole.ignore_merges = true;
  EXPECT_EQ(run(small_model(whole, {"a", "b", "ab"}, {}), "ab"), (Tokens{{2, 0, 2}}));
  EXPECT_EQ(run(small_model({}, {"a", "b", "ab"}, {}), "ab"), (Tokens{{0, 0, 1}, {1, 1, 2}}));
}

TEST(BpeModelOptions, MistakesAreNamed) {
  auto status = [](const BpeOptions& options, const Texts& tokens, const BpeModel::Merges& merges) {
    return capture([&] { run(small_model(options, tokens, merges), "ac"); });
  };
  EXPECT_EQ(status({}, {"a", "b"}, {{"a", "b"}}).code(), StatusCode::malformed);
  EXPECT_NE(status({}, {"a", "b"}, {{"a", "b"}}).message().find("merge 0 needs 'ab'"), std::string::npos);
  BpeOptions options;
  options.unk_token = "[UNK]";
  EXPECT_EQ(status(options, {"a"}, {}).code(), StatusCode::tokenization);
}

}  // namespace
}  // namespace inazuma
