#pragma once
// A tokenizer whose ids are bytes, and a receiver that remembers.

#include <deque>
#include <string>
#include <vector>

#include "serving/response.h"
#include "text/slow_base.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace inazuma::test {

/// One id per byte; words are runs without spaces. Characters of several bytes therefore spread over several tokens.
class ByteTokenizer : public Tokenizer {
 public:
  static constexpr int32_t kCls = 256, kSep = 257, kEos = 258, kMask = 259, kSize = 260;

  explicit ByteTokenizer(bool wraps = true) : wraps_(wraps) {
    special_.cls = kCls, special_.sep = kSep, special_.eos = kEos, special_.mask = kMask;
  }

  Result<Encoding> encode(std::string_view text, const EncodeOptions& options = {}) const override {
    Encoding plain;
    int32_t point = -1, word = 0;
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if ((byte & 0xC0) != 0x80) ++point;
      if (byte == ' ') ++word;
      add(plain, byte == '#' ? kMask : byte, {point, point + 1}, 0, word, 0);
    }
    const int32_t room = options.max_length - (options.add_special_tokens ? added_tokens(false) : 0);
    if (options.max_length > 0 && static_cast<int32_t>(plain.size()) > room)
      plain = slice(plain, 0, static_cast<size_t>(room));
    return options.add_special_tokens ? build(plain, nullptr) : plain;
  }
  Result<Encoding> encode_pair(std::string_view first, std::string_view second, const EncodeOptions&) const override {
    const Encoding b = encode(second, {.add_special_tokens = false}).value();
    return build(encode(first, {.add_special_tokens = false}).value(), &b);
  }
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const override {
    std::string bytes;
    for (const int32_t id : ids) {
      if (id >= 0 && id < 256)
        bytes += static_cast<char>(id);
      else if (!skip_special_tokens)
        bytes += token(id).value_or("");
    }
    return replace_ill_formed(bytes);
  }
  std::optional<std::string> token(int32_t id) const override {
    if (id < 0 || id >= kSize) return std::nullopt;
    if (id < 256) return std::string(1, static_cast<char>(id));
    return std::vector<std::string>{"[CLS]", "[SEP]", "</s>", "[MASK]"}[static_cast<size_t>(id - 256)];
  }
  std::optional<int32_t> id(std::string_view token) const override {
    return token.size() == 1 ? std::optional<int32_t>(static_cast<unsigned char>(token[0])) : std::nullopt;
  }
  bool is_special(int32_t id) const override { return id >= 256; }
  int32_t vocab_size() const override { return kSize; }
  const SpecialTokens& special_tokens() const override { return special_; }
  int32_t added_tokens(bool pair) const override { return wraps_ ? (pair ? 3 : 2) : 0; }
  Encoding build(const Encoding& first, const Encoding* second) const override {
    Encoding out;
    if (wraps_) add(out, kCls, {0, 0}, 1, -1, -1);
    append(out, first, 0);
    if (wraps_) add(out, kSep, {0, 0}, 1, -1, -1);
    if (second != nullptr) {
      append(out, *second, 1);
      if (wraps_) add(out, kSep, {0, 0}, 1, -1, -1);
    }
    return out;
  }
  int32_t model_max_length() const override { return 0; }
  std::string_view continuing_prefix() const override { return ""; }
  std::string description() const override { return "bytes"; }

 private:
  static void add(Encoding& out, int32_t id, TextSpan span, uint8_t special, int32_t word, int32_t sequence) {
    out.ids.push_back(id);
    out.type_ids.push_back(std::max(sequence, 0));
    out.offsets.push_back(span);
    out.special.push_back(special);
    out.word.push_back(word);
    out.sequence.push_back(sequence);
  }
  static void append(Encoding& out, const Encoding& part, int32_t sequence) {
    for (size_t i = 0; i < part.size(); ++i) add(out, part.ids[i], part.offsets[i], 0, part.word[i], sequence);
  }

  bool wraps_;
  SpecialTokens special_;
};

/// Runs posted tasks when told to, on the caller's thread; keeps what it hears.
class Ear {
 public:
  Receiver receiver() {
    return {[this](std::function<void()> task) { tasks.push_back(std::move(task)); },
            [this](Event event) {
              if (auto* token = std::get_if<StreamToken>(&event))
                streamed.push_back(std::move(*token));
              else
                responses.push_back(std::get<Response>(std::move(event)));
            }};
  }
  void run() {
    while (!tasks.empty()) {
      const auto task = std::move(tasks.front());
      tasks.pop_front();
      task();
    }
  }
  const Response& response() const { return responses.at(0); }

  std::deque<std::function<void()>> tasks;
  std::vector<StreamToken> streamed;
  std::vector<Response> responses;
};

}  // namespace inazuma::test
