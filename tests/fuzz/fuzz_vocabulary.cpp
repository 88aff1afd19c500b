// Any vocabulary files, any text: loading answers or explains, encoding and decoding never fail badly.
//
// Input: one byte that picks the tokenizer class, then parts separated by two record separators (1E 1E):
// tokenizer_config.json, vocabulary file, second vocabulary file (merges, special tokens), text. Missing parts are
// empty.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace {

using inazuma::Tokenizer;
namespace fs = std::filesystem;

struct Kind {
  const char* config;  // used when the input has no configuration of its own
  const char* vocabulary;
  const char* second;
};
constexpr std::array<Kind, 6> kKinds = {{
    {R"({"tokenizer_class": "BertTokenizer"})", "vocab.txt", "special_tokens_map.json"},
    {R"({"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "basic"})", "vocab.txt",
     "added_tokens.json"},
    {R"({"tokenizer_class": "T5Tokenizer"})", "spiece.model", "special_tokens_map.json"},
    {R"({"tokenizer_class": "GPT2Tokenizer"})", "vocab.json", "merges.txt"},
    {R"({"tokenizer_class": "PreTrainedTokenizerFast"})", "tokenizer.json", "special_tokens_map.json"},
    {R"({"tokenizer_class": "BertTokenizerFast"})", "vocab.txt", "special_tokens_map.json"},
}};

std::string_view next_part(std::string_view& rest) {
  const size_t end = std::min(rest.find("\x1e\x1e"), rest.size());
  std::string_view part = rest.substr(0, end);
  rest.remove_prefix(std::min(rest.size(), end + 2));
  return part;
}

void write(const fs::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

const fs::path& directory() {
  static const fs::path kPath = fs::temp_directory_path() / ("fuzz_vocabulary." + std::to_string(getpid()));
  return kPath;
}

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

void use(const Tokenizer& tokenizer, std::string_view text) {
  for (int32_t limit : {0, 4}) {
    auto encoding = tokenizer.encode(text, {.max_length = limit});
    if (!encoding) continue;
    require(limit == 0 || encoding->size() <= static_cast<size_t>(limit), "max_length");
    require(encoding->offsets.size() == encoding->size() && encoding->word.size() == encoding->size(), "equal lengths");
    for (bool skip : {true, false}) {
      inazuma::Detokenizer detokenizer(tokenizer, skip);
      std::string streamed;
      for (int32_t id : encoding->ids) streamed += detokenizer.push(id);
      (void)(streamed + detokenizer.finish());
      (void)tokenizer.decode(encoding->ids, skip);
    }
  }
  (void)tokenizer.encode_pair(text, text, {.max_length = 7, .truncation_side = inazuma::TruncationSide::left});
  (void)tokenizer.encode(text, {.split_special_tokens = true});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const Kind& kind = kKinds[data[0] % kKinds.size()];
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string_view config = next_part(rest), vocabulary = next_part(rest), second = next_part(rest);
  fs::remove_all(directory());
  fs::create_directories(directory());
  write(directory() / "tokenizer_config.json", config.empty() ? kind.config : config);
  write(directory() / kind.vocabulary, vocabulary);
  if (!second.empty()) write(directory() / kind.second, second);
  if (auto tokenizer = inazuma::load_tokenizer(directory())) use(**tokenizer, rest);
  fs::remove_all(directory());
  return 0;
}
