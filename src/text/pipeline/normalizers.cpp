// The normalizers of tokenizer.json.
#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "text/aligned/pattern.h"
#include "text/aligned/unicode_forms.h"
#include "text/bpe/byte_level.h"
#include "text/fields/pattern_field.h"
#include "text/pipeline/parts.h"
#include "text/sentencepiece/charsmap.h"
#include "text/unicode.h"

namespace inazuma {

namespace {

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  void normalize(TracedText& text) const override {
    for (const auto& part : parts_) part->normalize(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

/// A normalizer without settings.
class PlainNormalizer : public Normalizer {
 public:
  using Function = void (*)(TracedText&);
  explicit PlainNormalizer(Function function) : function_(function) {}
  void normalize(TracedText& text) const override { function_(text); }

 private:
  Function function_;
};

class BertNormalizer : public Normalizer {
 public:
  explicit BertNormalizer(const JsonField& field)
      : clean_(field.at("clean_text").flag()),
        space_ideographs_(field.at("handle_chinese_chars").flag()),
        lowercase_(field.at("lowercase").flag()),
        strip_accents_(field.flag_or("strip_accents", lowercase_)) {}

  void normalize(TracedText& text) const override {
    if (clean_) clean(text);
    if (space_ideographs_) space_ideographs(text);
    if (strip_accents_) {
      to_normal_form(text, NormalForm::nfd);
      text.filter([](char32_t point) { return point < 0x80 || !is_rust_nonspacing_mark(point); });
    }
    if (lowercase_) lowercase(text);
  }

 private:
  static void clean(TracedText& text) {
    text.filter([](char32_t point) { return point != 0 && point != 0xFFFD && !is_rust_control(point); });
    text.map([](char32_t point) { return is_white_space(point) ? U' ' : point; });
  }
  /// The library's table of ideographs has 2B920 where Unicode's block starts at 2B820.
  static bool is_ideograph(char32_t point) { return is_cjk_ideograph(point) && !(0x2B820 <= point && point < 0x2B920); }
  static void space_ideographs(TracedText& text) {
    std::vector<CharChange> changes;
    bool any = false;
    for (size_t at = 0; at < text.text().size();) {
      const char32_t point = next_point(text.text(), at);
      if (!is_ideograph(point)) {
        changes.push_back({point, 0});
        continue;
      }
      any = true;
      changes.insert(changes.end(), {{U' ', 0}, {point, 1}, {U' ', 1}});
    }
    if (any) text.transform(changes);
  }

  bool clean_, space_ideographs_, lowercase_, strip_accents_;
};

class StripNormalizer : public Normalizer {
 public:
  explicit StripNormalizer(const JsonField& field)
      : left_(field.at("strip_left").flag()), right_(field.at("strip_right").flag()) {}
  void normalize(TracedText& text) const override { text.strip(left_, right_); }

 private:
  bool left_, right_;
};

void normalize_nmt(TracedText& text) {
  text.filter([](char32_t point) {
    return !((1 <= point && point <= 8) || point == 0xB || (0xE <= point && point <= 0x1F) || point == 0x7F ||
             point == 0x8F || point == 0x9F);
  });
  text.map([](char32_t point) {
    constexpr std::array<char32_t, 11> kSpaces = {0x9,    0xA,    0xC,    0xD,    0x1680, 0x2028,
                                                  0x2029, 0x2581, 0xFEFF, 0xFFFD, 0x200B};
    const bool space =
        (0x200B <= point && point <= 0x200F) || std::find(kSpaces.begin(), kSpaces.end(), point) != kSpaces.end();
    return space ? U' ' : point;
  });
}

void strip_accents(TracedText& text) {
  text.filter([](char32_t point) { return !is_rust_mark(point); });
}

void normalize_byte_level(TracedText& text) {
  to_byte_level(text);
}

/// SentencePiece's character map, asked by grapheme cluster as the library does.
class Precompiled : public Normalizer {
 public:
  explicit Precompiled(const JsonField& field) {
    const JsonField map = field.at("precompiled_charsmap");
    const auto bytes = decode_base64(map.text());
    if (!bytes) map.malformed("is not base64");
    try {
      map_ = Charsmap(*bytes);
    } catch (const Error& error) {
      throw Error(error.status().in(map.place()));
    }
  }

  void normalize(TracedText& text) const override {
    if (map_.empty()) return;
    const std::u32string points = decode_utf8(text.text());
    const std::vector<size_t> bounds = grapheme_boundaries(points);
    std::vector<CharChange> changes;
    changes.reserve(points.size());
    bool modified = false;
    for (size_t i = 0; i + 1 < bounds.size(); ++i) {
      modified |= map_cluster(std::u32string_view(points).substr(bounds[i], bounds[i + 1] - bounds[i]), changes);
    }
    if (modified) text.transform(changes);
  }

 private:
  bool map_cluster(std::u32string_view cluster, std::vector<CharChange>& changes) const {
    const std::string bytes = encode_utf8(cluster);
    if (bytes.size() < 6 && map_part(bytes, cluster.size(), changes)) return true;
    bool modified = false;
    for (char32_t point : cluster) {
      if (map_part(encode_utf8({&point, 1}), 1, changes)) {
        modified = true;
      } else {
        changes.push_back({point, 0});
      }
    }
    return modified;
  }

  /// Replaces a whole part of `count` characters by what its shortest known beginning maps to.
  bool map_part(const std::string& part, size_t count, std::vector<CharChange>& changes) const {
    const auto match = map_.shortest(part);
    if (!match) return false;
    const std::u32string replacement = decode_utf8(match->replacement);
    for (char32_t point : replacement) changes.push_back({point, 0});
    if (replacement.size() > count) {
      for (size_t i = 0; i < replacement.size() - count; ++i) changes[changes.size() - 1 - i].change = 1;
    } else if (replacement.size() < count && !changes.empty()) {
      changes.back().change -= static_cast<int32_t>(count - replacement.size());
    }
    return true;
  }

  Charsmap map_;
};

class ReplaceNormalizer : public Normalizer {
 public:
  explicit ReplaceNormalizer(const JsonField& field)
      : pattern_(read_pattern(field.at("pattern"))), content_(field.at("content").text()) {}
  void normalize(TracedText& text) const override { text.replace(pattern_.find(text.text()), content_); }

 private:
  Pattern pattern_;
  std::string content_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(const JsonField& field) : prefix_(field.at("prepend").text()) {}
  void normalize(TracedText& text) const override { text.prepend(prefix_); }

 private:
  std::string prefix_;
};

template <NormalForm form>
void normal_form(TracedText& text) {
  to_normal_form(text, form);
}

struct PlainType {
  std::string_view name;
  PlainNormalizer::Function function;
};
constexpr std::array<PlainType, 8> kPlain = {{{"NFC", normal_form<NormalForm::nfc>},
                                              {"NFD", normal_form<NormalForm::nfd>},
                                              {"NFKC", normal_form<NormalForm::nfkc>},
                                              {"NFKD", normal_form<NormalForm::nfkd>},
                                              {"Lowercase", lowercase},
                                              {"StripAccents", strip_accents},
                                              {"Nmt", normalize_nmt},
                                              {"ByteLevel", normalize_byte_level}}};

}  // namespace

std::unique_ptr<Normalizer> read_normalizer(const JsonField& field, int depth) {
  const std::string type = field.at("type").text();
  for (const PlainType& plain : kPlain) {
    if (plain.name == type) return std::make_unique<PlainNormalizer>(plain.function);
  }
  if (type == "Sequence") {
    return std::make_unique<NormalizerSequence>(read_sequence(field.at("normalizers"), depth, read_normalizer));
  }
  if (type == "BertNormalizer") return std::make_unique<BertNormalizer>(field);
  if (type == "Strip") return std::make_unique<StripNormalizer>(field);
  if (type == "Precompiled") return std::make_unique<Precompiled>(field);
  if (type == "Replace") return std::make_unique<ReplaceNormalizer>(field);
  if (type == "Prepend") return std::make_unique<Prepend>(field);
  field.unknown_type(
      type,
      "Sequence, BertNormalizer, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Nmt, Precompiled, "
      "Replace, Prepend, ByteLevel");
}

}  // namespace inazuma
