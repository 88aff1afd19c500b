// Oniguruma's Ruby syntax written as PCRE2; the table is in pattern.h.
#include <algorithm>
#include <array>

#include "base/status.h"
#include "text/aligned/pattern.h"
#include "text/aligned/pattern_tables.h"

namespace inazuma {

namespace {

// As the inside of a character class.
constexpr std::string_view kSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
// Below U+0100 Oniguruma's \w goes by a table of its own, in which the superscript digits and fractions are word
// characters.
constexpr std::string_view kSuperscripts = R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";
constexpr std::string_view kHex = "0-9a-fA-F";
// Complements that can stand inside a class; a negated set of several parts cannot.
constexpr std::string_view kNotSpace =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{d7ff}\x{e000}-\x{10ffff})";
constexpr std::string_view kNotHex = R"(\x{0}-\x{2f}\x{3a}-\x{40}\x{47}-\x{60}\x{67}-\x{d7ff}\x{e000}-\x{10ffff})";

// Properties that are no scripts and mean the same in both.
constexpr std::array<std::string_view, 9> kBinary = {
    "any", "alphabetic", "uppercase", "lowercase", "emoji", "ideographic", "whitespace", "emojipresentation", "alpha"};
constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kLongCategories = {{{"letter", "L"},
                                                                                           {"mark", "M"},
                                                                                           {"number", "N"},
                                                                                           {"punctuation", "P"},
                                                                                           {"symbol", "S"},
                                                                                           {"separator", "Z"},
                                                                                           {"other", "C"}}};

/// What PCRE2's tables lack of a property, as the inside of a class: "L" stands for all categories that begin so.
std::string additions(std::string_view property) {
  std::string all;
  for (const auto& [known, ranges] : pattern_tables::kAdditions) {
    const bool is_category = known.size() == 2;
    if (known == property || (property.size() == 1 && is_category && known[0] == property[0])) all += ranges;
  }
  return all;
}

/// All that Unicode 14 calls unassigned and Unicode 16 does not.
std::string newly_assigned() {
  std::string all;
  for (const auto& [known, ranges] : pattern_tables::kAdditions) {
    if (known.size() == 2) all += ranges;
  }
  return all;
}

/// Insides of character classes.
std::string digit_set() {
  return R"(\p{Nd})" + additions("Nd");
}
std::string letter_set() {
  return R"(\p{Alphabetic})" + additions("alphabetic");
}
std::string posix_word_set() {
  return letter_set() + digit_set() + R"(\p{M}\p{Pc})" + additions("M");
}
std::string word_set() {
  return posix_word_set() + std::string(kSuperscripts);
}

std::optional<std::string> posix_set(std::string_view name) {
  if (name == "alpha") return letter_set();
  if (name == "digit") return digit_set();
  if (name == "space") return std::string(kSpace);
  if (name == "alnum") return letter_set() + digit_set();
  if (name == "upper") return R"(\p{Uppercase})" + additions("uppercase");
  if (name == "lower") return R"(\p{Lowercase})" + additions("lowercase");
  if (name == "word") return posix_word_set();
  return std::nullopt;
}

class Translator {
 public:
  Translator(std::string_view expression, std::string_view place) : in_(expression), place_(place) {}

  std::string run() {
    while (at_ < in_.size()) step();
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw fail(StatusCode::unsupported, "{}: the regular expression {} uses {} at byte {}, which is not supported",
               place_, quoted(in_, 200), what, at_);
  }
  [[noreturn]] void broken(std::string_view what) const {
    throw fail(StatusCode::malformed, "{}: the regular expression {} is broken at byte {}: {}", place_,
               quoted(in_, 200), at_, what);
  }
  char peek(size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  bool follows(std::string_view text) const { return in_.substr(at_).starts_with(text); }

  void step() {
    switch (peek()) {
      case '\\': return escape(false);
      case '[': return character_class();
      case '(': return group();
      case '{': return repeat();
      default: out_ += in_[at_++];
    }
  }

  void group() {
    if (follows("(?~")) refuse("an absent group (?~...)");
    if (follows("(?#")) {
      const size_t end = in_.find(')', at_);
      if (end == std::string_view::npos) broken("unclosed comment");
      at_ = end + 1;
      return;
    }
    if (follows("(*")) refuse("a verb (*...)");
    out_ += in_[at_++];
    if (peek() != '?') return;
    size_t end = at_ + 1;
    while (end < in_.size() && (std::isalpha(static_cast<unsigned char>(in_[end])) || in_[end] == '-')) ++end;
    const bool flags = end > at_ + 1 && (peek_at(end) == ')' || peek_at(end) == ':');
    if (!flags) return;
    out_ += in_[at_++];
    for (; at_ < end; ++at_) {
      const char flag = in_[at_];
      if (flag != 'i' && flag != 'm' && flag != 'x' && flag != '-') refuse("a group option other than i, m, x");
      if (flag == 'x') refuse("the group option x");
      out_ += flag == 'm' ? 's' : flag;
    }
  }
  char peek_at(size_t at) const { return at < in_.size() ? in_[at] : '\0'; }

  void repeat() {
    size_t end = at_ + 1;
    while (end < in_.size() && (std::isdigit(static_cast<unsigned char>(in_[end])) || in_[end] == ',')) ++end;
    const bool interval = peek_at(end) == '}' && end > at_ + 1 && in_.substr(at_, end - at_) != "{,";
    if (!interval) {  // a brace that stands for itself
      out_ += "\\{";
      ++at_;
      return;
    }
    out_ += '{';
    if (peek(1) == ',') out_ += '0';
    out_ += in_.substr(at_ + 1, end - at_);
    at_ = end + 1;
    if (peek() == '+') refuse("{n,m}+");
  }

  void property(bool in_class) {
    const size_t end = in_.find('}', at_);
    if (peek(2) != '{' || end == std::string_view::npos) broken("\\p needs a name in braces");
    bool negated = peek(1) == 'P';
    std::string_view name = in_.substr(at_ + 3, end - at_ - 3);
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    std::string plain;
    for (char c : name) {
      if (c == ' ' || c == '_' || c == '-') continue;
      plain += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    if (plain.empty() || !std::all_of(plain.begin(), plain.end(), [](unsigned char c) { return std::isalnum(c); })) {
      broken("not a property name");
    }
    const std::string known = property_name(plain);
    at_ = end + 1;
    if (known == "C" || known == "Cn") return unassigned(known, negated, in_class);
    const std::string more = additions(known.size() <= 2 ? known : plain);
    const std::string inside = fmt::format("\\p{{{}}}{}", known, more);
    if (!negated) return more.empty() ? put(inside) : put_set(inside, in_class);
    if (more.empty()) return put(fmt::format("\\P{{{}}}", known));
    put_other(fmt::format("[^{}]", inside), in_class);
  }

  void unassigned(const std::string& category, bool negated, bool in_class) {
    if (negated) return put_set(fmt::format("\\P{{{}}}{}", category, newly_assigned()), in_class);
    put_other(fmt::format("(?![{}])\\p{{{}}}", newly_assigned(), category), in_class);
  }

  void put(std::string_view text) { out_ += text; }
  /// `inside` of a class, or a class of it.
  void put_set(std::string_view inside, bool in_class) { out_ += in_class ? inside : fmt::format("[{}]", inside); }
  /// An expression for one character that cannot stand inside a class.
  void put_other(std::string expression, bool in_class) {
    if (in_class) {
      others_.push_back(std::move(expression));
    } else {
      out_ += fmt::format("(?:{})", expression);
    }
  }

  std::string property_name(const std::string& plain) const {
    for (const auto& [name, category] : kLongCategories) {
      if (plain == name) return std::string(category);
    }
    if (plain.size() == 1 || plain.size() == 2) {
      std::string category = plain;
      category[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(category[0])));
      return category;
    }
    if (plain == "space") return "White_Space";
    for (std::string_view refused : {"punct", "alnum", "word", "graph", "print", "blank", "cntrl", "xdigit", "digit"}) {
      if (plain == refused) refuse(fmt::format("the property {}", plain));
    }
    if (std::find(kBinary.begin(), kBinary.end(), plain) != kBinary.end()) return plain;
    return "sc:" + plain;
  }

  void set(std::string_view inside, bool negated, bool in_class) {
    at_ += 2;
    if (in_class) {
      out_ += inside;
    } else {
      out_ += negated ? "[^" : "[";
      out_ += inside;
      out_ += ']';
    }
  }

  void complement(const std::string& inside, bool in_class) {
    at_ += 2;
    put_other(fmt::format("[^{}]", inside), in_class);
  }

  void escape(bool in_class) {
    const char kind = peek(1);
    switch (kind) {
      case '\0':
        if (at_ + 1 >= in_.size()) broken("a backslash at the end");
        break;
      case 's': return set(kSpace, false, in_class);
      case 'S': return in_class ? set(kNotSpace, false, true) : set(kSpace, true, false);
      case 'd': return set(digit_set(), false, in_class);
      case 'D': return complement(digit_set(), in_class);
      case 'w': return set(word_set(), false, in_class);
      case 'W': return complement(word_set(), in_class);
      case 'h': return set(kHex, false, in_class);
      case 'H': return in_class ? set(kNotHex, false, true) : set(kHex, true, false);
      case 'p':
      case 'P': return property(in_class);
      default: break;
    }
    other_escape(kind, in_class);
  }

  void other_escape(char kind, bool in_class) {
    const std::string word = fmt::format("[{}]", word_set());
    if (kind == 'v') {
      out_ += "\\x{b}";
    } else if (kind == 'b' && !in_class) {
      out_ += fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", word);
    } else if (kind == 'B' && !in_class) {
      out_ += fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", word);
    } else if (kind == 'u') {
      const std::string_view digits = in_.substr(std::min(at_ + 2, in_.size()), 4);
      if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) {
        broken("\\u needs four hexadecimal digits");
      }
      out_ += fmt::format("\\x{{{}}}", digits);
      at_ += 4;
    } else if (std::isalnum(static_cast<unsigned char>(kind)) && !known_escape(kind, in_class)) {
      refuse(fmt::format("\\{}", kind));
    } else {
      out_ += '\\';
      size_t end = at_ + 1;
      next_point(in_, end);
      end = std::min(end, in_.size());
      out_ += in_.substr(at_ + 1, end - at_ - 1);
      at_ = end;
      return;
    }
    at_ += 2;
  }

  /// Escapes that both read alike.
  static bool known_escape(char kind, bool in_class) {
    constexpr std::string_view kBoth = "tnrfaexb0";
    constexpr std::string_view kOutside = "123456789AzZGRKk";
    if (kBoth.find(kind) != std::string_view::npos) return true;
    return !in_class && kOutside.find(kind) != std::string_view::npos;
  }

  void character_class() {
    const size_t begin = out_.size();
    out_ += in_[at_++];
    const bool negated = peek() == '^';
    if (negated) out_ += in_[at_++];
    if (peek() == ']') refuse("a class that begins with ]");
    while (peek() != ']') {
      if (at_ >= in_.size()) broken("unclosed [");
      if (follows("[:")) {
        posix();
      } else if (peek() == '[') {
        refuse("a class inside a class");
      } else if (follows("&&")) {
        refuse("the intersection &&");
      } else if (peek() == '\\') {
        escape(true);
      } else {
        out_ += in_[at_++];
      }
    }
    out_ += in_[at_++];
    if (!others_.empty()) add_others(begin, negated);
  }

  /// Rewrites the class at `begin` so that it has the characters of others_ too.
  void add_others(size_t begin, bool negated) {
    std::string set = out_.substr(begin);
    if (negated) set.erase(1, 1);
    if (set != "[]") others_.push_back(std::move(set));
    const std::string any = fmt::format("(?:{})", fmt::join(others_, "|"));
    others_.clear();
    out_.resize(begin);
    out_ += negated ? fmt::format("(?:(?!{})(?s:.))", any) : any;
  }

  void posix() {
    const size_t end = in_.find(":]", at_);
    const std::string_view name = end == std::string_view::npos ? "" : in_.substr(at_ + 2, end - at_ - 2);
    if (const auto known = posix_set(name)) {
      out_ += *known;
      at_ = end + 2;
      return;
    }
    refuse("a POSIX bracket other than alpha, digit, space, alnum, upper, lower, word");
  }

  std::string_view in_, place_;
  std::string out_;
  std::vector<std::string> others_;  // of the class being read
  size_t at_ = 0;
};

}  // namespace

std::string translate_regex(std::string_view expression, std::string_view place) {
  return Translator(expression, place).run();
}

}  // namespace inazuma
