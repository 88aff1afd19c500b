#include "text/aligned/unicode_forms.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

#include "text/aligned/library_tables.h"
#include "text/bpe/byte_level.h"

namespace inazuma {

namespace {

namespace tables = library_tables;

template <size_t count>
bool listed(char32_t point, const std::array<tables::Range, count>& ranges) {
  const auto range = std::lower_bound(ranges.begin(), ranges.end(), point,
                                      [](const tables::Range& other, char32_t wanted) { return other.last < wanted; });
  return range != ranges.end() && range->first <= point;
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

struct Mark {
  uint8_t combining = 0;
  CharChange change;
};

/// Full decomposition; the marks behind a starter in canonical order, each keeping its change.
std::vector<Mark> decompose(std::string_view text, bool compatible) {
  std::vector<Mark> marks;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0));
  size_t starter = 0;  // marks from here on wait to be ordered
  const auto order = [&] {
    std::stable_sort(marks.begin() + static_cast<ptrdiff_t>(starter), marks.end(),
                     [](const Mark& a, const Mark& b) { return a.combining < b.combining; });
    starter = marks.size();
  };
  for (size_t at = 0; at < text.size();) {
    const char32_t point = next_point(text, at);
    std::array<utf8proc_int32_t, 32> parts{};
    utf8proc_ssize_t count = 1;
    parts[0] = static_cast<utf8proc_int32_t>(point);
    if (point >= 0x80 && !listed(point, tables::kNewlyDecomposed)) {
      int boundary = 0;
      count = utf8proc_decompose_char(parts[0], parts.data(), parts.size(), options, &boundary);
    }
    for (utf8proc_ssize_t i = 0; i < count; ++i) {
      const auto part = static_cast<char32_t>(parts[static_cast<size_t>(i)]);
      const uint8_t combining = part < 0x300 || listed(part, tables::kNewlyCombining) ? 0 : combining_class(part);
      if (combining == 0) order();
      marks.push_back({combining, {part, i > 0 ? 1 : 0}});
      if (combining == 0) starter = marks.size();
    }
  }
  order();
  return marks;
}

/// The composition of a pair, 0 when there is none.
char32_t compose(char32_t first, char32_t second) {
  if (second < 0x300) return 0;
  std::array<utf8proc_int32_t, 2> pair = {static_cast<utf8proc_int32_t>(first), static_cast<utf8proc_int32_t>(second)};
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  return utf8proc_normalize_utf32(pair.data(), 2, options) == 1 ? static_cast<char32_t>(pair[0]) : 0;
}

/// Canonical composition. A starter takes every following mark that is not blocked; a composed character has the
/// changes of its parts added up, less one for each part that went into it.
std::vector<CharChange> recompose(const std::vector<Mark>& marks) {
  std::vector<CharChange> out;
  std::optional<CharChange> base;
  std::vector<CharChange> waiting;  // marks behind `base` that did not compose
  int last = -1;                    // class of the last of them
  const auto flush = [&] {
    if (base) out.push_back(*base);
    out.insert(out.end(), waiting.begin(), waiting.end());
    waiting.clear();
    last = -1;
    base.reset();
  };
  for (const Mark& mark : marks) {
    if (!base) {
      if (mark.combining != 0) {
        out.push_back(mark.change);
      } else {
        base = mark.change;
      }
      continue;
    }
    const bool blocked = last >= mark.combining;
    const char32_t composed = blocked ? 0 : compose(base->point, mark.change.point);
    if (composed != 0) {
      base = CharChange{composed, base->change + mark.change.change - 1};
    } else if (mark.combining == 0) {
      flush();
      base = mark.change;
    } else {
      waiting.push_back(mark.change);
      last = mark.combining;
    }
  }
  flush();
  return out;
}

}  // namespace

void to_normal_form(TracedText& text, NormalForm form) {
  if (is_ascii(text.text())) return;
  const bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
  const std::vector<Mark> marks = decompose(text.text(), compatible);
  if (form == NormalForm::nfc || form == NormalForm::nfkc) return text.transform(recompose(marks));
  std::vector<CharChange> changes;
  changes.reserve(marks.size());
  for (const Mark& mark : marks) changes.push_back(mark.change);
  text.transform(changes);
}

/// Rust's char::to_lowercase goes by Unicode 17.
static char32_t rust_lower(char32_t point) {
  if (0x10D50 <= point && point <= 0x10D65) return point + 0x20;
  if (0x16EA0 <= point && point <= 0x16EB8) return point + 0x1B;
  for (const auto& [upper, lower] : tables::kNewlyLower) {
    if (upper == point) return lower;
  }
  return simple_lower(point);
}

void lowercase(TracedText& text) {
  std::vector<CharChange> changes;
  changes.reserve(text.text().size());
  bool any = false;
  for (size_t at = 0; at < text.text().size();) {
    const char32_t point = next_point(text.text(), at);
    if (point < 0x80) {
      const char32_t lower = U'A' <= point && point <= U'Z' ? point + 32 : point;
      any = any || lower != point;
      changes.push_back({lower, 0});
      continue;
    }
    if (point == 0x130) {  // the only character whose full lower case is more than one
      changes.insert(changes.end(), {{U'i', 0}, {0x307, 1}});
      any = true;
      continue;
    }
    changes.push_back({rust_lower(point), 0});
    any = any || changes.back().point != point;
  }
  if (any) text.transform(changes);
}

void to_byte_level(TracedText& text) {
  std::vector<CharChange> changes;
  changes.reserve(text.text().size());
  for (char c : text.text()) {
    const auto byte = static_cast<unsigned char>(c);
    changes.push_back({byte_level_point(byte), (byte & 0xC0) == 0x80 ? 1 : 0});
  }
  text.transform(changes);
}

bool is_rust_control(char32_t point) {
  if (point == U'\t' || point == U'\n' || point == U'\r') return false;
  if (point < 0x80) return point < 0x20 || point == 0x7F;
  const Category kind = category(point);
  return (kind == Category::Cc || kind == Category::Cf || kind == Category::Co) !=
         listed(point, tables::kControlsOfBert);
}

bool is_rust_nonspacing_mark(char32_t point) {
  return (category(point) == Category::Mn) != listed(point, tables::kMarksOfBert);
}

bool is_rust_mark(char32_t point) {
  return point >= 0x80 && is_mark(category(point)) != listed(point, tables::kMarksOfStrip);
}

bool is_rust_punctuation(char32_t point) {
  if (point < 0x80) return point > 0x20 && point < 0x7F && !std::isalnum(static_cast<int>(point));
  return is_punctuation(category(point)) != listed(point, tables::kPunctuation);
}

bool is_rust_word(char32_t point) {
  if (point < 0x80) return point == U'_' || std::isalnum(static_cast<int>(point)) != 0;
  const Category kind = category(point, UnicodeVersion::v15);
  return is_letter(kind) || is_mark(kind) || kind == Category::Nd || kind == Category::Nl || kind == Category::Pc ||
         point == 0x200C || point == 0x200D || (0x24B6 <= point && point <= 0x24E9) ||
         (0x1F130 <= point && point <= 0x1F149) || (0x1F150 <= point && point <= 0x1F169) ||
         (0x1F170 <= point && point <= 0x1F189) || listed(point, tables::kNewlyWord);
}

bool is_rust_numeric(char32_t point) {
  return point < 0x80 ? U'0' <= point && point <= U'9' : is_number(category(point, UnicodeVersion::v15));
}

}  // namespace inazuma
