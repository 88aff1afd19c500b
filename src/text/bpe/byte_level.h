#pragma once
// GPT-2's byte-level alphabet and its cut of text into words.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace inazuma {

/// The code point that stands for a byte: itself when printable (0x21-0x7E, 0xA1-0xAC, 0xAE-0xFF), else U+0100 upwards
/// in order of the byte.
char32_t byte_level_point(unsigned char byte);
/// The byte that a code point stands for; nullopt for others.
std::optional<unsigned char> byte_level_byte(char32_t point);
/// Bytes to the alphabet, as UTF-8.
std::string byte_level_encode(std::string_view bytes);
/// The alphabet back to bytes; code points outside it are kept as their UTF-8.
std::string byte_level_decode(std::string_view text);

/// Character classes that GPT-2's pattern tells apart.
enum class WordClass : uint8_t { other, letter, number, space };
/// \p{L}, \p{N}, \s and the rest as Python's `regex` module has them; its Unicode tables are newer than utf8proc's, the
/// difference is listed in the source.
WordClass regex_word_class(char32_t point);

/// End of the word that begins at `at` < text.size() under
/// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
/// Words follow each other without gaps. `word_class` decides what \p{L}, \p{N} and \s are.
size_t gpt2_word_end(std::u32string_view text, size_t at, WordClass (*word_class)(char32_t) = regex_word_class);

}  // namespace inazuma
