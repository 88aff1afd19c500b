// The decoders of tokenizer.json: token texts to pieces of text, which are then joined without anything between them.
#include <algorithm>
#include <array>
#include <cctype>

#include "text/aligned/pattern.h"
#include "text/bpe/byte_level.h"
#include "text/fields/pattern_field.h"
#include "text/pipeline/parts.h"
#include "text/slow_base.h"
#include "text/unicode.h"

namespace inazuma {

namespace {

using Tokens = std::vector<std::string>;

class DecoderSequence : public PipelineDecoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<PipelineDecoder>> parts) : parts_(std::move(parts)) {}
  void decode(Tokens& tokens) const override {
    for (const auto& part : parts_) part->decode(tokens);
  }

 private:
  std::vector<std::unique_ptr<PipelineDecoder>> parts_;
};

class WordPieceDecoder : public PipelineDecoder {
 public:
  explicit WordPieceDecoder(const JsonField& field)
      : prefix_(field.at("prefix").text()), clean_up_(field.at("cleanup").flag()) {}
  void decode(Tokens& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::string& token = tokens[i];
      if (i > 0 && token.starts_with(prefix_)) {
        token.erase(0, prefix_.size());
      } else if (i > 0) {
        token.insert(token.begin(), ' ');
      }
      if (clean_up_) token = word_piece_clean_up(std::move(token));
    }
  }

 private:
  std::string prefix_;
  bool clean_up_;
};

class ByteLevelDecoder : public PipelineDecoder {
 public:
  void decode(Tokens& tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens) append(token, bytes);
    tokens = {replace_ill_formed(bytes)};
  }

 private:
  /// A token with any character outside the alphabet is kept as it is.
  static void append(const std::string& token, std::string& bytes) {
    const size_t before = bytes.size();
    for (size_t at = 0; at < token.size();) {
      const auto byte = byte_level_byte(next_point(token, at));
      if (!byte) {
        bytes.resize(before);
        bytes += token;
        return;
      }
      bytes += static_cast<char>(*byte);
    }
  }
};

class MetaspaceDecoder : public PipelineDecoder {
 public:
  explicit MetaspaceDecoder(const JsonField& field) : drops_first_(read_prepend_scheme(field) != PrependScheme::never) {
    const char32_t point = field.at("replacement").character();
    mark_ = encode_utf8({&point, 1});
  }
  void decode(Tokens& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = replace_all(tokens[i], mark_, i == 0 && drops_first_ ? "" : " ");
  }

 private:
  bool drops_first_;
  std::string mark_;
};

class SuffixDecoder : public PipelineDecoder {
 public:
  explicit SuffixDecoder(const JsonField& field) : suffix_(field.at("suffix").text()) {
    if (suffix_.empty()) field.at("suffix").malformed("must not be empty");
  }
  void decode(Tokens& tokens) const override {
    for (std::string& token : tokens) token = replace_all(token, suffix_, &token == &tokens.back() ? "" : " ");
  }

 private:
  std::string suffix_;
};

/// Runs of <0xE3> tokens become text, or one U+FFFD for each when they are no UTF-8.
class ByteFallbackDecoder : public PipelineDecoder {
 public:
  void decode(Tokens& tokens) const override {
    Tokens out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (replace_ill_formed(bytes) == bytes) {
        out.push_back(bytes);
      } else {
        out.insert(out.end(), bytes.size(), std::string(kReplacementUtf8));
      }
      bytes.clear();
    };
    for (std::string& token : tokens) {
      if (const int byte = byte_of(token); byte >= 0) {
        bytes += static_cast<char>(byte);
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    tokens = std::move(out);
  }

 private:
  static int byte_of(const std::string& token) {
    if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) return -1;
    const auto digit = [](char c) -> int {
      if ('0' <= c && c <= '9') return c - '0';
      const int lower = std::tolower(static_cast<unsigned char>(c));
      return 'a' <= lower && lower <= 'f' ? lower - 'a' + 10 : -1;
    };
    const int high = token[3] == '+' ? 0 : digit(token[3]);  // Rust reads "+F" as a number, too
    const int low = digit(token[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
  }
};

class FuseDecoder : public PipelineDecoder {
 public:
  void decode(Tokens& tokens) const override {
    std::string all;
    for (const std::string& token : tokens) all += token;
    tokens = {std::move(all)};
  }
};

class StripDecoder : public PipelineDecoder {
 public:
  explicit StripDecoder(const JsonField& field)
      : start_(static_cast<size_t>(field.at("start").integer(0, INT64_MAX))),
        stop_(static_cast<size_t>(field.at("stop").integer(0, INT64_MAX))) {
    const char32_t point = field.at("content").character();
    content_ = encode_utf8({&point, 1});
  }
  void decode(Tokens& tokens) const override {
    for (std::string& token : tokens) {
      for (size_t i = 0; i < start_ && token.starts_with(content_); ++i) token.erase(0, content_.size());
      for (size_t i = 0; i < stop_ && token.ends_with(content_); ++i) token.resize(token.size() - content_.size());
    }
  }

 private:
  size_t start_, stop_;
  std::string content_;
};

class ReplaceDecoder : public PipelineDecoder {
 public:
  explicit ReplaceDecoder(const JsonField& field)
      : pattern_(read_pattern(field.at("pattern"))), content_(field.at("content").text()) {}
  void decode(Tokens& tokens) const override {
    for (std::string& token : tokens) {
      std::string out;
      for (const Stretch& stretch : pattern_.find(token)) {
        out.append(stretch.match ? content_ : token.substr(stretch.begin, stretch.end - stretch.begin));
      }
      token = std::move(out);
    }
  }

 private:
  Pattern pattern_;
  std::string content_;
};

/// Connectionist temporal classification: repeated tokens are one, padding is nothing.
class CtcDecoder : public PipelineDecoder {
 public:
  explicit CtcDecoder(const JsonField& field)
      : pad_(field.at("pad_token").text()),
        delimiter_(field.at("word_delimiter_token").text()),
        clean_up_(field.at("cleanup").flag()) {
    if (pad_.empty()) field.at("pad_token").malformed("must not be empty");
    if (delimiter_.empty()) field.at("word_delimiter_token").malformed("must not be empty");
  }
  void decode(Tokens& tokens) const override {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    Tokens out;
    for (const std::string& token : tokens) {
      std::string text = replace_all(token, pad_, "");
      if (clean_up_) text = replace_all(word_piece_clean_up(std::move(text)), delimiter_, " ");
      if (!text.empty()) out.push_back(std::move(text));
    }
    tokens = std::move(out);
  }

 private:
  std::string pad_, delimiter_;
  bool clean_up_;
};

}  // namespace

std::string word_piece_clean_up(std::string text) {
  using Rule = std::pair<std::string_view, std::string_view>;
  static constexpr std::array<Rule, 11> kRules = {{{" .", "."},
                                                   {" ?", "?"},
                                                   {" !", "!"},
                                                   {" ,", ","},
                                                   {" ' ", "'"},
                                                   {" n't", "n't"},
                                                   {" 'm", "'m"},
                                                   {" do not", " don't"},
                                                   {" 's", "'s"},
                                                   {" 've", "'ve"},
                                                   {" 're", "'re"}}};
  for (const auto& [from, to] : kRules) {
    if (text.find(from) != std::string::npos) text = replace_all(text, from, to);
  }
  return text;
}

std::unique_ptr<PipelineDecoder> read_decoder(const JsonField& field, int depth) {
  const std::string type = field.at("type").text();
  if (type == "Sequence") {
    return std::make_unique<DecoderSequence>(read_sequence(field.at("decoders"), depth, read_decoder));
  }
  if (type == "WordPiece") return std::make_unique<WordPieceDecoder>(field);
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "Metaspace") return std::make_unique<MetaspaceDecoder>(field);
  if (type == "BPEDecoder") return std::make_unique<SuffixDecoder>(field);
  if (type == "ByteFallback") return std::make_unique<ByteFallbackDecoder>();
  if (type == "Fuse") return std::make_unique<FuseDecoder>();
  if (type == "Strip") return std::make_unique<StripDecoder>(field);
  if (type == "Replace") return std::make_unique<ReplaceDecoder>(field);
  if (type == "CTC") return std::make_unique<CtcDecoder>(field);
  field.unknown_type(type,
                     "Sequence, WordPiece, ByteLevel, Metaspace, BPEDecoder, ByteFallback, Fuse, Strip, Replace, CTC");
}

}  // namespace inazuma
