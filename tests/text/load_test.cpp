// What loading says about directories that are wrong, and what a loaded tokenizer promises beside its ids.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "text/golden_records.h"
#include "text/japanese/mecab.h"
#include "text/tokenizer.h"

namespace inazuma {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class LoadTokenizer : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / ("inazuma_load_test." + std::to_string(getpid()));
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  void write(const char* name, std::string_view text) {
    std::ofstream(directory_ / name, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
  }
  Status status(const TokenizerOptions& options = {}) { return load_tokenizer(directory_, options).status(); }
  void expect_error(StatusCode code, const char* part, const TokenizerOptions& options = {}) {
    const Status got = status(options);
    EXPECT_EQ(name(got.code()), name(code)) << got.message();
    EXPECT_THAT(got.message(), HasSubstr(part));
    EXPECT_THAT(got.message(), HasSubstr(directory_.string()));
  }

  fs::path directory_;
};

constexpr const char* kVocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n東京\na\n";

TEST_F(LoadTokenizer, SaysWhatIsMissing) {
  EXPECT_EQ(load_tokenizer(directory_ / "absent").status().code(), StatusCode::not_found);
  expect_error(StatusCode::not_found, "tokenizer.json");
  write("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer"})");
  expect_error(StatusCode::not_found, "vocab.txt");
  write("tokenizer_config.json", R"({"tokenizer_class": "T5Tokenizer"})");
  expect_error(StatusCode::not_found, "spiece.model");
  write("tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer"})");
  expect_error(StatusCode::not_found, "merges.txt");
  write("tokenizer_config.json", R"({"tokenizer_class": "PreTrainedTokenizerFast"})");
  expect_error(StatusCode::not_found, "tokenizer.json");
}

TEST_F(LoadTokenizer, NamesWhatIsSupported) {
  write("vocab.txt", kVocabulary);
  write("tokenizer_config.json", R"({"tokenizer_class": "AlbertTokenizer"})");
  expect_error(StatusCode::unsupported, "BertJapaneseTokenizer");
  write("tokenizer_config.json", R"({"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "sudachi"})");
  expect_error(StatusCode::unsupported, "sudachi");
  write("tokenizer_config.json", R"({"tokenizer_class": "BertJapaneseTokenizer", "subword_tokenizer_type": "bytes"})");
  expect_error(StatusCode::invalid, "subword_tokenizer_type");
}

/// Copies tokenizer.json of a golden directory and names another class.
class ClassNames : public LoadTokenizer {
 protected:
  void take(const char* variant, const std::string& name) {
    fs::copy_file(golden::data_directory() / variant / "tokenizer.json", directory_ / "tokenizer.json",
                  fs::copy_options::overwrite_existing);
    write("tokenizer_config.json", R"({"tokenizer_class": ")" + name + R"("})");
  }
};

TEST_F(ClassNames, SlowFilesMissingMeansThePipeline) {
  for (const auto& [variant, name] :
       {std::pair("fast-t5", "T5Tokenizer"), std::pair("fast-bert-cased", "BertTokenizer"),
        std::pair("fast-gpt2", "GPT2Tokenizer")}) {
    take(variant, name);
    auto tokenizer = load_tokenizer(directory_);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    EXPECT_TRUE((*tokenizer)->is_fast());
    EXPECT_THAT((*tokenizer)->description(), HasSubstr(std::string(name) + "Fast"));
  }
}

TEST_F(ClassNames, FastProgramsOfOtherFamilies) {
  for (const auto& [variant, name] :
       {std::pair("fast-roberta", "RobertaTokenizer"), std::pair("fast-bart", "BartTokenizer"),
        std::pair("fast-xlm-roberta", "XLMRobertaTokenizer"), std::pair("fast-llama2", "LlamaTokenizer"),
        std::pair("fast-qwen2", "Qwen2Tokenizer"), std::pair("fast-wordlevel", "PreTrainedTokenizer"),
        std::pair("fast-wordlevel", "TokenizersBackend")}) {
    for (const char* ending : {"", "Fast"}) {
      take(variant, std::string(name) + ending);
      auto tokenizer = load_tokenizer(directory_);
      ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
      EXPECT_TRUE((*tokenizer)->is_fast());
    }
    fs::remove(directory_ / "tokenizer.json");
    expect_error(StatusCode::not_found, "tokenizer.json");
  }
}

TEST_F(ClassNames, SlowAndFastAreTold) {
  EXPECT_FALSE(load_tokenizer(golden::data_directory() / "t5-legacy").value()->is_fast());
  EXPECT_FALSE(load_tokenizer(golden::data_directory() / "bert-cased-slow").value()->is_fast());
  EXPECT_TRUE(load_tokenizer(golden::data_directory() / "fast-bert-cased").value()->is_fast());
  EXPECT_TRUE(load_tokenizer(golden::data_directory() / "bert-fast-from-vocabulary").value()->is_fast());
  EXPECT_TRUE(load_tokenizer(golden::data_directory() / "fast-t5-from-spiece").value()->is_fast());
  write("tokenizer_config.json", R"({"tokenizer_class": "T5TokenizerFast"})");
  expect_error(StatusCode::not_found, "spiece.model");
  fs::copy_file(golden::data_directory() / "t5-words" / "spiece.model", directory_ / "spiece.model");
  expect_error(StatusCode::unsupported, "only unigram and BPE");
}

TEST_F(LoadTokenizer, T5ConfigurationErrors) {
  fs::copy_file(golden::data_directory() / "t5-words" / "spiece.model", directory_ / "spiece.model");
  const auto config = [&](const std::string& more) {
    write("tokenizer_config.json", R"({"tokenizer_class": "T5Tokenizer", )" + more + "}");
  };
  config(R"("extra_ids": 3, "additional_special_tokens": ["<extra_id_0>", "<extra_id_1>"])");
  expect_error(StatusCode::invalid, "extra_ids is 3");
  config(R"("extra_ids": -1)");
  expect_error(StatusCode::invalid, "extra_ids is -1");
  config(R"("eos_token": null)");
  expect_error(StatusCode::invalid, "eos_token");
  config(R"("sp_model_kwargs": {"enable_sampling": true})");
  expect_error(StatusCode::unsupported, "enable_sampling");
  config(R"("extra_ids": 2, "additional_special_tokens": ["<extra_id_0>", "<extra_id_1>"])");
  EXPECT_TRUE(status().ok()) << status().message();
  write("spiece.model", "no model");
  expect_error(StatusCode::malformed, "spiece.model");
}

TEST_F(LoadTokenizer, NamesTheBrokenPlace) {
  write("vocab.txt", kVocabulary);
  write("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer", )");
  expect_error(StatusCode::malformed, "tokenizer_config.json");
  write("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer", "do_lower_case": "yes"})");
  expect_error(StatusCode::invalid, "do_lower_case");
  write("tokenizer_config.json",
        R"({"tokenizer_class": "BertTokenizer", "added_tokens_decoder": {"x": {"content": "y"}}})");
  expect_error(StatusCode::malformed, "token id");
  write("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer", "cls_token": null})");
  expect_error(StatusCode::invalid, "cls_token");
  write("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer"})");
  write("vocab.txt", "[UNK]\n\xff\n");
  expect_error(StatusCode::malformed, "UTF-8");
  write("vocab.txt", "");
  expect_error(StatusCode::malformed, "vocab.txt");
}

TEST_F(LoadTokenizer, NeverSubstitutesADictionary) {
  write("vocab.txt", kVocabulary);
  auto config = [](const char* mecab) {
    return std::string(
               R"({"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab", "mecab_kwargs": )") +
           mecab + "}";
  };
  write("tokenizer_config.json", config(R"({"mecab_dic": "unidic_lite"})"));
  expect_error(StatusCode::not_found, "unidic-lite");
  write("tokenizer_config.json", config("null"));  // the class's default is unidic_lite
  expect_error(StatusCode::not_found, "unidic-lite");
  write("tokenizer_config.json", config(R"({"mecab_dic": "ipadic"})"));
  EXPECT_TRUE(status().ok()) << status().message();
  TokenizerOptions options;
  options.mecab_dictionaries["ipadic"] = directory_ / "nowhere";
  EXPECT_EQ(status(options).code(), StatusCode::not_found);
  write("tokenizer_config.json", config(R"({"mecab_dic": "neologd"})"));
  EXPECT_EQ(status().code(), StatusCode::invalid);
  write("tokenizer_config.json", config(R"({"mecab_dic": "ipadic", "mecab_option": "-u 'open"})"));
  EXPECT_EQ(status().code(), StatusCode::invalid);
  write("tokenizer_config.json", config(R"({"mecab_dic": "ipadic", "mecab_option": "-u /nowhere/user.dic"})"));
  EXPECT_EQ(status().code(), StatusCode::invalid);
  write("tokenizer_config.json", config(R"({"mecab_dic": "ipadic", "sudachi": 1})"));
  expect_error(StatusCode::invalid, "sudachi");
}

TEST_F(LoadTokenizer, ReadsLengthsAndDuplicates) {
  write("vocab.txt", kVocabulary);
  write("tokenizer_config.json",
        R"({"tokenizer_class": "BertTokenizer", "model_max_length": 1000000000000000019884624838656})");
  auto tokenizer = load_tokenizer(directory_).value();
  EXPECT_EQ(tokenizer->model_max_length(), 0);
  EXPECT_EQ(tokenizer->vocab_size(), 9);
  EXPECT_EQ(tokenizer->id("a"), 8);  // the last of two lines
  EXPECT_EQ(tokenizer->token(5), std::nullopt);
  EXPECT_EQ(tokenizer->token(9), std::nullopt);
  EXPECT_EQ(tokenizer->continuing_prefix(), "##");
  EXPECT_TRUE(tokenizer->is_special(3));
  EXPECT_EQ(tokenizer->special_tokens().mask, 4);
  write("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer", "model_max_length": 64})");
  EXPECT_EQ(load_tokenizer(directory_).value()->model_max_length(), 64);
  write("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer", "model_max_length": 0})");
  expect_error(StatusCode::invalid, "model_max_length");
}

TEST_F(LoadTokenizer, RefusesALimitWithoutRoom) {
  write("vocab.txt", kVocabulary);
  write("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer"})");
  auto tokenizer = load_tokenizer(directory_).value();
  EXPECT_EQ(tokenizer->encode("a a", {.max_length = 2}).status().code(), StatusCode::invalid);
  EXPECT_EQ(tokenizer->encode("a a", {.max_length = -1}).status().code(), StatusCode::invalid);
  EXPECT_EQ(tokenizer->encode("", {.max_length = 2}).value().size(), 2u);
  EXPECT_EQ(tokenizer->encode("a a", {.max_length = 3}).value().size(), 3u);
}

TEST_F(LoadTokenizer, FindsTheClassAsWritten) {
  write("vocab.txt", kVocabulary);
  write("config.json", R"({"model_type": "bert"})");
  EXPECT_EQ(load_tokenizer(directory_).value()->description(), "BertTokenizer (slow)");
  write("config.json", R"({"model_type": "bert", "tokenizer_class": "BertJapaneseTokenizer"})");
  EXPECT_THAT(load_tokenizer(directory_).value()->description(), HasSubstr("BertJapaneseTokenizer"));
  write("config.json", R"({"model_type": "bert"})");
  write("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizerFast"})");
  EXPECT_TRUE(load_tokenizer(directory_).value()->is_fast());
  TokenizerOptions slow;
  slow.flavour = TokenizerOptions::Flavour::slow;
  EXPECT_FALSE(load_tokenizer(directory_, slow).value()->is_fast());
}

TEST(JapaneseTokenizer, KeepsPlacesThroughNfkcAndSpaces) {
  auto tokenizer = load_tokenizer(golden::data_directory() / "bert-japanese-mecab").value();
  //                             0 123456 7 89
  auto encoding = tokenizer->encode("東京　ｶﾞ㍻ x", {.add_special_tokens = false}).value();
  ASSERT_GE(encoding.size(), 4u);
  EXPECT_EQ(encoding.offsets.front().start, 0);
  for (size_t i = 0; i < encoding.size(); ++i) {
    const TextSpan span = encoding.offsets[i];
    EXPECT_FALSE(span.start <= 2 && span.end > 2) << "a token covers the ideographic space";
    EXPECT_LT(span.start, span.end);
  }
  EXPECT_EQ(encoding.offsets.back(), (TextSpan{7, 8}));
  EXPECT_GT(encoding.word.back(), encoding.word.front());
}

TEST(JapaneseTokenizer, AnswersAlikeFromManyThreads) {
  auto tokenizer = load_tokenizer(golden::data_directory() / "bert-japanese-mecab").value();
  std::vector<std::string> texts;
  std::vector<Encoding> expected;
  golden::for_each_record("bert-japanese-mecab", [&](const nlohmann::json& record) {
    if (texts.size() >= 200 || record.contains("r")) return;
    texts.push_back(golden::text_of(record));
    expected.push_back(tokenizer->encode(texts.back()).value());
  });
  std::vector<size_t> different(4, 0);
  std::vector<std::thread> threads;
  for (size_t& count : different) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < texts.size(); ++i) {
        const Encoding got = tokenizer->encode(texts[i]).value();
        count += got.ids != expected[i].ids || got.offsets != expected[i].offsets;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(different, testing::Each(0u));
}

TEST(MecabArguments, SplitAsAShellDoes) {
  using testing::ElementsAre;
  EXPECT_THAT(split_arguments("-d \"a b\" -r x\\ y '' 'q\"\\'"), ElementsAre("-d", "a b", "-r", "x y", "", "q\"\\"));
  EXPECT_THAT(split_arguments("  "), ElementsAre());
  EXPECT_THROW(split_arguments("'x"), Error);
}

}  // namespace
}  // namespace inazuma
