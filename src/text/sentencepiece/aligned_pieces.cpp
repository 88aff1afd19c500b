// SentencePiece over text that knows its way back to the code points of the original input.
#include <algorithm>

#include "text/sentencepiece/sentence_piece.h"

namespace inazuma {

namespace {

constexpr char32_t kSpacePoint = U'\u2581';

/// UTF-8 of a text and, for each of its bytes, the code point it belongs to.
struct PointBytes {
  std::string bytes;
  std::vector<uint32_t> point;

  PointBytes(const AlignedText& text, std::string_view prefix) : bytes(prefix) {
    bytes.reserve(prefix.size() + text.size() * 3);
    point.reserve(text.size() * 3);
    for (size_t i = 0; i < text.size(); ++i) {
      append_utf8(bytes, text.points[i]);
      point.resize(bytes.size() - prefix.size(), static_cast<uint32_t>(i));
    }
  }
};

bool begins_word(const SentencePiece& model, std::string_view normalized, const EncodedPiece& piece) {
  if (piece.normal_begin == 0) return true;
  if (model.space_as_suffix()) return normalized.substr(0, piece.normal_begin).ends_with(kSpaceSymbol);
  return normalized.substr(piece.normal_begin).starts_with(kSpaceSymbol);
}

/// Non-decimal characters that Python's str.isdigit() accepts too (category Nd is the rest).
bool is_python_digit(char32_t point) {
  static constexpr std::pair<char32_t, char32_t> kOthers[] = {
      {0xB2, 0xB3},     {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},   {0x2070, 0x2070},
      {0x2074, 0x2079}, {0x2080, 0x2089},   {0x2460, 0x2468},   {0x2474, 0x247C},   {0x2488, 0x2490},
      {0x24EA, 0x24EA}, {0x24F5, 0x24FD},   {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},
      {0x278A, 0x2792}, {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A}};
  if (category(point) == Category::Nd) return true;
  return std::any_of(std::begin(kOthers), std::end(kOthers),
                     [&](const auto& range) { return point >= range.first && point <= range.second; });
}

/// " ".join(text.split()) with ``, '' replaced by ".
AlignedText prepare(const AlignedText& text) {
  AlignedText words;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!is_python_space(text.points[i])) {
      words.push(text.points[i], text.source[i]);
    } else if (!words.empty() && words.points.back() != U' ') {
      words.push(U' ', text.source[i]);
    }
  }
  if (!words.empty() && words.points.back() == U' ') words = words.slice(0, words.size() - 1);
  for (char32_t quote : {U'`', U'\''}) {
    AlignedText out;
    for (size_t i = 0; i < words.size(); ++i) {
      const bool doubled = words.points[i] == quote && i + 1 < words.size() && words.points[i + 1] == quote;
      if (!doubled) {
        out.push(words.points[i], words.source[i]);
        continue;
      }
      out.push(U'"', words.span(i, i + 2));
      ++i;
    }
    words = std::move(out);
  }
  return words;
}

/// The normalised characters of one piece with their places in the input.
AlignedText normalized_characters(const AlignedText& input, const PointBytes& bytes, const NormalizedText& normalized,
                                  const EncodedPiece& piece) {
  AlignedText out;
  const std::string_view text =
      std::string_view(normalized.text).substr(piece.normal_begin, piece.normal_end - piece.normal_begin);
  const std::vector<uint32_t> starts = byte_offsets(text);
  const std::u32string points = decode_utf8(text);
  for (size_t i = 0; i < points.size(); ++i) {
    const size_t at = piece.normal_begin + starts[i];
    const uint32_t begin = normalized.begin[at];
    const uint32_t end = normalized.end[at];
    if (begin < end) {
      out.push(points[i], input.span(bytes.point[begin], bytes.point[end - 1] + 1));
    } else {
      const int32_t place =
          begin < bytes.point.size() ? input.source[bytes.point[begin]].start : input.source.back().end;
      out.push(points[i], {place, place});
    }
  }
  return out;
}

/// A piece such as "1,000," is cut again without its comma, so that the comma stands alone.
void push_without_comma(const SentencePiece& model, const AlignedText& piece, std::vector<PieceToken>& out) {
  AlignedText number;
  for (size_t i = 0; i + 1 < piece.size(); ++i) {
    if (piece.points[i] != kSpacePoint) number.push(piece.points[i], piece.source[i]);
  }
  PieceEncoding scratch;
  std::vector<AlignedPiece> cut = encode_aligned(model, number, "", scratch);
  const bool continues = piece.points.front() != kSpacePoint;
  for (size_t i = 0; i < cut.size(); ++i) {
    std::string_view text = cut[i].text;
    if (i == 0 && continues && text.starts_with(kSpaceSymbol)) text.remove_prefix(kSpaceSymbol.size());
    if (!text.empty()) out.push_back({std::string(text), cut[i].span});
  }
  out.push_back({",", piece.source.back()});
}

}  // namespace

std::vector<AlignedPiece> encode_aligned(const SentencePiece& model, const AlignedText& text, std::string_view prefix,
                                         PieceEncoding& scratch) {
  const PointBytes input(text, prefix);
  model.encode(input.bytes, scratch);
  const auto skip = static_cast<uint32_t>(prefix.size());
  std::vector<AlignedPiece> out;
  out.reserve(scratch.pieces.size());
  for (const EncodedPiece& piece : scratch.pieces) {
    const uint32_t begin = std::max(piece.begin, skip) - skip;
    const uint32_t end = std::max(piece.end, skip) - skip;
    TextSpan span;
    if (begin < end) {
      span = text.span(input.point[begin], input.point[end - 1] + 1);
    } else {
      span.start = span.end =
          begin < input.point.size() ? text.source[input.point[begin]].start : text.source.back().end;
    }
    out.push_back({piece.id, piece.text, span, begins_word(model, scratch.normalized.text, piece)});
  }
  return out;
}

std::vector<PieceToken> japanese_subwords(const SentencePiece& model, const AlignedText& text) {
  std::vector<PieceToken> out;
  const AlignedText words = prepare(text);
  if (words.empty()) return out;
  PieceEncoding scratch;
  const std::vector<AlignedPiece> pieces = encode_aligned(model, words, "", scratch);
  const PointBytes bytes(words, "");
  for (size_t i = 0; i < pieces.size(); ++i) {
    const std::string_view piece = pieces[i].text;
    if (piece.size() > 1 && piece.ends_with(',')) {
      const AlignedText characters = normalized_characters(words, bytes, scratch.normalized, scratch.pieces[i]);
      if (characters.size() > 1 && is_python_digit(characters.points[characters.size() - 2])) {
        push_without_comma(model, characters, out);
        continue;
      }
    }
    out.push_back({std::string(piece), pieces[i].span});
  }
  return out;
}

}  // namespace inazuma
