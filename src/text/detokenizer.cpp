#include "text/detokenizer.h"

#include <algorithm>
#include <array>

#include "text/unicode.h"

namespace inazuma {

namespace {

constexpr size_t kWindow = 24;  // ids kept when the window is shortened
constexpr size_t kTries = 8;
// What clean_up_tokenization_spaces looks for, and " n ' t", which it reaches in two steps.
constexpr std::array<std::string_view, 11> kPatterns = {" .",  " ?",  " !",   " ,",   " ' ",   " n't",
                                                        " 'm", " 's", " 've", " 're", " n ' t"};

size_t last_point_start(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

std::string_view first_character(std::string_view text) {
  size_t end = 1;
  while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
  return text.substr(0, end);
}

/// Whether a character may vanish or change when it stays at the end: whitespace and U+FFFD.
bool is_unsettled(std::string_view character) {
  const std::u32string points = decode_utf8(character);
  return points.size() == 1 && (points[0] == 0xFFFD || is_python_space(points[0]));
}

/// Length of the longest end of `text` that begins one of the patterns.
size_t pattern_beginning(std::string_view text) {
  size_t longest = 0;
  for (std::string_view pattern : kPatterns) {
    for (size_t length = std::min(pattern.size() - 1, text.size()); length > longest; --length) {
      if (text.ends_with(pattern.substr(0, length))) longest = length;
    }
  }
  return longest;
}

/// How much of `text` no later id can change.
size_t settled_length(std::string_view text) {
  for (;;) {
    const size_t before = text.size();
    while (!text.empty()) {
      size_t at = last_point_start(text);
      if (!is_unsettled(text.substr(at))) break;
      text = text.substr(0, at);
    }
    text = text.substr(0, text.size() - pattern_beginning(text));
    if (text.size() == before) return before;
  }
}

/// <0x00> .. <0xFF>: the byte tokens of SentencePiece vocabularies.
bool is_byte_token(const std::string& token) {
  return token.size() == 6 && token.starts_with("<0x") && token.back() == '>';
}

}  // namespace

Detokenizer::Detokenizer(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(&tokenizer), skip_special_tokens_(skip_special_tokens), next_shortening_(2 * kWindow) {}

void Detokenizer::prime(std::span<const int32_t> prompt) {
  for (int32_t id : prompt) (void)push(id);
  // Also what `push` holds back: whitespace that ends the prompt is the prompt's.
  shown_ = tokenizer_->decode(ids_, skip_special_tokens_).size();
}

std::string Detokenizer::push(int32_t id) {
  ids_.push_back(id);
  if (!skip_special_tokens_ && !tokenizer_->decodes_in_order()) return {};
  // A run of byte tokens is decoded as one: an invalid byte at its end may undo characters before it.
  const auto token = tokenizer_->token(id);
  if (token && is_byte_token(*token)) {
    in_bytes_ = true;
    return {};
  }
  const std::string text = tokenizer_->decode(ids_, skip_special_tokens_);
  // A token that is skipped does not end the run.
  if (in_bytes_ && text == tokenizer_->decode(std::span(ids_).first(ids_.size() - 1), skip_special_tokens_)) return {};
  in_bytes_ = false;
  size_t settled = settled_length(text);
  if (!skip_special_tokens_) settled = std::min(settled, settled_before_special(text, id));
  std::string piece;
  if (settled > shown_) {
    piece = text.substr(shown_, settled - shown_);
    shown_ = settled;
  }
  if (ids_.size() >= next_shortening_) shorten_window(text);
  return piece;
}

/// T5's decode puts a space before a stretch of text only once a special token ends it. So after a special token that
/// is shown, nothing is settled but what the text has in common with the one that a further special token would make of
/// it.
size_t Detokenizer::settled_before_special(const std::string& text, int32_t id) {
  if (tokenizer_->is_special(id)) {
    last_special_ = id;
    return text.size();
  }
  if (!last_special_) return text.size();
  ids_.push_back(*last_special_);
  const std::string ended = tokenizer_->decode(ids_, skip_special_tokens_);
  ids_.pop_back();
  auto common =
      static_cast<size_t>(std::mismatch(text.begin(), text.end(), ended.begin(), ended.end()).first - text.begin());
  if (common < text.size()) common = last_point_start(std::string_view(text).substr(0, common + 1));
  return common;
}

/// Drops ids from the front when the rest decodes to exactly the end of `text` and part of that end has been returned,
/// so that the seam lies behind us. A seam inside a word or a character does not fit; then its neighbours are tried.
void Detokenizer::shorten_window(const std::string& text) {
  for (size_t kept = kWindow; kept < kWindow + kTries; ++kept) {
    const size_t drop = ids_.size() - kept;
    const std::string rest = tokenizer_->decode(std::span(ids_).subspan(drop), skip_special_tokens_);
    if (rest.empty() || is_unsettled(first_character(rest)) || !text.ends_with(rest)) continue;
    const size_t gone = text.size() - rest.size();
    if (gone + rest.size() / 2 >= shown_) continue;
    ids_.erase(ids_.begin(), ids_.begin() + static_cast<ptrdiff_t>(drop));
    shown_ -= gone;
    next_shortening_ = 2 * kWindow;
    return;
  }
  next_shortening_ = ids_.size() + ids_.size() / 2;  // try again later, ever less often
}

std::string Detokenizer::finish() {
  const std::string text = tokenizer_->decode(ids_, skip_special_tokens_);
  std::string piece = text.size() > shown_ ? text.substr(shown_) : std::string();
  ids_.clear();
  shown_ = 0;
  in_bytes_ = false;
  last_special_.reset();
  next_shortening_ = 2 * kWindow;
  return piece;
}

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

std::string StopMatcher::push(std::string_view piece) {
  if (matched_) return {};
  held_ += piece;
  size_t best_end = std::string::npos, best_start = 0;
  for (const std::string& stop : stops_) {
    const size_t start = held_.find(stop);
    if (start == std::string::npos) continue;
    const size_t end = start + stop.size();
    if (end > best_end || (end == best_end && start >= best_start)) continue;
    best_end = end;
    best_start = start;
  }
  if (best_end != std::string::npos) {
    matched_ = true;
    return std::exchange(held_, {}).substr(0, best_start);
  }
  size_t keep = 0;
  for (const std::string& stop : stops_) {
    for (size_t length = std::min(stop.size() - 1, held_.size()); length > keep; --length) {
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, length))) keep = length;
    }
  }
  std::string safe = held_.substr(0, held_.size() - keep);
  held_.erase(0, safe.size());
  return safe;
}

std::string StopMatcher::finish() {
  return std::exchange(held_, {});
}

}  // namespace inazuma
