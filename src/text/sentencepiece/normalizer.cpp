#include "text/sentencepiece/normalizer.h"

#include <algorithm>

namespace inazuma {

size_t leading_length(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const size_t length = first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  return std::min(length, text.size());
}

size_t well_formed_length(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  auto follows = [&](size_t i, unsigned low, unsigned high) { return byte(i) >= low && byte(i) <= high; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  const size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (text.size() < length) return 0;
  // The second byte's range keeps out overlong forms, surrogates and what lies above U+10FFFF.
  const unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (!follows(1, low, high)) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (!follows(i, 0x80, 0xBF)) return 0;
  }
  return length;
}

PieceNormalizer::PieceNormalizer(const NormalizerSpec& spec, bool space_as_suffix, const DoubleArray* symbols)
    : charsmap_(spec.charsmap),
      symbols_(symbols),
      dummy_prefix_(spec.add_dummy_prefix && !space_as_suffix),
      dummy_suffix_(spec.add_dummy_prefix && space_as_suffix),
      remove_extra_(spec.remove_extra_whitespaces),
      escape_(spec.escape_whitespaces),
      space_(escape_ ? kSpaceSymbol : std::string_view(" ")) {}

/// What the start of `input` (not empty) becomes.
PieceNormalizer::Chunk PieceNormalizer::chunk(std::string_view input) const {
  if (symbols_ != nullptr) {
    if (size_t length = symbols_->longest_prefix(input)) return {input.substr(0, length), length};
  }
  if (auto match = charsmap_.longest(input)) return {match->replacement, match->length};
  const size_t length = well_formed_length(input);
  if (length == 0) return {kReplacementUtf8, 1};
  return {input.substr(0, length), length};
}

void PieceNormalizer::append(NormalizedText& out, std::string_view text, size_t begin, size_t end) const {
  for (char byte : text) {
    if (escape_ && byte == ' ') {
      append_space(out, begin, end);
      continue;
    }
    out.text.push_back(byte);
    out.begin.push_back(static_cast<uint32_t>(begin));
    out.end.push_back(static_cast<uint32_t>(end));
  }
}

void PieceNormalizer::append_space(NormalizedText& out, size_t begin, size_t end) const {
  out.text += space_;
  out.begin.resize(out.text.size(), static_cast<uint32_t>(begin));
  out.end.resize(out.text.size(), static_cast<uint32_t>(end));
}

void PieceNormalizer::normalize(std::string_view input, NormalizedText& out) const {
  out.text.clear();
  out.begin.clear();
  out.end.clear();
  size_t at = 0;
  while (remove_extra_ && at < input.size()) {
    const Chunk next = chunk(input.substr(at));
    if (next.text != " ") break;
    at += next.consumed;
  }
  if (at == input.size()) return;
  const size_t room = (input.size() - at) + (input.size() - at) / 2 + 2 * kSpaceSymbol.size();
  out.text.reserve(room);
  out.begin.reserve(room);
  out.end.reserve(room);

  if (dummy_prefix_) append_space(out, at, at);
  bool after_space = remove_extra_;
  while (at < input.size()) {
    Chunk next = chunk(input.substr(at));
    while (after_space && next.text.starts_with(' ')) next.text.remove_prefix(1);
    append(out, next.text, at, at + next.consumed);
    if (!next.text.empty()) after_space = remove_extra_ && next.text.ends_with(' ');
    at += next.consumed;
  }
  if (remove_extra_) {
    while (out.text.ends_with(space_)) {
      at = out.begin[out.text.size() - space_.size()];
      out.text.resize(out.text.size() - space_.size());
    }
    out.begin.resize(out.text.size());
    out.end.resize(out.text.size());
  }
  if (dummy_suffix_) append_space(out, at, at);
}

}  // namespace inazuma
