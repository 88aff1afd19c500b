// Normalisation (UAX #15) and lower case, keeping the alignment with the original input.
#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "text/unicode.h"

namespace inazuma {

namespace {

constexpr size_t kLongestDecomposition = 32;  // U+FDFA needs 18

/// Appends the full decomposition of one code point; every part stands for the same input.
void decompose(char32_t point, TextSpan span, bool compatible, UnicodeVersion version, AlignedText& out) {
  bool unassigned = version == UnicodeVersion::v14 && point >= 0xCF3 && category(point, version) == Category::Cn;
  if (point < 0xA0 || unassigned) return out.push(point, span);
  std::array<utf8proc_int32_t, kLongestDecomposition> parts;
  auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0));
  int last_class = 0;
  auto count =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(point), parts.data(), parts.size(), options, &last_class);
  if (count < 0 || count > static_cast<utf8proc_ssize_t>(parts.size())) return out.push(point, span);
  for (utf8proc_ssize_t i = 0; i < count; ++i) out.push(static_cast<char32_t>(parts[static_cast<size_t>(i)]), span);
}

/// Canonical ordering: each run of non-starters is sorted by combining class, equal classes keep their order.
void reorder(AlignedText& text, UnicodeVersion version) {
  for (size_t begin = 0; begin < text.size();) {
    if (combining_class(text.points[begin], version) == 0) {
      ++begin;
      continue;
    }
    size_t end = begin + 1;
    bool sorted = true;
    for (; end < text.size(); ++end) {
      uint8_t next = combining_class(text.points[end], version);
      if (next == 0) break;
      sorted = sorted && combining_class(text.points[end - 1], version) <= next;
    }
    if (!sorted) {
      std::vector<std::pair<char32_t, TextSpan>> run;
      for (size_t i = begin; i < end; ++i) run.emplace_back(text.points[i], text.source[i]);
      std::stable_sort(run.begin(), run.end(), [&](const auto& a, const auto& b) {
        return combining_class(a.first, version) < combining_class(b.first, version);
      });
      for (size_t i = begin; i < end; ++i) {
        text.points[i] = run[i - begin].first;
        text.source[i] = run[i - begin].second;
      }
    }
    begin = end;
  }
}

/// The primary composite of a pair, or 0. Hangul is arithmetic; for the rest utf8proc composes the two-element text.
char32_t composite(char32_t first, char32_t second) {
  bool jamo = (second >= 0x1161 && second <= 0x1175) || (second >= 0x11A8 && second <= 0x11C2);
  if (!jamo) {
    auto second_index = utf8proc_get_property(static_cast<utf8proc_int32_t>(second))->comb_index;
    auto first_index = utf8proc_get_property(static_cast<utf8proc_int32_t>(first))->comb_index;
    if (second_index == UINT16_MAX || first_index == UINT16_MAX) return 0;
  }
  std::array<utf8proc_int32_t, 2> pair = {static_cast<utf8proc_int32_t>(first), static_cast<utf8proc_int32_t>(second)};
  auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  return utf8proc_normalize_utf32(pair.data(), 2, options) == 1 ? static_cast<char32_t>(pair[0]) : 0;
}

AlignedText compose(const AlignedText& text, UnicodeVersion version) {
  constexpr size_t kNoStarter = static_cast<size_t>(-1);
  AlignedText out;
  out.points.reserve(text.size());
  out.source.reserve(text.size());
  size_t starter = kNoStarter;
  int last_class = -1;  // class of the last character kept after the starter; -1 right behind it
  for (size_t i = 0; i < text.size(); ++i) {
    const char32_t point = text.points[i];
    const int cls = combining_class(point, version);
    if (starter != kNoStarter && point >= 0x300 && last_class < cls) {
      char32_t whole = composite(out.points[starter], point);
      if (whole != 0) {
        out.points[starter] = whole;
        out.source[starter].start = std::min(out.source[starter].start, text.source[i].start);
        out.source[starter].end = std::max(out.source[starter].end, text.source[i].end);
        continue;
      }
    }
    if (cls == 0) starter = out.size();
    last_class = cls == 0 ? -1 : cls;
    out.push(point, text.source[i]);
  }
  return out;
}

/// Nothing below these limits changes: the cheap answer for plain text.
bool untouched(std::u32string_view text, NormalForm form) {
  const char32_t limit = form == NormalForm::nfc ? 0x300 : form == NormalForm::nfd ? 0xC0 : 0xA0;
  return std::all_of(text.begin(), text.end(), [&](char32_t point) { return point < limit; });
}

bool is_cased(char32_t point) {
  Category c = category(point);
  if (c == Category::Lu || c == Category::Ll || c == Category::Lt) return true;
  // Other_Lowercase and Other_Uppercase (PropList.txt, Unicode 14.0).
  return point == 0xAA || point == 0xBA || (point >= 0x2B0 && point <= 0x2B8) || (point >= 0x2C0 && point <= 0x2C1) ||
         (point >= 0x2E0 && point <= 0x2E4) || point == 0x345 || point == 0x37A ||
         (point >= 0x1D2C && point <= 0x1D6A) || point == 0x1D78 || (point >= 0x1D9B && point <= 0x1DBF) ||
         point == 0x2071 || point == 0x207F || (point >= 0x2090 && point <= 0x209C) ||
         (point >= 0x2160 && point <= 0x217F) || (point >= 0x24B6 && point <= 0x24E9) ||
         (point >= 0x2C7C && point <= 0x2C7D) || (point >= 0xA69C && point <= 0xA69D) || point == 0xA770 ||
         (point >= 0xA7F8 && point <= 0xA7F9) || (point >= 0xAB5C && point <= 0xAB5F) || point == 0x10780 ||
         (point >= 0x10783 && point <= 0x10785) || (point >= 0x10787 && point <= 0x107B0) ||
         (point >= 0x107B2 && point <= 0x107BA) || (point >= 0x1F130 && point <= 0x1F149) ||
         (point >= 0x1F150 && point <= 0x1F169) || (point >= 0x1F170 && point <= 0x1F189);
}

/// Case_Ignorable: categories Mn, Me, Cf, Lm, Sk and the Word_Break classes MidLetter, MidNumLet, Single_Quote.
bool is_case_ignorable(char32_t point) {
  Category c = category(point);
  if (c == Category::Mn || c == Category::Me || c == Category::Cf || c == Category::Lm || c == Category::Sk)
    return true;
  return point == 0x27 || point == 0x2E || point == 0x3A || point == 0xB7 || point == 0x387 || point == 0x55F ||
         point == 0x5F4 || point == 0x2018 || point == 0x2019 || point == 0x2024 || point == 0x2027 ||
         point == 0xFE13 || point == 0xFE52 || point == 0xFE55 || point == 0xFF07 || point == 0xFF0E || point == 0xFF1A;
}

/// A capital sigma is final when a cased letter stands before and none after it, case-ignorables skipped on both sides.
bool is_final_sigma(std::u32string_view text, size_t at) {
  size_t before = at;
  while (before > 0 && is_case_ignorable(text[before - 1])) --before;
  if (before == 0 || !is_cased(text[before - 1])) return false;
  size_t after = at + 1;
  while (after < text.size() && is_case_ignorable(text[after])) ++after;
  return after == text.size() || !is_cased(text[after]);
}

}  // namespace

AlignedText normalize(const AlignedText& text, NormalForm form, UnicodeVersion version) {
  if (untouched(text.points, form)) return text;
  const bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
  AlignedText out;
  out.points.reserve(text.size());
  out.source.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) decompose(text.points[i], text.source[i], compatible, version, out);
  reorder(out, version);
  if (form == NormalForm::nfc || form == NormalForm::nfkc) return compose(out, version);
  return out;
}

std::u32string normalize(std::u32string_view text, NormalForm form, UnicodeVersion version) {
  AlignedText aligned;
  aligned.points = text;
  aligned.source.resize(text.size());
  return normalize(aligned, form, version).points;
}

char32_t simple_lower(char32_t point) {
  if (point < 0x80) return point >= 'A' && point <= 'Z' ? point + 32 : point;
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(point)));
}

AlignedText lower_each(const AlignedText& text) {
  AlignedText out;
  out.points.reserve(text.size());
  out.source.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.points[i] == 0x130) {  // the one character whose full lower case is longer
      out.push('i', text.source[i]);
      out.push(0x307, text.source[i]);
    } else {
      out.push(simple_lower(text.points[i]), text.source[i]);
    }
  }
  return out;
}

AlignedText python_lower(const AlignedText& text) {
  AlignedText out = lower_each(text);
  if (text.points.find(U'\u03A3') == std::u32string::npos) return out;
  for (size_t i = 0, at = 0; i < text.size(); ++i) {
    if (text.points[i] == 0x3A3 && is_final_sigma(text.points, i)) out.points[at] = 0x3C2;
    at += text.points[i] == 0x130 ? 2 : 1;
  }
  return out;
}

}  // namespace inazuma
