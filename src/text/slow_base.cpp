#include "text/slow_base.h"

#include <algorithm>
#include <array>

namespace inazuma {

namespace {

constexpr size_t kLongestText = size_t{1} << 30;

constexpr const char* kAdditional = "additional_special_tokens";

}  // namespace

SlowTokenizer::SlowTokenizer(TokenizerConfig config, std::map<std::string, AddedToken> token_defaults,
                             bool clean_up_default)
    : config_(std::move(config)),
      token_defaults_(std::move(token_defaults)),
      clean_up_(config_.flag("clean_up_tokenization_spaces", clean_up_default)),
      model_max_length_(config_.model_max_length()) {}

void SlowTokenizer::finish_loading(const std::map<int32_t, AddedToken>& own,
                                   const std::vector<AddedToken>* additional) {
  for (const auto& [id, token] : own) register_token(id, token);
  for (const auto& [id, token] : config_.added_tokens()) register_token(id, token);
  for (const auto& [key, member] : kSpecialKeys) {
    if (auto token = config_.special_token(key)) {
      add_special(key, *token);
    } else if (!config_.values().contains(key) && token_defaults_.contains(key)) {  // an explicit null means none
      add_special(key, token_defaults_.at(key));
    }
  }
  for (const AddedToken& token : additional != nullptr ? *additional : config_.additional_special_tokens()) {
    add_special(kAdditional, token);
  }
  register_special_tokens();
  resolve_special_ids();
  build_trie();
}

void SlowTokenizer::register_token(int32_t id, const AddedToken& token) {
  auto known = added_by_id_.find(id);
  if (known == added_by_id_.end()) {
    added_order_.push_back(id);
  } else if (known->second.content != token.content) {
    added_ids_.erase(known->second.content);
  }
  added_by_id_[id] = token;
  added_ids_[token.content] = id;
}

void SlowTokenizer::add_special(const std::string& key, AddedToken token) {
  if (token.content.empty()) return;
  if (special_texts_.insert(token.content).second) special_order_.push_back(token.content);
  special_by_key_.emplace_back(key, std::move(token));
}

void SlowTokenizer::register_special_tokens() {
  int32_t next = vocabulary_count();
  for (const auto& [content, id] : added_ids_) {
    if (!vocabulary_id(content)) ++next;
  }
  for (const auto& [key, token] : special_by_key_) {
    auto known = added_ids_.find(token.content);
    if (known != added_ids_.end()) continue;
    auto id = vocabulary_id(token.content);
    register_token(id ? *id : next++, token);
  }
}

void SlowTokenizer::resolve_special_ids() {
  for (const std::string& text : special_order_) special_ids_.insert(token_id(text));
  for (const auto& [key, member] : kSpecialKeys) {
    const std::string& text = special_text(key);
    if (!text.empty()) special_.*member = token_id(text);
  }
  vocab_size_ = largest_vocabulary_id() + 1;
  if (!added_by_id_.empty()) vocab_size_ = std::max(vocab_size_, added_by_id_.rbegin()->first + 1);
}

void SlowTokenizer::build_trie() {
  for (const std::string& text : special_order_) keep_case_.push_back(decode_utf8(text));
  for (int32_t id : added_order_) {
    const AddedToken& token = added_by_id_.at(id);
    std::u32string content = decode_utf8(token.content);
    trie_.add(content);
    longest_added_ = std::max(longest_added_, content.size());
    if (!token.special && token.normalized) keep_case_.push_back(decode_utf8(token.content));
    if (!special_texts_.contains(token.content)) added_texts_alone_.insert(token.content);
  }
  for (const auto& [key, token] : special_by_key_) {
    if (key == kAdditional && token_id(token.content) >= base_vocab_size()) added_texts_alone_.insert(token.content);
  }
}

const std::string& SlowTokenizer::special_text(std::string_view key) const {
  static const std::string kNone;
  for (const auto& [name, token] : special_by_key_) {
    if (name == key) return token.content;
  }
  return kNone;
}

int32_t SlowTokenizer::convert_token(std::string_view token) const {
  if (auto id = vocabulary_id(token)) return *id;
  auto unknown = vocabulary_id(special_text("unk_token"));
  if (!unknown)
    throw fail(StatusCode::tokenization, "{} is not in the vocabulary and there is no unknown token", quoted(token));
  return *unknown;
}

std::string SlowTokenizer::convert_id(int32_t id) const {
  auto text = vocabulary_token(id);
  return text ? *text : special_text("unk_token");
}

int32_t SlowTokenizer::token_id(std::string_view token) const {
  auto added = added_ids_.find(token);
  return added != added_ids_.end() ? added->second : convert_token(token);
}

std::optional<std::string> SlowTokenizer::token(int32_t id) const {
  auto added = added_by_id_.find(id);
  if (added != added_by_id_.end()) return added->second.content;
  return vocabulary_token(id);
}

std::optional<int32_t> SlowTokenizer::id(std::string_view token) const {
  auto added = added_ids_.find(token);
  return added != added_ids_.end() ? std::optional(added->second) : vocabulary_id(token);
}

// --- encode ----------------------------------------------------------------------------------------------------------

Result<Encoding> SlowTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return capture([&]() -> Encoding { return finish(encode_text(text, options), nullptr, options); });
}

Result<Encoding> SlowTokenizer::encode_pair(std::string_view first, std::string_view second,
                                            const EncodeOptions& options) const {
  return capture([&]() -> Encoding {
    Encoding other = encode_text(second, options);
    return finish(encode_text(first, options), &other, options);
  });
}

Encoding SlowTokenizer::encode_text(std::string_view text, const EncodeOptions& options) const {
  if (text.size() > kLongestText)
    throw fail(StatusCode::too_large, "text of {} bytes, at most {} are read", text.size(), kLongestText);
  Pieces pieces = tokenize(decode_aligned(text), options);
  Encoding encoding;
  const size_t count = pieces.list.size();
  encoding.ids.reserve(count);
  encoding.offsets.reserve(count);
  encoding.word.reserve(count);
  for (const Piece& piece : pieces.list) {
    encoding.ids.push_back(piece.id);
    encoding.offsets.push_back(piece.span);
    encoding.word.push_back(piece.word);
  }
  encoding.type_ids.assign(count, 0);
  encoding.special.assign(count, 0);
  encoding.sequence.assign(count, 0);
  return encoding;
}

Encoding SlowTokenizer::finish(Encoding first, Encoding* second, const EncodeOptions& options) const {
  if (options.max_length < 0)
    throw fail(StatusCode::invalid, "max_length is {}, must be 0 (no limit) or more", options.max_length);
  const int32_t around = options.add_special_tokens ? added_tokens(second != nullptr) : 0;
  const size_t length = first.size() + (second != nullptr ? second->size() : 0);
  if (options.max_length > 0 && length + static_cast<size_t>(around) > static_cast<size_t>(options.max_length)) {
    if (options.max_length <= around) {
      throw fail(StatusCode::invalid, "max_length {} leaves no room for text beside {} special tokens",
                 options.max_length, around);
    }
    truncate_longest_first(first, second, static_cast<size_t>(options.max_length - around), options.truncation_side);
  }
  if (options.add_special_tokens) return build(first, second);
  Encoding out;
  append_text(out, first, 0, 0);
  if (second != nullptr)
    append_text(out, *second, 0, 1);  // without special tokens the original gives type 0 throughout
  return out;
}

Pieces SlowTokenizer::tokenize(const AlignedText& text, const EncodeOptions& options) const {
  return tokenize_with_added_tokens(text, options);
}

Pieces SlowTokenizer::tokenize_with_added_tokens(AlignedText text, const EncodeOptions& options) const {
  if (lower_case_text_) text = lower_outside_tokens(text);
  Pieces out;
  if (options.split_special_tokens) {
    if (!text.empty()) tokenize_segment(text, out);
    return out;
  }
  for (const AlignedText& part : split_on_added_tokens(text)) {
    if (part.empty()) continue;
    auto added = added_id(part.points);
    if (!added) {
      tokenize_segment(part, out);
      continue;
    }
    out.push(*added, part.span(0, part.size()));
    ++out.words;
  }
  return out;
}

std::optional<int32_t> SlowTokenizer::added_id(std::u32string_view text) const {
  if (text.size() > longest_added_) return std::nullopt;
  auto added = added_ids_.find(encode_utf8(text));
  return added != added_ids_.end() ? std::optional(added->second) : std::nullopt;
}

/// Lower-cases character by character whatever is not one of `keep_case_`. The line feed is left alone because the
/// original pattern's "." does not match it, which changes nothing.
AlignedText SlowTokenizer::lower_outside_tokens(const AlignedText& text) const {
  AlignedText out;
  std::u32string_view points = text.points;
  size_t plain = 0;  // start of the stretch not yet lower-cased
  for (size_t at = 0; at < points.size();) {
    size_t length = 0;
    for (const std::u32string& token : keep_case_) {
      if (points[at] != token.front() || !points.substr(at).starts_with(token)) continue;
      length = token.size();
      break;
    }
    if (length == 0) {
      ++at;
      continue;
    }
    out.append(lower_each(text.slice(plain, at)));
    out.append(text.slice(at, at + length));
    at += length;
    plain = at;
  }
  if (plain == 0) return lower_each(text);
  out.append(lower_each(text.slice(plain, points.size())));
  return out;
}

std::vector<AlignedText> SlowTokenizer::split_on_added_tokens(const AlignedText& text) const {
  std::vector<size_t> cuts = trie_.cut(text.points);
  std::vector<AlignedText> parts;
  for (size_t i = 0; i + 1 < cuts.size(); ++i) parts.push_back(text.slice(cuts[i], cuts[i + 1]));
  for (size_t i = 0; i < parts.size(); ++i) {
    auto id = added_id(parts[i].points);
    if (!id) continue;
    const AddedToken& token = added_by_id_.at(*id);
    AlignedText* left = i > 0 && !parts[i - 1].empty() ? &parts[i - 1] : nullptr;
    AlignedText* right = i + 1 < parts.size() && !parts[i + 1].empty() ? &parts[i + 1] : nullptr;
    // As in the original, single_word looks at the neighbours as they were before stripping.
    const bool joins_left = token.single_word && left != nullptr && left->points.back() != U' ';
    const bool joins_right = token.single_word && right != nullptr && right->points.front() != U' ';
    if (token.rstrip && right != nullptr) *right = strip_left(*right);
    if (token.lstrip && left != nullptr) *left = strip_right(*left);
    if (joins_left) {
      left->append(parts[i]);
      parts[i] = AlignedText();
    } else if (joins_right) {
      AlignedText joined = std::move(parts[i]);
      joined.append(*right);
      *right = std::move(joined);
      parts[i] = AlignedText();
    }
  }
  return parts;
}

// --- decode ----------------------------------------------------------------------------------------------------------

std::string SlowTokenizer::tokens_to_string(std::span<const std::string> tokens) const {
  std::string text;
  for (const std::string& token : tokens) {
    if (&token != tokens.data()) text += ' ';
    text += token;
  }
  return text;
}

std::string SlowTokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> parts;
  std::vector<std::string> run;
  for (int32_t id : ids) {
    if (skip_special_tokens && special_ids_.contains(id)) continue;
    auto added = added_by_id_.find(id);
    std::string text = added != added_by_id_.end() ? added->second.content : convert_id(id);
    if (skip_special_tokens && special_texts_.contains(text)) continue;
    if (!added_texts_alone_.contains(text)) {
      run.push_back(std::move(text));
      continue;
    }
    if (!run.empty()) {
      std::string joined = tokens_to_string(run);
      if (!joined.empty()) parts.push_back(std::move(joined));
      run.clear();
    }
    parts.push_back(std::move(text));
  }
  if (!run.empty()) parts.push_back(tokens_to_string(run));
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) text += ' ';
    text += parts[i];
  }
  return clean_up_ ? clean_up_spaces(std::move(text)) : text;
}

}  // namespace inazuma
