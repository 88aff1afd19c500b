#include "text/t5/t5_tokenizer.h"

#include <algorithm>

namespace inazuma {

namespace {

constexpr char32_t kSpacePoint = U'\u2581';
constexpr int64_t kMostExtraIds = 1'000'000;

AddedToken special(std::string content, bool strips = false) {
  AddedToken token;
  token.content = std::move(content);
  token.lstrip = token.rstrip = strips;
  token.normalized = false;
  token.special = true;
  return token;
}

std::map<std::string, AddedToken> token_defaults() {
  return {{"eos_token", special("</s>")}, {"unk_token", special("<unk>")}, {"pad_token", special("<pad>")}};
}

std::string sentinel(int64_t index) {
  return fmt::format("<extra_id_{}>", index);
}

/// str.strip()
std::string strip(std::string_view text) {
  std::u32string points = decode_utf8(text);
  auto is_text = [](char32_t point) { return !is_python_space(point); };
  auto last = std::find_if(points.rbegin(), points.rend(), is_text);
  points.erase(last.base(), points.end());
  points.erase(points.begin(), std::find_if(points.begin(), points.end(), is_text));
  return encode_utf8(points);
}

/// Sampling and the other switches of sentencepiece's processor change ids; none of them is a served model's business.
void check_model_arguments(const TokenizerConfig& config) {
  auto found = config.values().find("sp_model_kwargs");
  if (found == config.values().end() || !found->is_object()) return;
  for (const auto& [key, value] : found->items()) {
    if (value.is_boolean() && value.get<bool>()) {
      throw fail(StatusCode::unsupported, "{}: sp_model_kwargs.{} is not supported; remove it",
                 (config.directory() / "tokenizer_config.json").string(), key);
    }
  }
}

std::filesystem::path model_path(const TokenizerConfig& config) {
  check_model_arguments(config);
  return config.directory() / "spiece.model";
}

}  // namespace

T5Tokenizer::T5Tokenizer(TokenizerConfig given)
    : SlowTokenizer(std::move(given), token_defaults()),
      legacy_(config().flag("legacy", true)),
      add_prefix_space_(config().flag("add_prefix_space", true)),
      model_(open_sentence_piece(model_path(config()), legacy_ ? std::nullopt : std::optional(false))) {
  std::map<int32_t, AddedToken> own;
  const std::vector<AddedToken> additional = extra_tokens(own);
  finish_loading(own, &additional);
  if (!special_tokens().eos) {
    throw fail(StatusCode::invalid, "{}: T5Tokenizer needs an eos_token, which is null",
               (config().directory() / "tokenizer_config.json").string());
  }
  unknown_text_ = special_text("unk_token");
  PieceEncoding scratch;
  model_.encode(unknown_text_, scratch);
  unknown_pieces_ = scratch.pieces.size();
  for (int32_t id = 0; id < model_.size(); ++id) ids_.push_back(token_id(model_.piece(id)));
}

/// The <extra_id_k> tokens: `own` gets them by descending id, as the class does before it looks at anything else; the
/// result is the whole list of additional special tokens.
std::vector<AddedToken> T5Tokenizer::extra_tokens(std::map<int32_t, AddedToken>& own) const {
  const int64_t count = config().integer("extra_ids", 100);
  const std::string place = (config().directory() / "tokenizer_config.json").string();
  if (count < 0 || count > kMostExtraIds) {
    throw fail(StatusCode::invalid, "{}: extra_ids is {}, must be 0 to {}", place, count, kMostExtraIds);
  }
  auto listed = config().values().find("additional_special_tokens");
  const bool given = listed != config().values().end() && !listed->is_null();
  std::vector<AddedToken> all = given ? config().additional_special_tokens() : std::vector<AddedToken>();
  int64_t sentinels = std::count_if(all.begin(), all.end(), [](const AddedToken& token) {
    return token.content.find("<extra_id_") != std::string::npos;
  });
  if (sentinels > 0 && count > 0 && sentinels != count) {
    throw fail(StatusCode::invalid, "{}: extra_ids is {}, but additional_special_tokens lists {} <extra_id_…> tokens",
               place, count, sentinels);
  }
  if (sentinels == 0) {
    for (int64_t i = 0; i < count; ++i) all.push_back(special(sentinel(i)));
  }
  // A list without sentinels leaves their numbering to the registration of special tokens, which goes upwards.
  if (!given) sentinels = count;
  for (int64_t i = 0; i < sentinels; ++i) {
    const int64_t id = model_.size() - 1 + count - i;
    if (id < 0) throw fail(StatusCode::invalid, "{}: more <extra_id_…> tokens than pieces", place);
    own[static_cast<int32_t>(id)] = special(sentinel(i), true);
  }
  return all;
}

std::string T5Tokenizer::description() const {
  return legacy_ ? "T5Tokenizer (slow, legacy)" : "T5Tokenizer (slow)";
}

std::optional<std::string> T5Tokenizer::vocabulary_token(int32_t id) const {
  return id >= 0 && id < model_.size() ? std::optional(model_.piece(id)) : std::nullopt;
}

std::string T5Tokenizer::convert_id(int32_t id) const {
  return vocabulary_token(id).value_or(std::string());
}

Pieces T5Tokenizer::tokenize(const AlignedText& text, const EncodeOptions& options) const {
  if (legacy_ || text.empty()) return tokenize_with_added_tokens(text, options);
  AlignedText prepared;
  if (add_prefix_space_) prepared.push(kSpacePoint, {0, 0});
  for (size_t i = 0; i < text.size(); ++i) {
    prepared.push(text.points[i] == kSpacePoint ? U' ' : text.points[i], text.source[i]);
  }
  Pieces pieces = tokenize_with_added_tokens(std::move(prepared), options);
  std::vector<Piece>& list = pieces.list;
  if (list.size() > 1 && is_lone_space(list[0]) && is_special_piece(list[1], text)) list.erase(list.begin());
  return pieces;
}

/// Whether the token's text is that of a special token; an unknown piece has the unknown token's id but its own text.
bool T5Tokenizer::is_special_piece(const Piece& piece, const AlignedText& text) const {
  if (piece.id != model_.unknown_id()) return is_special(piece.id);
  const auto start = static_cast<size_t>(piece.span.start);
  const auto end = static_cast<size_t>(piece.span.end);
  return start < end && is_special_token(text.utf8(start, end));
}

/// The first token is "▁": by its id, or as an unknown token that stands for just that character.
bool T5Tokenizer::is_lone_space(const Piece& piece) const {
  if (auto id = model_.find(kSpaceSymbol)) return piece.id == token_id(kSpaceSymbol);
  return piece.id == model_.unknown_id() && piece.span.end == (add_prefix_space_ ? 0 : 1);
}

void T5Tokenizer::tokenize_segment(const AlignedText& segment, Pieces& out) const {
  // Without its dummy prefix SentencePiece strips leading space. The class keeps it by gluing the unknown token's text
  // in front and cutting off as many pieces as that text makes alone.
  const bool glued = !legacy_ && (segment.points.front() == kSpacePoint || segment.points.front() == U' ');
  PieceEncoding scratch;
  const std::vector<AlignedPiece> pieces = encode_aligned(model_, segment, glued ? unknown_text_ : "", scratch);
  const size_t first = glued && pieces.size() >= unknown_pieces_ ? unknown_pieces_ : 0;
  for (size_t i = first; i < pieces.size(); ++i) {
    const AlignedPiece& piece = pieces[i];
    if (i > first && piece.begins_word) ++out.words;
    out.push(piece.id == model_.unknown_id() ? token_id(piece.text) : ids_[static_cast<size_t>(piece.id)], piece.span);
  }
  ++out.words;
}

std::string T5Tokenizer::tokens_to_string(std::span<const std::string> tokens) const {
  std::vector<std::string> run;
  std::string text;
  bool after_special = false;
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::string token = tokens[i];
    if (i == 0 && add_prefix_space_ && token.starts_with(kSpaceSymbol)) token.erase(0, kSpaceSymbol.size());
    if (!is_special_token(token)) {
      run.push_back(std::move(token));
      after_special = false;
      continue;
    }
    if (!after_special) text += ' ';
    text += model_.decode(run) + token;
    run.clear();
    after_special = true;
  }
  return strip(text + model_.decode(run));
}

void T5Tokenizer::append_with_eos(Encoding& out, const Encoding& part, int32_t sequence) const {
  append_text(out, part, 0, sequence);
  const int32_t eos = *special_tokens().eos;
  if (part.ids.empty() || part.ids.back() != eos) append_special(out, eos, 0);
}

Encoding T5Tokenizer::build(const Encoding& first, const Encoding* second) const {
  Encoding out;
  append_with_eos(out, first, 0);
  if (second != nullptr) append_with_eos(out, *second, 1);
  return out;
}

}  // namespace inazuma
