#include "text/pipeline/pipeline_tokenizer.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "text/unicode.h"

namespace inazuma {

namespace {

constexpr size_t kLongestText = size_t{1} << 30;

void keep(ProcessedText& text, size_t count, TruncationSide side) {
  const size_t size = text.encoding.size();
  if (count >= size) return;
  const size_t begin = side == TruncationSide::right ? 0 : size - count;
  text.encoding = slice(text.encoding, begin, begin + count);
  if (text.spaces.empty()) return;
  const auto first = text.spaces.begin() + static_cast<ptrdiff_t>(begin);
  text.spaces = {first, first + static_cast<ptrdiff_t>(count)};
}

/// The library's longest_first.
void truncate(std::vector<ProcessedText>& texts, size_t room, TruncationSide side) {
  if (texts.size() == 1) return keep(texts[0], room, side);
  size_t shorter = texts[0].encoding.size();
  size_t longer = texts[1].encoding.size();
  if (shorter + longer <= room) return;
  const bool swapped = shorter > longer;
  if (swapped) std::swap(shorter, longer);
  longer = shorter > room ? shorter : std::max(shorter, room - shorter);
  if (shorter + longer > room) {
    shorter = room / 2;
    longer = shorter + room % 2;
  }
  keep(texts[0], swapped ? longer : shorter, side);
  keep(texts[1], swapped ? shorter : longer, side);
}

}  // namespace

PipelineTokenizer::PipelineTokenizer(const nlohmann::json& pipeline, PipelineSettings settings)
    : settings_(std::move(settings)) {
  const JsonField root(pipeline, "tokenizer.json");
  root.object();
  if (auto version = root.find("version"); version && version->text() != "1.0") {
    throw fail(StatusCode::unsupported, "{} is {}, must be \"1.0\"", version->place(), quoted(version->text()));
  }
  if (auto part = root.find("normalizer")) normalizer_ = read_normalizer(*part);
  if (auto part = root.find("pre_tokenizer")) pre_tokenizer_ = read_pre_tokenizer(*part);
  model_ = read_model(root.at("model"));
  if (auto part = root.find("post_processor")) post_processor_ = read_post_processor(*part);
  if (auto part = root.find("decoder")) decoder_ = read_decoder(*part);
  counts_spaces_ = post_processor_ != nullptr && post_processor_->trims_offsets();
  if (auto list = root.find("added_tokens")) read_added_tokens(*list);
  added_.add(settings_.added, *model_);
  added_.finish(normalizer_.get());
  resolve_special_tokens();
}

void PipelineTokenizer::read_added_tokens(const JsonField& list) {
  std::vector<AddedToken> tokens;
  std::vector<int32_t> ids;
  for (size_t i = 0; i < list.size(); ++i) {
    const JsonField item = list.item(i);
    ids.push_back(static_cast<int32_t>(item.at("id").integer(0, INT32_MAX - 1)));
    AddedToken token;
    token.content = item.at("content").text();
    token.single_word = item.at("single_word").flag();
    token.lstrip = item.at("lstrip").flag();
    token.rstrip = item.at("rstrip").flag();
    token.normalized = item.at("normalized").flag();
    token.special = item.at("special").flag();
    tokens.push_back(std::move(token));
  }
  added_.add(tokens, *model_);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto id = added_.id(tokens[i].content);
    if (!id || *id == ids[i]) continue;
    // The library goes on with its own numbering, and so do its users' models.
    log::warn("an added token of tokenizer.json has another id than the file says",
              {{"token", tokens[i].content}, {"file_id", ids[i]}, {"id", *id}});
  }
}

void PipelineTokenizer::resolve_special_tokens() {
  std::optional<int32_t> unknown;
  for (const auto& [key, text] : settings_.special) {
    if (key == "unk_token") unknown = id(text);
  }
  for (const auto& [key, text] : settings_.special) {
    auto known = id(text);
    if (!known) known = unknown;
    if (!known) continue;
    special_ids_.insert(*known);
    for (const SpecialKey& special : kSpecialKeys) {
      if (special.key == key) special_.*special.id = known;
    }
  }
  vocab_size_ = model_->largest_id() + 1;
  if (!added_.tokens().empty()) vocab_size_ = std::max(vocab_size_, added_.tokens().rbegin()->first + 1);
}

std::optional<std::string> PipelineTokenizer::token(int32_t id) const {
  if (const AddedToken* added = added_.token(id)) return added->content;
  const auto known = model_->token(id);
  return known ? std::optional(std::string(*known)) : std::nullopt;
}

std::optional<int32_t> PipelineTokenizer::id(std::string_view token) const {
  const auto added = added_.id(token);
  return added ? added : model_->id(token);
}

// --- encode ----------------------------------------------------------------------------------------------------------

Result<Encoding> PipelineTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return capture([&]() -> Encoding {
    std::vector<ProcessedText> texts;
    texts.push_back(encode_text(text, 0, options));
    return finish(std::move(texts), options);
  });
}

Result<Encoding> PipelineTokenizer::encode_pair(std::string_view first, std::string_view second,
                                                const EncodeOptions& options) const {
  if (second.empty()) return encode(first, options);
  return capture([&]() -> Encoding {
    std::vector<ProcessedText> texts;
    texts.push_back(encode_text(first, 0, options));
    texts.push_back(encode_text(second, 1, options));
    return finish(std::move(texts), options);
  });
}

ProcessedText PipelineTokenizer::encode_text(std::string_view text, int32_t sequence,
                                             const EncodeOptions& options) const {
  if (text.size() > kLongestText) {
    throw fail(StatusCode::too_large, "text of {} bytes, at most {} are read", text.size(), kLongestText);
  }
  TextPieces pieces = added_.extract(replace_ill_formed(text), normalizer_.get(), options.split_special_tokens);
  if (pre_tokenizer_) pre_tokenizer_->split(pieces);
  ProcessedText out;
  for (size_t i = 0; i < pieces.size(); ++i) append_piece(pieces[i], static_cast<int32_t>(i), out);
  out.encoding.type_ids.assign(out.encoding.size(), sequence);
  out.encoding.special.assign(out.encoding.size(), 0);
  out.encoding.sequence.assign(out.encoding.size(), sequence);
  return out;
}

void PipelineTokenizer::append_piece(const TextPiece& piece, int32_t word, ProcessedText& out) const {
  thread_local std::vector<ModelToken> tokens;
  tokens.clear();
  const std::string& text = piece.text.text();
  if (piece.added) {
    tokens.push_back({*piece.added, 0, static_cast<uint32_t>(text.size())});
  } else {
    model_->tokenize(text, tokens);
  }
  for (const ModelToken& token : tokens) {
    out.encoding.ids.push_back(token.id);
    out.encoding.offsets.push_back(piece.text.span(token.begin, token.end));
    out.encoding.word.push_back(word);
    if (counts_spaces_) out.spaces.push_back(count_spaces(piece, token));
  }
}

ProcessedText::Spaces PipelineTokenizer::count_spaces(const TextPiece& piece, const ModelToken& token) const {
  std::string_view text = std::string_view(piece.text.text()).substr(token.begin, token.end - token.begin);
  if (!piece.added && !model_->tokens_show_text()) text = model_->token(token.id).value_or("");
  const std::u32string points = decode_utf8(text);
  const auto is_space = [](char32_t point) { return point == 0x120 || is_white_space(point); };
  const auto count = [&](auto begin, auto end) {
    return static_cast<uint16_t>(std::min<ptrdiff_t>(std::find_if_not(begin, end, is_space) - begin, UINT16_MAX));
  };
  return {count(points.begin(), points.end()), count(points.rbegin(), points.rend())};
}

Encoding PipelineTokenizer::finish(std::vector<ProcessedText> texts, const EncodeOptions& options) const {
  if (options.max_length < 0) {
    throw fail(StatusCode::invalid, "max_length is {}, must be 0 (no limit) or more", options.max_length);
  }
  if (options.max_length > 0) {
    const int32_t around = options.add_special_tokens ? added_tokens(texts.size() > 1) : 0;
    if (options.max_length < around) {
      throw fail(StatusCode::invalid, "max_length {} is less than the {} special tokens", options.max_length, around);
    }
    truncate(texts, static_cast<size_t>(options.max_length - around), options.truncation_side);
  }
  return process(std::move(texts), options.add_special_tokens, true);
}

Encoding PipelineTokenizer::process(std::vector<ProcessedText> texts, bool add_special_tokens, bool trim) const {
  if (post_processor_) post_processor_->process(texts, add_special_tokens, trim);
  if (texts.size() == 1) return std::move(texts[0].encoding);
  Encoding out;
  const auto append = [](auto& all, const auto& part) { all.insert(all.end(), part.begin(), part.end()); };
  for (const ProcessedText& text : texts) {
    append(out.ids, text.encoding.ids);
    append(out.type_ids, text.encoding.type_ids);
    append(out.offsets, text.encoding.offsets);
    append(out.special, text.encoding.special);
    append(out.word, text.encoding.word);
    append(out.sequence, text.encoding.sequence);
  }
  return out;
}

Encoding PipelineTokenizer::build(const Encoding& first, const Encoding* second) const {
  std::vector<ProcessedText> texts;
  for (const Encoding* part : {&first, second}) {
    if (part == nullptr) continue;
    const auto sequence = static_cast<int32_t>(texts.size());
    append_text(texts.emplace_back().encoding, *part, sequence, sequence);
  }
  return process(std::move(texts), true, false);
}

// --- decode ----------------------------------------------------------------------------------------------------------

std::string PipelineTokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (int32_t id : ids) {
    auto text = token(id);
    if (text && !(skip_special_tokens && added_.is_special(*text))) tokens.push_back(std::move(*text));
  }
  std::string out;
  if (decoder_) decoder_->decode(tokens);
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && !decoder_) out += ' ';
    out += tokens[i];
  }
  return settings_.clean_up ? clean_up_spaces(std::move(out)) : out;
}

}  // namespace inazuma
