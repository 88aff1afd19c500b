// The pre-tokenizers of tokenizer.json.
#include <functional>

#include "text/aligned/pattern.h"
#include "text/aligned/unicode_forms.h"
#include "text/fields/pattern_field.h"
#include "text/pipeline/parts.h"
#include "text/unicode.h"

namespace inazuma {

namespace {

/// Puts every piece that is no added token through `work`, which appends what it becomes; empty pieces vanish.
template <class Work>
void rewrite(TextPieces& pieces, Work&& work) {
  TextPieces out;
  out.reserve(pieces.size() * 2);
  for (TextPiece& piece : pieces) {
    if (piece.added) {
      out.push_back(std::move(piece));
    } else {
      work(std::move(piece.text), out);
    }
  }
  pieces = std::move(out);
}

void append_pieces(TracedText text, const std::vector<Stretch>& stretches, TextPieces& out) {
  if (stretches.size() == 1 && stretches[0].begin == 0 && stretches[0].end == text.text().size()) {
    out.push_back({std::move(text), std::nullopt});
    return;
  }
  for (const Stretch& stretch : stretches) {
    if (stretch.begin < stretch.end) out.push_back({text.slice(stretch.begin, stretch.end), std::nullopt});
  }
}

class PreTokenizerSequence : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<std::unique_ptr<PreTokenizer>> parts) : parts_(std::move(parts)) {}
  void split(TextPieces& pieces) const override {
    for (const auto& part : parts_) part->split(pieces);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

/// Splits at characters of a class.
class CharacterSplit : public PreTokenizer {
 public:
  CharacterSplit(std::function<bool(char32_t)> matches, SplitBehavior behavior)
      : matches_(std::move(matches)), behavior_(behavior) {}
  void split(TextPieces& pieces) const override {
    rewrite(pieces, [&](TracedText text, TextPieces& out) {
      const auto stretches = split_stretches(find_characters(text.text(), matches_), behavior_);
      append_pieces(std::move(text), stretches, out);
    });
  }

 private:
  std::function<bool(char32_t)> matches_;
  SplitBehavior behavior_;
};

class PatternSplit : public PreTokenizer {
 public:
  PatternSplit(Pattern pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void split(TextPieces& pieces) const override {
    rewrite(pieces, [&](TracedText text, TextPieces& out) {
      std::vector<Stretch> stretches = pattern_.find(text.text());
      if (invert_) {
        for (Stretch& stretch : stretches) stretch.match = !stretch.match;
      }
      append_pieces(std::move(text), split_stretches(stretches, behavior_), out);
    });
  }

 private:
  Pattern pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

/// Runs of \w and runs of neither \w nor space, by the regex crate's classes.
class WhitespacePreTokenizer : public PreTokenizer {
 public:
  void split(TextPieces& pieces) const override {
    rewrite(pieces, [](TracedText text, TextPieces& out) {
      const std::string& bytes = text.text();
      std::vector<Stretch> words;
      int previous = 0;
      for (size_t at = 0; at < bytes.size();) {
        const size_t begin = at;
        const char32_t point = next_point(bytes, at);
        const int kind = is_rust_word(point) ? 1 : is_white_space(point) ? 0 : 2;
        if (kind != 0 && kind == previous) {
          words.back().end = at;
        } else if (kind != 0) {
          words.push_back({begin, at, false});
        }
        previous = kind;
      }
      append_pieces(std::move(text), words, out);
    });
  }
};

class ByteLevelPreTokenizer : public PreTokenizer {
 public:
  explicit ByteLevelPreTokenizer(const JsonField& field) : add_prefix_space_(field.at("add_prefix_space").flag()) {
    field.at("trim_offsets").flag();
    if (field.flag_or("use_regex", true)) pattern_ = Pattern::regex(kPattern, field.place());
  }
  void split(TextPieces& pieces) const override {
    rewrite(pieces, [&](TracedText text, TextPieces& out) {
      if (add_prefix_space_ && !text.text().starts_with(' ')) text.prepend(" ");
      if (text.empty()) return;
      const size_t first = out.size();
      if (pattern_) {
        const auto stretches = pattern_->find(text.text());
        append_pieces(std::move(text), stretches, out);
      } else {
        out.push_back({std::move(text), std::nullopt});
      }
      for (size_t i = first; i < out.size(); ++i) to_byte_level(out[i].text);
    });
  }

 private:
  static constexpr std::string_view kPattern =
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  bool add_prefix_space_;
  std::optional<Pattern> pattern_;
};

class Metaspace : public PreTokenizer {
 public:
  explicit Metaspace(const JsonField& field)
      : scheme_(read_prepend_scheme(field)),
        point_(field.at("replacement").character()),
        mark_(encode_utf8({&point_, 1})),
        split_(field.flag_or("split", true)) {}
  void split(TextPieces& pieces) const override {
    rewrite(pieces, [&](TracedText text, TextPieces& out) {
      text.replace(find_characters(text.text(), [](char32_t point) { return point == U' '; }), mark_);
      const bool wanted = scheme_ == PrependScheme::always || (scheme_ == PrependScheme::first && text.origin() == 0);
      if (wanted && !text.text().starts_with(mark_)) text.prepend(mark_);
      if (text.empty()) return;
      if (!split_) {
        out.push_back({std::move(text), std::nullopt});
        return;
      }
      const auto marks = find_characters(text.text(), [this](char32_t point) { return point == point_; });
      append_pieces(std::move(text), split_stretches(marks, SplitBehavior::merged_with_next), out);
    });
  }

 private:
  PrependScheme scheme_;
  char32_t point_;
  std::string mark_;
  bool split_;
};

class FixedLength : public PreTokenizer {
 public:
  explicit FixedLength(const JsonField& field) : length_(5) {
    if (auto length = field.find("length")) length_ = static_cast<size_t>(length->integer(1, INT32_MAX));
  }
  void split(TextPieces& pieces) const override {
    rewrite(pieces, [&](TracedText text, TextPieces& out) {
      const std::string& bytes = text.text();
      std::vector<Stretch> chunks;
      for (size_t at = 0; at < bytes.size();) {
        const size_t begin = at;
        for (size_t i = 0; i < length_ && at < bytes.size(); ++i) next_point(bytes, at);
        chunks.push_back({begin, at, false});
      }
      append_pieces(std::move(text), chunks, out);
    });
  }

 private:
  size_t length_;
};

std::unique_ptr<PreTokenizer> make_bert() {
  std::vector<std::unique_ptr<PreTokenizer>> parts;
  parts.push_back(std::make_unique<CharacterSplit>(is_white_space, SplitBehavior::removed));
  parts.push_back(std::make_unique<CharacterSplit>(is_rust_punctuation, SplitBehavior::isolated));
  return std::make_unique<PreTokenizerSequence>(std::move(parts));
}

std::unique_ptr<PreTokenizer> make_split(const JsonField& field) {
  Pattern pattern = read_pattern(field.at("pattern"));
  const SplitBehavior behavior = read_behavior(field.at("behavior"));
  return std::make_unique<PatternSplit>(std::move(pattern), behavior, field.at("invert").flag());
}

std::unique_ptr<PreTokenizer> make_character_split(const JsonField& field) {
  const char32_t delimiter = field.at("delimiter").character();
  return std::make_unique<CharacterSplit>([delimiter](char32_t point) { return point == delimiter; },
                                          SplitBehavior::removed);
}

std::unique_ptr<PreTokenizer> make_punctuation(const JsonField& field) {
  const auto behavior = field.find("behavior");
  return std::make_unique<CharacterSplit>(is_rust_punctuation,
                                          behavior ? read_behavior(*behavior) : SplitBehavior::isolated);
}

}  // namespace

std::unique_ptr<PreTokenizer> read_pre_tokenizer(const JsonField& field, int depth) {
  const std::string type = field.at("type").text();
  if (type == "Sequence") {
    return std::make_unique<PreTokenizerSequence>(read_sequence(field.at("pretokenizers"), depth, read_pre_tokenizer));
  }
  if (type == "BertPreTokenizer") return make_bert();
  if (type == "ByteLevel") return std::make_unique<ByteLevelPreTokenizer>(field);
  if (type == "Metaspace") return std::make_unique<Metaspace>(field);
  if (type == "Whitespace") return std::make_unique<WhitespacePreTokenizer>();
  if (type == "WhitespaceSplit") return std::make_unique<CharacterSplit>(is_white_space, SplitBehavior::removed);
  if (type == "Split") return make_split(field);
  if (type == "Punctuation") return make_punctuation(field);
  if (type == "Digits") {
    return std::make_unique<CharacterSplit>(
        is_rust_numeric, field.at("individual_digits").flag() ? SplitBehavior::isolated : SplitBehavior::contiguous);
  }
  if (type == "CharDelimiterSplit") return make_character_split(field);
  if (type == "FixedLength") return std::make_unique<FixedLength>(field);
  if (type == "UnicodeScripts") {
    throw fail(StatusCode::unsupported, "{}.type UnicodeScripts is not built in", field.place());
  }
  field.unknown_type(
      type,
      "Sequence, BertPreTokenizer, ByteLevel, Metaspace, Whitespace, WhitespaceSplit, Split, Punctuation, "
      "Digits, CharDelimiterSplit, FixedLength");
}

}  // namespace inazuma
