// tokenizer_dump DIRECTORY [slow|fast] < texts > answers
// Texts: each a uint32 length and that many bytes. Answers: each a uint32 count, count int32 ids, 2 * count int32
// offsets, then the two decodings (with and without special tokens skipped) as uint32 length and bytes. Little endian.
// An error ends the program.
#include <cstdio>
#include <cstring>
#include <iostream>

#include "text/tokenizer.h"

namespace {

void put(const void* data, size_t size) {
  if (size > 0 && std::fwrite(data, 1, size, stdout) != size) std::exit(3);
}

void put_text(const std::string& text) {
  const auto size = static_cast<uint32_t>(text.size());
  put(&size, sizeof size);
  put(text.data(), text.size());
}

int dump(const inazuma::Tokenizer& tokenizer) {
  uint32_t size = 0;
  std::string text;
  while (std::fread(&size, sizeof size, 1, stdin) == 1) {
    text.resize(size);
    if (size > 0 && std::fread(text.data(), 1, size, stdin) != size) return 2;
    auto encoding = tokenizer.encode(text);
    if (!encoding) {
      std::cerr << encoding.status().message() << "\n";
      return 1;
    }
    const auto count = static_cast<uint32_t>(encoding->size());
    put(&count, sizeof count);
    put(encoding->ids.data(), count * sizeof(int32_t));
    put(encoding->offsets.data(), count * sizeof(inazuma::TextSpan));
    put_text(tokenizer.decode(encoding->ids, true));
    put_text(tokenizer.decode(encoding->ids, false));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: tokenizer_dump DIRECTORY [slow|fast]\n";
    return 64;
  }
  inazuma::TokenizerOptions options;
  using Flavour = inazuma::TokenizerOptions::Flavour;
  if (argc > 2) options.flavour = std::strcmp(argv[2], "slow") == 0 ? Flavour::slow : Flavour::fast;
  auto tokenizer = inazuma::load_tokenizer(argv[1], options);
  if (!tokenizer) {
    std::cerr << tokenizer.status().message() << "\n";
    return 1;
  }
  return dump(**tokenizer);
}
