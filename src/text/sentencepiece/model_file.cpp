#include "text/sentencepiece/model_file.h"

#include <bit>
#include <cmath>
#include <optional>
#include <unordered_set>

#include "text/unicode.h"

namespace inazuma {

namespace {

constexpr size_t kLongestPiece = 8000;  // SentencePiece refuses this length and above
constexpr int kDeepestGroup = 100;      // as protobuf's own limit of nesting

enum class Wire : uint32_t { varint = 0, fixed64 = 1, bytes = 2, group = 3, group_end = 4, fixed32 = 5 };

struct Field {
  uint64_t number = 0;
  Wire wire = Wire::varint;
  uint64_t value = 0;      // of varint and fixed
  std::string_view bytes;  // of bytes
  size_t begin = 0;        // position of `bytes` in the file

  bool is(uint64_t expected, Wire type) const { return number == expected && wire == type; }
};

/// Walks the fields of one protobuf message; every length is checked against the bytes that are there.
class WireReader {
 public:
  WireReader(std::string_view bytes, size_t base, const char* message)
      : bytes_(bytes), base_(base), message_(message) {}

  std::optional<Field> next() {
    if (at_ == bytes_.size()) return std::nullopt;
    Field field = header();
    if (field.wire == Wire::group_end) throw broken("a group ends that did not begin");
    read_value(field, 0);
    return field;
  }

 private:
  Error broken(std::string_view what) const {
    return fail(StatusCode::malformed, "SentencePiece model, byte {}, in {}: {}", base_ + at_, message_, what);
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (at_ == bytes_.size()) throw broken("the file ends inside a number");
      const auto byte = static_cast<unsigned char>(bytes_[at_++]);
      if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    throw broken("a number is longer than 10 bytes");
  }

  uint64_t fixed(size_t size) {
    if (bytes_.size() - at_ < size) throw broken("the file ends inside a number");
    uint64_t value = 0;
    for (size_t i = 0; i < size; ++i) {
      value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes_[at_ + i])) << (8 * i);
    }
    at_ += size;
    return value;
  }

  Field header() {
    const uint64_t tag = varint();
    Field field;
    field.number = tag >> 3;
    if (field.number == 0 || tag > UINT32_MAX || (tag & 7) > 5)
      throw broken("not a field: this is no SentencePiece model");
    field.wire = static_cast<Wire>(tag & 7);
    return field;
  }

  void read_value(Field& field, int depth) {
    switch (field.wire) {
      case Wire::varint: field.value = varint(); return;
      case Wire::fixed64: field.value = fixed(8); return;
      case Wire::fixed32: field.value = fixed(4); return;
      case Wire::bytes: {
        const uint64_t length = varint();
        if (length > bytes_.size() - at_) throw broken("a field says it is longer than what is left of the file");
        field.begin = base_ + at_;
        field.bytes = bytes_.substr(at_, length);
        at_ += length;
        return;
      }
      case Wire::group: return skip_group(field.number, depth + 1);
      case Wire::group_end: return;
    }
  }

  void skip_group(uint64_t number, int depth) {
    if (depth > kDeepestGroup) throw broken("groups are nested too deeply");
    for (;;) {
      if (at_ == bytes_.size()) throw broken("the file ends inside a group");
      Field field = header();
      if (field.wire == Wire::group_end) {
        if (field.number != number) throw broken("a group ends that did not begin");
        return;
      }
      read_value(field, depth);
    }
  }

  std::string_view bytes_;
  size_t at_ = 0;
  size_t base_;
  const char* message_;
};

ModelPiece read_piece(const Field& message) {
  ModelPiece piece;
  WireReader reader(message.bytes, message.begin, "a piece");
  while (auto field = reader.next()) {
    if (field->is(1, Wire::bytes)) piece.text = field->bytes;
    if (field->is(2, Wire::fixed32)) piece.score = std::bit_cast<float>(static_cast<uint32_t>(field->value));
    if (field->is(3, Wire::varint) && field->value >= 1 && field->value <= 6) {  // others are kept aside by protobuf
      piece.type = static_cast<PieceType>(field->value);
    }
  }
  return piece;
}

void read_trainer(const Field& message, PieceModelFile& model) {
  WireReader reader(message.bytes, message.begin, "trainer_spec");
  while (auto field = reader.next()) {
    if (field->is(3, Wire::varint)) {
      if (field->value < 1 || field->value > 4) {
        throw fail(StatusCode::unsupported, "SentencePiece model type {} is not known; 1 (unigram) to 4 (char) are",
                   field->value);
      }
      model.model = static_cast<PieceModel>(field->value);
    }
    if (field->is(24, Wire::varint)) model.treat_whitespace_as_suffix = field->value != 0;
    if (field->is(35, Wire::varint)) model.byte_fallback = field->value != 0;
    if (field->is(44, Wire::bytes)) model.unk_surface = field->bytes.substr(0, field->bytes.find('\0'));
  }
}

void read_normalizer(const Field& message, NormalizerSpec& spec) {
  WireReader reader(message.bytes, message.begin, "normalizer_spec");
  while (auto field = reader.next()) {
    if (field->is(2, Wire::bytes)) spec.charsmap = field->bytes;
    if (field->is(3, Wire::varint)) spec.add_dummy_prefix = field->value != 0;
    if (field->is(4, Wire::varint)) spec.remove_extra_whitespaces = field->value != 0;
    if (field->is(5, Wire::varint)) spec.escape_whitespaces = field->value != 0;
  }
}

void check_text(const ModelPiece& piece, size_t id) {
  const std::string& text = piece.text;
  const char* wrong = nullptr;
  if (text.empty()) wrong = "is empty";
  if (text.size() >= kLongestPiece) wrong = "is longer than 7,999 bytes";
  if (text.find('\0') != std::string::npos) wrong = "holds a NUL byte";
  if (wrong == nullptr && replace_ill_formed(text) != text) wrong = "is not UTF-8";
  if (wrong == nullptr && !std::isfinite(piece.score)) wrong = "has a score that is not a finite number";
  if (wrong != nullptr) {
    throw fail(StatusCode::malformed, "SentencePiece model: piece {} {} {}", id, inazuma::quoted(text), wrong);
  }
}

/// Names of control, unknown and byte pieces live apart from the others, so one text may occur once on either side.
void check_pieces(const PieceModelFile& model) {
  std::unordered_set<std::string_view> matched, reserved;
  std::vector<bool> bytes(256, false);
  size_t unknown = 0, byte_count = 0;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const ModelPiece& piece = model.pieces[id];
    check_text(piece, id);
    const bool is_reserved =
        piece.type == PieceType::control || piece.type == PieceType::unknown || piece.type == PieceType::byte;
    if (!(is_reserved ? reserved : matched).insert(piece.text).second) {
      throw fail(StatusCode::malformed, "SentencePiece model: piece {} {} is defined twice", id,
                 inazuma::quoted(piece.text));
    }
    if (piece.type == PieceType::unknown && ++unknown > 1) {
      throw fail(StatusCode::malformed, "SentencePiece model: piece {} is a second unknown piece", id);
    }
    if (piece.type != PieceType::byte) continue;
    const int byte = byte_of_piece(piece.text);
    if (!model.byte_fallback || byte < 0) {
      throw fail(StatusCode::malformed, "SentencePiece model: byte piece {} {} {}", id, inazuma::quoted(piece.text),
                 byte < 0 ? "is not <0x00> to <0xFF>" : "is there although byte_fallback is off");
    }
    if (!bytes[static_cast<size_t>(byte)]) ++byte_count;
    bytes[static_cast<size_t>(byte)] = true;
  }
  if (unknown == 0) {
    throw fail(StatusCode::malformed, "SentencePiece model: none of its {} pieces is the unknown piece",
               model.pieces.size());
  }
  if (model.byte_fallback && byte_count != 256) {
    throw fail(StatusCode::malformed, "SentencePiece model: byte_fallback is on, but it has {} of 256 byte pieces",
               byte_count);
  }
}

}  // namespace

int byte_of_piece(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; };
  const int high = digit(text[3]);
  const int low = digit(text[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

PieceModelFile read_piece_model(std::string_view bytes) {
  PieceModelFile model;
  WireReader reader(bytes, 0, "the model");
  while (auto field = reader.next()) {
    if (field->is(1, Wire::bytes)) model.pieces.push_back(read_piece(*field));
    if (field->is(2, Wire::bytes)) read_trainer(*field, model);
    if (field->is(3, Wire::bytes)) read_normalizer(*field, model.normalizer);
    if (field->is(5, Wire::bytes)) read_normalizer(*field, model.denormalizer);
  }
  check_pieces(model);
  return model;
}

}  // namespace inazuma
