#include "text/sentencepiece/sentence_piece.h"

#include <algorithm>
#include <unordered_set>

namespace inazuma {

namespace {

NormalizerSpec with_prefix(NormalizerSpec spec, std::optional<bool> add_dummy_prefix) {
  spec.add_dummy_prefix = add_dummy_prefix.value_or(spec.add_dummy_prefix);
  return spec;
}

/// Appends bytes as UTF-8, each byte outside a well-formed character as U+FFFD.
void append_repaired(std::string& out, std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t length = well_formed_length(bytes);
    out += length == 0 ? kReplacementUtf8 : bytes.substr(0, length);
    bytes.remove_prefix(std::max<size_t>(length, 1));
  }
}

}  // namespace

SentencePiece::SentencePiece(std::string_view bytes, std::optional<bool> add_dummy_prefix)
    : file_(read_piece_model(bytes)),
      tables_(file_.pieces),
      normalizer_(with_prefix(file_.normalizer, add_dummy_prefix), file_.treat_whitespace_as_suffix,
                  &tables_.user_defined),
      byte_ids_(256, tables_.unknown) {
  file_.normalizer = with_prefix(std::move(file_.normalizer), add_dummy_prefix);
  if (file_.model == PieceModel::unigram && tables_.matched.empty()) {
    throw fail(StatusCode::malformed, "SentencePiece model: none of its {} pieces can match text", size());
  }
  if (!file_.denormalizer.charsmap.empty()) denormalizer_.emplace(file_.denormalizer, false, nullptr);
  for (int32_t id = 0; id < size(); ++id) {
    const bool matched =
        type(id) == PieceType::normal || type(id) == PieceType::user_defined || type(id) == PieceType::unused;
    if (!matched) reserved_.emplace(piece(id), id);
    if (type(id) == PieceType::byte) byte_ids_[static_cast<size_t>(byte_of_piece(piece(id)))] = id;
  }
}

std::optional<int32_t> SentencePiece::find(std::string_view piece) const {
  auto reserved = reserved_.find(piece);
  if (reserved != reserved_.end()) return reserved->second;
  const int32_t id = tables_.matched.find(piece);
  return id == DoubleArray::kNone ? std::nullopt : std::optional(id);
}

int32_t SentencePiece::distinct_pieces() const {
  std::unordered_set<std::string_view> texts;
  for (const ModelPiece& entry : file_.pieces) texts.insert(entry.text);
  return static_cast<int32_t>(texts.size());
}

void SentencePiece::encode(std::string_view text, PieceEncoding& out) const {
  out.segments.clear();
  out.pieces.clear();
  normalizer_.normalize(text, out.normalized);
  const std::string_view normalized = out.normalized.text;
  switch (file_.model) {
    case PieceModel::unigram: segment_unigram(tables_, normalized, out.segments); break;
    case PieceModel::bpe: segment_bpe(tables_, normalized, out.segments); break;
    case PieceModel::word: segment_words(tables_, normalized, out.segments); break;
    case PieceModel::character: segment_characters(tables_, normalized, out.segments); break;
  }
  bool after_unknown = false;
  for (const Segment& segment : out.segments) {
    push(segment, after_unknown, out);
    after_unknown = segment.id == tables_.unknown;
  }
}

/// An unknown segment becomes byte pieces, or one piece together with the unknown segments before it.
void SentencePiece::push(const Segment& segment, bool joins_unknown, PieceEncoding& out) const {
  const NormalizedText& normalized = out.normalized;
  const std::string_view text = std::string_view(normalized.text).substr(segment.begin, segment.end - segment.begin);
  EncodedPiece next{segment.id,    text,       normalized.begin[segment.begin], normalized.end[segment.end - 1],
                    segment.begin, segment.end};
  const bool unknown = segment.id == tables_.unknown;
  if (unknown && file_.byte_fallback) {
    for (char byte : text) {
      next.id = byte_ids_[static_cast<unsigned char>(byte)];
      next.text = piece(next.id);
      out.pieces.push_back(next);
    }
    return;
  }
  if (unknown && joins_unknown) {
    EncodedPiece& run = out.pieces.back();
    run.text = std::string_view(normalized.text).substr(run.normal_begin, segment.end - run.normal_begin);
    run.end = next.end;
    run.normal_end = next.normal_end;
    return;
  }
  out.pieces.push_back(next);
}

/// Text that a piece shows. `took_space` says that it gave up the space of the dummy prefix, which happens once.
std::string SentencePiece::surface(const std::string& text, int32_t id, bool at_start, bool& took_space) const {
  took_space = false;
  if (type(id) == PieceType::control) return {};
  if (type(id) == PieceType::unknown) return piece(id) == text ? file_.unk_surface : text;
  std::string_view rest = text;
  const NormalizerSpec& spec = file_.normalizer;
  if (at_start && (spec.add_dummy_prefix || spec.remove_extra_whitespaces) && rest.starts_with(kSpaceSymbol)) {
    rest.remove_prefix(kSpaceSymbol.size());
    took_space = !spec.remove_extra_whitespaces;
  }
  return replace_all(rest, kSpaceSymbol, " ");
}

std::string SentencePiece::decode(std::span<const std::string> pieces) const {
  std::string text, bytes;
  bool at_start = true;
  bool took_space = false;
  for (const std::string& next : pieces) {
    const int32_t next_id = id(next);
    if (type(next_id) == PieceType::byte) {
      bytes.push_back(static_cast<char>(byte_of_piece(next)));
      continue;
    }
    append_repaired(text, bytes);
    bytes.clear();
    if (took_space || !text.empty()) at_start = false;
    text += surface(next, next_id, at_start, took_space);
  }
  append_repaired(text, bytes);
  if (!denormalizer_) return text;
  NormalizedText denormalized;
  denormalizer_->normalize(text, denormalized);
  return std::move(denormalized.text);
}

SentencePiece open_sentence_piece(const std::filesystem::path& path, std::optional<bool> add_dummy_prefix) {
  const std::string bytes = read_text_file(path);
  try {
    return SentencePiece(bytes, add_dummy_prefix);
  } catch (const Error& error) {
    throw fail(error.status().code(), "{}: {}", path.string(), error.status().message());
  }
}

}  // namespace inazuma
