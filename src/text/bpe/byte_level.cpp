#include "text/bpe/byte_level.h"

#include <algorithm>
#include <array>

#include "text/unicode.h"

namespace inazuma {

namespace {

struct Alphabet {
  std::array<char32_t, 256> point{};
  std::array<int16_t, 0x180> byte{};  // the largest point is U+0143
};

constexpr bool is_printable(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  alphabet.byte.fill(-1);
  char32_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    alphabet.point[byte] = is_printable(byte) ? byte : next++;
    alphabet.byte[alphabet.point[byte]] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

struct ClassRange {
  char32_t first, last;
  WordClass word_class;
};

/// Letters and numbers of `regex` 2026.11.15 that utf8proc 2.8 (Unicode 15.0) does not know; found by asking both about
/// every code point. White space is the same in both.
constexpr ClassRange kNewer[] = {
    {0x558, 0x558, WordClass::letter},     {0x58B, 0x58C, WordClass::letter},     {0x88F, 0x88F, WordClass::letter},
    {0xC5C, 0xC5C, WordClass::letter},     {0xCDC, 0xCDC, WordClass::letter},     {0x1C89, 0x1C8A, WordClass::letter},
    {0x208F, 0x208F, WordClass::letter},   {0x209D, 0x209F, WordClass::letter},   {0xA7CB, 0xA7CF, WordClass::letter},
    {0xA7D2, 0xA7D2, WordClass::letter},   {0xA7D4, 0xA7D4, WordClass::letter},   {0xA7DA, 0xA7DD, WordClass::letter},
    {0xA7E2, 0xA7E2, WordClass::letter},   {0xA7F1, 0xA7F1, WordClass::letter},   {0xAB6C, 0xAB6D, WordClass::letter},
    {0x105C0, 0x105F3, WordClass::letter}, {0x107BB, 0x107BF, WordClass::letter}, {0x10940, 0x10959, WordClass::letter},
    {0x10D40, 0x10D49, WordClass::number}, {0x10D4A, 0x10D65, WordClass::letter}, {0x10D6F, 0x10D85, WordClass::letter},
    {0x10EC2, 0x10EC7, WordClass::letter}, {0x10ED9, 0x10EEE, WordClass::letter}, {0x11380, 0x11389, WordClass::letter},
    {0x1138B, 0x1138B, WordClass::letter}, {0x1138E, 0x1138E, WordClass::letter}, {0x11390, 0x113B5, WordClass::letter},
    {0x113B7, 0x113B7, WordClass::letter}, {0x113D1, 0x113D1, WordClass::letter}, {0x113D3, 0x113D3, WordClass::letter},
    {0x116D0, 0x116E3, WordClass::number}, {0x11B0A, 0x11B0A, WordClass::letter}, {0x11BC0, 0x11BE0, WordClass::letter},
    {0x11BF0, 0x11BF9, WordClass::number}, {0x11DB0, 0x11DDB, WordClass::letter}, {0x11DE0, 0x11DE9, WordClass::number},
    {0x11DF1, 0x11DF1, WordClass::letter}, {0x1246F, 0x1246F, WordClass::number}, {0x12475, 0x1247F, WordClass::number},
    {0x12550, 0x12686, WordClass::number}, {0x13460, 0x143FA, WordClass::letter}, {0x16100, 0x1611D, WordClass::letter},
    {0x16130, 0x16139, WordClass::number}, {0x16D40, 0x16D6C, WordClass::letter}, {0x16D70, 0x16D79, WordClass::number},
    {0x16EA0, 0x16EB8, WordClass::letter}, {0x16EBB, 0x16ED3, WordClass::letter}, {0x16FF2, 0x16FF3, WordClass::letter},
    {0x16FF4, 0x16FF6, WordClass::number}, {0x187F8, 0x187FF, WordClass::letter}, {0x18CD6, 0x18CDA, WordClass::letter},
    {0x18CFF, 0x18CFF, WordClass::letter}, {0x18D09, 0x18D20, WordClass::letter}, {0x18D80, 0x18DF2, WordClass::letter},
    {0x18E00, 0x19191, WordClass::letter}, {0x191A0, 0x191D2, WordClass::letter}, {0x1B123, 0x1B128, WordClass::letter},
    {0x1B168, 0x1B168, WordClass::letter}, {0x1CCF0, 0x1CCF9, WordClass::number}, {0x1D6A6, 0x1D6A6, WordClass::letter},
    {0x1DF1F, 0x1DF24, WordClass::letter}, {0x1DF2B, 0x1DF81, WordClass::letter}, {0x1DF90, 0x1DF96, WordClass::letter},
    {0x1DFCD, 0x1DFFF, WordClass::letter}, {0x1E5D0, 0x1E5ED, WordClass::letter}, {0x1E5F0, 0x1E5F0, WordClass::letter},
    {0x1E5F1, 0x1E5FA, WordClass::number}, {0x1E6C0, 0x1E6DE, WordClass::letter}, {0x1E6E0, 0x1E6E2, WordClass::letter},
    {0x1E6E4, 0x1E6E5, WordClass::letter}, {0x1E6E7, 0x1E6ED, WordClass::letter}, {0x1E6F0, 0x1E6F4, WordClass::letter},
    {0x1E6FE, 0x1E6FF, WordClass::letter}, {0x2B73A, 0x2B73F, WordClass::letter}, {0x2B81E, 0x2B81E, WordClass::letter},
    {0x2CEA2, 0x2CEAD, WordClass::letter}, {0x2EBF0, 0x2EE5D, WordClass::letter}, {0x323B0, 0x33479, WordClass::letter},
    {0x3D000, 0x3FC3F, WordClass::letter}};

WordClass newer_class(char32_t point) {
  const auto* range = std::upper_bound(std::begin(kNewer), std::end(kNewer), point,
                                       [](char32_t value, const ClassRange& entry) { return value < entry.first; });
  if (range == std::begin(kNewer) || (range - 1)->last < point) return WordClass::other;
  return (range - 1)->word_class;
}

WordClass ascii_class(char32_t point) {
  if ((point >= 'a' && point <= 'z') || (point >= 'A' && point <= 'Z')) return WordClass::letter;
  if (point >= '0' && point <= '9') return WordClass::number;
  return point == ' ' || (point >= '\t' && point <= '\r') ? WordClass::space : WordClass::other;
}

/// Length of the contraction at the start of `text` ('s 't 're 've 'm 'll 'd), or 0.
size_t contraction(std::u32string_view text) {
  if (text.size() < 2 || text[0] != U'\'') return 0;
  switch (text[1]) {
    case U's':
    case U't':
    case U'm':
    case U'd': return 2;
    case U'r':
    case U'v': return text.size() > 2 && text[2] == U'e' ? 3 : 0;
    case U'l': return text.size() > 2 && text[2] == U'l' ? 3 : 0;
    default: return 0;
  }
}

}  // namespace

char32_t byte_level_point(unsigned char byte) {
  return kAlphabet.point[byte];
}

std::optional<unsigned char> byte_level_byte(char32_t point) {
  if (point >= kAlphabet.byte.size() || kAlphabet.byte[point] < 0) return std::nullopt;
  return static_cast<unsigned char>(kAlphabet.byte[point]);
}

std::string byte_level_encode(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (char byte : bytes) append_utf8(text, byte_level_point(static_cast<unsigned char>(byte)));
  return text;
}

std::string byte_level_decode(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (char32_t point : decode_utf8(text)) {
    if (auto byte = byte_level_byte(point)) {
      bytes.push_back(static_cast<char>(*byte));
    } else {
      append_utf8(bytes, point);
    }
  }
  return bytes;
}

WordClass regex_word_class(char32_t point) {
  if (point < 0x80) return ascii_class(point);
  const Category kind = category(point, UnicodeVersion::v15);
  if (is_letter(kind)) return WordClass::letter;
  if (is_number(kind)) return WordClass::number;
  if (is_white_space(point)) return WordClass::space;
  return kind == Category::Cn ? newer_class(point) : WordClass::other;
}

size_t gpt2_word_end(std::u32string_view text, size_t at, WordClass (*word_class)(char32_t)) {
  if (size_t length = contraction(text.substr(at))) return at + length;
  size_t first = at;
  if (text[at] == U' ' && at + 1 < text.size() && word_class(text[at + 1]) != WordClass::space) ++first;
  const WordClass kind = word_class(text[first]);
  size_t end = first + 1;
  while (end < text.size() && word_class(text[end]) == kind) ++end;
  // \s+(?!\S): a run of spaces leaves its last one to the word that follows, unless it has only one.
  if (kind == WordClass::space && end < text.size() && end - first > 1) --end;
  return end;
}

}  // namespace inazuma
