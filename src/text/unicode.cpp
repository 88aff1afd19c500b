#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

namespace inazuma {

namespace {

struct Range {
  uint32_t first, last;
};

// Assigned by Unicode 15.0, unassigned in 14.0.
constexpr std::array<Range, 32> kNewIn15 = {{
    {0x0cf3, 0x0cf3},   {0x0ece, 0x0ece},   {0x10efd, 0x10eff}, {0x1123f, 0x11241}, {0x11b00, 0x11b09},
    {0x11f00, 0x11f10}, {0x11f12, 0x11f3a}, {0x11f3e, 0x11f59}, {0x1342f, 0x1342f}, {0x13439, 0x13455},
    {0x1b132, 0x1b132}, {0x1b155, 0x1b155}, {0x1d2c0, 0x1d2d3}, {0x1df25, 0x1df2a}, {0x1e030, 0x1e06d},
    {0x1e08f, 0x1e08f}, {0x1e4d0, 0x1e4f9}, {0x1f6dc, 0x1f6dc}, {0x1f774, 0x1f776}, {0x1f77b, 0x1f77f},
    {0x1f7d9, 0x1f7d9}, {0x1fa75, 0x1fa77}, {0x1fa87, 0x1fa88}, {0x1faad, 0x1faaf}, {0x1fabb, 0x1fabd},
    {0x1fabf, 0x1fabf}, {0x1face, 0x1facf}, {0x1fada, 0x1fadb}, {0x1fae8, 0x1fae8}, {0x1faf7, 0x1faf8},
    {0x2b739, 0x2b739}, {0x31350, 0x323af},
}};

bool new_in_15(char32_t point) {
  if (point < kNewIn15.front().first) return false;
  auto after = std::upper_bound(kNewIn15.begin(), kNewIn15.end(), static_cast<uint32_t>(point),
                                [](uint32_t value, const Range& range) { return value < range.first; });
  return after != kNewIn15.begin() && point <= std::prev(after)->last;
}

/// What one step of decoding saw: a code point and the bytes it took (U+FFFD for one maximal ill-formed part).
struct Step {
  char32_t point;
  size_t length;
};

bool is_tail(unsigned char byte) {
  return (byte & 0xC0) == 0x80;
}

/// Table 3-7 of the Unicode Standard: the second byte has a narrower range after E0, ED, F0 and F4.
bool is_second(unsigned char lead, unsigned char second) {
  switch (lead) {
    case 0xE0: return second >= 0xA0 && second <= 0xBF;
    case 0xED: return second >= 0x80 && second <= 0x9F;
    case 0xF0: return second >= 0x90 && second <= 0xBF;
    case 0xF4: return second >= 0x80 && second <= 0x8F;
    default: return is_tail(second);
  }
}

Step decode_step(const unsigned char* bytes, size_t left) {
  const unsigned char lead = bytes[0];
  if (lead < 0x80) return {lead, 1};
  size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                  : lead >= 0xE0 && lead <= 0xEF ? 3
                  : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                 : 0;
  if (length == 0) return {0xFFFD, 1};
  if (left < 2 || !is_second(lead, bytes[1])) return {0xFFFD, 1};
  char32_t point = (lead & (0x7Fu >> length)) << 6 | (bytes[1] & 0x3Fu);
  for (size_t i = 2; i < length; ++i) {
    if (i >= left || !is_tail(bytes[i])) return {0xFFFD, i};
    point = point << 6 | (bytes[i] & 0x3Fu);
  }
  return {point, length};
}

template <class Visit>
void for_each_point(std::string_view text, Visit&& visit) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  for (size_t at = 0; at < text.size();) {
    Step step = decode_step(bytes + at, text.size() - at);
    visit(step.point, at, step.length);
    at += step.length;
  }
}

const utf8proc_property_t& property(char32_t point) {
  return *utf8proc_get_property(static_cast<utf8proc_int32_t>(point));
}

}  // namespace

void AlignedText::push(char32_t point, TextSpan span) {
  points.push_back(point);
  source.push_back(span);
}

void AlignedText::append(const AlignedText& other) {
  points.append(other.points);
  source.insert(source.end(), other.source.begin(), other.source.end());
}

AlignedText AlignedText::slice(size_t begin, size_t end) const {
  AlignedText part;
  part.points = points.substr(begin, end - begin);
  part.source.assign(source.begin() + static_cast<ptrdiff_t>(begin), source.begin() + static_cast<ptrdiff_t>(end));
  return part;
}

TextSpan AlignedText::span(size_t begin, size_t end) const {
  TextSpan all = source[begin];
  for (size_t i = begin + 1; i < end; ++i) {
    all.start = std::min(all.start, source[i].start);
    all.end = std::max(all.end, source[i].end);
  }
  return all;
}

std::string AlignedText::utf8(size_t begin, size_t end) const {
  return encode_utf8(std::u32string_view(points).substr(begin, end - begin));
}

std::u32string decode_utf8(std::string_view bytes) {
  std::u32string points;
  points.reserve(bytes.size());
  for_each_point(bytes, [&](char32_t point, size_t, size_t) { points.push_back(point); });
  return points;
}

AlignedText decode_aligned(std::string_view bytes) {
  AlignedText text;
  text.points = decode_utf8(bytes);
  text.source.resize(text.points.size());
  for (size_t i = 0; i < text.source.size(); ++i)
    text.source[i] = {static_cast<int32_t>(i), static_cast<int32_t>(i + 1)};
  return text;
}

std::vector<uint32_t> byte_offsets(std::string_view bytes) {
  std::vector<uint32_t> offsets;
  offsets.reserve(bytes.size() + 1);
  for_each_point(bytes, [&](char32_t, size_t at, size_t) { offsets.push_back(static_cast<uint32_t>(at)); });
  offsets.push_back(static_cast<uint32_t>(bytes.size()));
  return offsets;
}

std::string replace_ill_formed(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for_each_point(bytes, [&](char32_t point, size_t, size_t) { append_utf8(out, point); });
  return out;
}

size_t count_points(std::string_view bytes) {
  size_t count = 0;
  for_each_point(bytes, [&](char32_t, size_t, size_t) { ++count; });
  return count;
}

void append_utf8(std::string& out, char32_t point) {
  if (point < 0x80) {
    out.push_back(static_cast<char>(point));
  } else if (point < 0x800) {
    out.push_back(static_cast<char>(0xC0 | point >> 6));
    out.push_back(static_cast<char>(0x80 | (point & 0x3F)));
  } else if (point < 0x10000) {
    out.push_back(static_cast<char>(0xE0 | point >> 12));
    out.push_back(static_cast<char>(0x80 | (point >> 6 & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (point & 0x3F)));
  } else {
    out.push_back(static_cast<char>(0xF0 | point >> 18));
    out.push_back(static_cast<char>(0x80 | (point >> 12 & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (point >> 6 & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (point & 0x3F)));
  }
}

std::string encode_utf8(std::u32string_view points) {
  std::string out;
  out.reserve(points.size() * 3);
  for (char32_t point : points) append_utf8(out, point);
  return out;
}

Category category(char32_t point, UnicodeVersion version) {
  if (version == UnicodeVersion::v14 && new_in_15(point)) return Category::Cn;
  return static_cast<Category>(property(point).category);
}

bool is_letter(Category c) {
  return c >= Category::Lu && c <= Category::Lo;
}
bool is_mark(Category c) {
  return c >= Category::Mn && c <= Category::Me;
}
bool is_number(Category c) {
  return c >= Category::Nd && c <= Category::No;
}
bool is_punctuation(Category c) {
  return c >= Category::Pc && c <= Category::Po;
}
bool is_other(Category c) {
  return c == Category::Cn || c >= Category::Cc;
}

uint8_t combining_class(char32_t point, UnicodeVersion version) {
  if (point < 0x300 || (version == UnicodeVersion::v14 && new_in_15(point))) return 0;
  return static_cast<uint8_t>(property(point).combining_class);
}

bool is_white_space(char32_t point) {
  if (point < 0x80) return point == 0x20 || (point >= 0x09 && point <= 0x0D);
  return point == 0x85 || point == 0xA0 || point == 0x1680 || (point >= 0x2000 && point <= 0x200A) || point == 0x2028 ||
         point == 0x2029 || point == 0x202F || point == 0x205F || point == 0x3000;
}

bool is_python_space(char32_t point) {
  return (point >= 0x1C && point <= 0x1F) || is_white_space(point);
}

bool is_bert_space(char32_t point) {
  if (point < 0x80) return point == ' ' || point == '\t' || point == '\n' || point == '\r';
  return category(point) == Category::Zs;
}

bool is_bert_control(char32_t point) {
  if (point == '\t' || point == '\n' || point == '\r') return false;
  return is_other(category(point));
}

bool is_bert_punctuation(char32_t point) {
  if (point < 0x80) {
    return (point >= 33 && point <= 47) || (point >= 58 && point <= 64) || (point >= 91 && point <= 96) ||
           (point >= 123 && point <= 126);
  }
  return is_punctuation(category(point));
}

bool is_cjk_ideograph(char32_t point) {
  return (point >= 0x4E00 && point <= 0x9FFF) || (point >= 0x3400 && point <= 0x4DBF) ||
         (point >= 0x20000 && point <= 0x2A6DF) || (point >= 0x2A700 && point <= 0x2B73F) ||
         (point >= 0x2B740 && point <= 0x2B81F) || (point >= 0x2B820 && point <= 0x2CEAF) ||
         (point >= 0xF900 && point <= 0xFAFF) || (point >= 0x2F800 && point <= 0x2FA1F);
}

std::vector<size_t> grapheme_boundaries(std::u32string_view text) {
  std::vector<size_t> starts;
  utf8proc_int32_t state = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    bool boundary = i == 0 || utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(text[i - 1]),
                                                               static_cast<utf8proc_int32_t>(text[i]), &state);
    if (boundary) starts.push_back(i);
  }
  starts.push_back(text.size());
  return starts;
}

AlignedText strip_left(const AlignedText& text) {
  size_t begin = 0;
  while (begin < text.size() && is_python_space(text.points[begin])) ++begin;
  return text.slice(begin, text.size());
}

AlignedText strip_right(const AlignedText& text) {
  size_t end = text.size();
  while (end > 0 && is_python_space(text.points[end - 1])) --end;
  return text.slice(0, end);
}

}  // namespace inazuma
