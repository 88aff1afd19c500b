#pragma once
// Rewriting aligned text by Unicode rules, with the alignment that the tokenizers library's crates give.

#include "text/aligned/traced_text.h"
#include "text/unicode.h"

namespace inazuma {

/// unicode_normalization_alignments: a decomposed character's parts share its span, a composed one takes its base's.
void to_normal_form(TracedText& text, NormalForm form);
/// char::to_lowercase of every character.
void lowercase(TracedText& text);
/// Each byte as the code point of GPT-2's alphabet.
void to_byte_level(TracedText& text);

/// unicode_categories, an old Unicode: is_other() without tab, LF, CR; is_mark_nonspacing(); is_punctuation().
bool is_rust_control(char32_t point);
bool is_rust_nonspacing_mark(char32_t point);
/// is_combining_mark() of unicode_normalization_alignments.
bool is_rust_mark(char32_t point);
/// char::is_ascii_punctuation or is_punctuation().
bool is_rust_punctuation(char32_t point);
/// \w of the regex crate.
bool is_rust_word(char32_t point);
/// char::is_numeric.
bool is_rust_numeric(char32_t point);

}  // namespace inazuma
