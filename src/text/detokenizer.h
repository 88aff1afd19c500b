#pragma once
// Streaming decode: the small per-stream state that turns ids into whole characters.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace inazuma {

/// Pieces returned by `push` and `finish`, concatenated, equal Tokenizer::decode of all ids byte for byte. A piece
/// never ends inside a UTF-8 sequence and never shows U+FFFD for a character still coming. Amortised linear in the
/// number of ids.
///
/// Only a window of the last ids is decoded again. What a later id may still change is held back: a trailing U+FFFD,
/// trailing whitespace (decode strips it at the end), the beginning of a pattern of clean_up_tokenization_spaces, byte
/// tokens (<0xE3>) until their run has ended (a special token that is skipped does not end it), and, where special
/// tokens are shown, text that a further special token would move. A tokenizer.json whose BPEDecoder suffix stands
/// inside tokens, not at their ends only, does not stream to the same text.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer, bool skip_special_tokens = true);

  /// Ids that stand in front and are not shown: what follows is decode(prompt + ids) behind its first
  /// decode(prompt).size() bytes, as text-generation pipelines cut it. Called first.
  void prime(std::span<const int32_t> prompt);
  std::string push(int32_t id);
  std::string finish();

 private:
  size_t settled_before_special(const std::string& text, int32_t id);
  void shorten_window(const std::string& text);

  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  std::vector<int32_t> ids_;             // the window
  std::optional<int32_t> last_special_;  // the last special token of the stream, when they are shown
  bool in_bytes_ = false;                // the stream ends with byte tokens
  size_t shown_ = 0;                     // bytes of the window's text already returned
  size_t next_shortening_;               // window size at which a shorter one is tried
};

/// Watches streamed text for stop strings: `push` returns what is safe to show (never a stop string, never its prefix).
/// The answer does not depend on how the text is cut into pieces: the stop string that is complete first wins, of two
/// that end together the longer one. Empty stop strings are ignored.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);

  std::string push(std::string_view piece);
  bool matched() const { return matched_; }
  std::string finish();  ///< what was held back when no stop string came

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool matched_ = false;
};

}  // namespace inazuma
