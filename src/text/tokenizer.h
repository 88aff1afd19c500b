#pragma once
// Text to ids and back, exactly as the tokenizer class named in a model directory does it in transformers 4.57.

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace inazuma {

/// Code points [start, end) of the original input (as Python str counts them). A token that stands for no input (a
/// special token added by the tokenizer, a dummy prefix) has start == end; added special tokens have (0, 0).
struct TextSpan {
  int32_t start = 0;
  int32_t end = 0;
  bool operator==(const TextSpan&) const = default;
};

/// One encoded text or pair; all vectors have the same length.
struct Encoding {
  std::vector<int32_t> ids;
  std::vector<int32_t> type_ids;  ///< 0 first text, 1 second text (as the tokenizer class says)
  std::vector<TextSpan> offsets;
  std::vector<uint8_t> special;  ///< 1 for tokens added by the tokenizer (special_tokens_mask)
  std::vector<int32_t> word;     ///< index of the word the token belongs to, -1 for added tokens; a word of a MeCab
                                 ///< model is a MeCab token, of others a pre-token (as `word_ids()` of fast tokenizers)
  std::vector<int32_t> sequence;  ///< 0 or 1: which text; -1 for added tokens

  size_t size() const { return ids.size(); }
};

enum class TruncationSide { right, left };

struct EncodeOptions {
  bool add_special_tokens = true;
  /// Largest number of ids, special tokens included; 0 = no limit. Shortens the longer text first (longest_first).
  int32_t max_length = 0;
  TruncationSide truncation_side = TruncationSide::right;
  /// Text of special tokens typed by the user is plain text (transformers' split_special_tokens).
  bool split_special_tokens = false;
};

struct SpecialTokens {
  std::optional<int32_t> unk, pad, cls, sep, mask, bos, eos;
};

/// What configuration files call them, in the order in which transformers lists and registers them.
struct SpecialKey {
  const char* key;
  std::optional<int32_t> SpecialTokens::*id;
};
inline constexpr std::array<SpecialKey, 7> kSpecialKeys = {{{"bos_token", &SpecialTokens::bos},
                                                            {"eos_token", &SpecialTokens::eos},
                                                            {"unk_token", &SpecialTokens::unk},
                                                            {"sep_token", &SpecialTokens::sep},
                                                            {"pad_token", &SpecialTokens::pad},
                                                            {"cls_token", &SpecialTokens::cls},
                                                            {"mask_token", &SpecialTokens::mask}}};

/// Immutable and shared between threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Broken UTF-8 is replaced as Python's bytes.decode(errors="replace") does (one U+FFFD per maximal ill-formed part);
  /// offsets count the replaced text.
  virtual Result<Encoding> encode(std::string_view text, const EncodeOptions& options = {}) const = 0;
  virtual Result<Encoding> encode_pair(std::string_view first, std::string_view second,
                                       const EncodeOptions& options = {}) const = 0;
  /// As PreTrainedTokenizer.decode. Ids outside the vocabulary decode to nothing, as there.
  virtual std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const = 0;

  /// False when, with special tokens shown, a later one changes the text before it (slow T5 puts the space that belongs
  /// to a special token before the run that precedes it): such text can only be shown as a whole.
  virtual bool decodes_in_order() const { return true; }

  /// Token text as stored ("##ing", "▁は", "Ġthe"); nullopt outside the vocabulary.
  virtual std::optional<std::string> token(int32_t id) const = 0;
  virtual std::optional<int32_t> id(std::string_view token) const = 0;
  virtual bool is_special(int32_t id) const = 0;
  virtual int32_t vocab_size() const = 0;  ///< largest id + 1, added tokens included
  virtual const SpecialTokens& special_tokens() const = 0;
  /// How many ids `encode` (or `encode_pair`) adds around the text.
  virtual int32_t added_tokens(bool pair) const = 0;
  /// Wraps ids of one or two already encoded texts (windows of a long text) as `encode` would have.
  virtual Encoding build(const Encoding& first, const Encoding* second) const = 0;
  /// model_max_length of tokenizer_config.json; 0 when unset (absent or > 1e20).
  virtual int32_t model_max_length() const = 0;
  /// Continuing-piece prefix ("##") when the model has one, else empty: aggregation of entities needs it.
  virtual std::string_view continuing_prefix() const = 0;
  /// Whether this is the tokenizers library's program (a "Fast" class): some pipelines decide by it.
  virtual bool is_fast() const { return false; }
  /// "BertJapaneseTokenizer (slow)", "T5TokenizerFast (tokenizer.json)", ...: what would answer, for people.
  virtual std::string description() const = 0;
};

struct TokenizerOptions {
  /// Directories of MeCab dictionaries by the name that models use: ipadic, unidic_lite, unidic. A `dicdir/` in the
  /// model directory wins over these. An unknown or absent dictionary is an error that says where to get it, never a
  /// substitute.
  std::map<std::string, std::filesystem::path> mecab_dictionaries;
  /// Force the slow or the fast class instead of what the directory says.
  enum class Flavour { as_named, slow, fast } flavour = Flavour::as_named;
};

/// Detects class and files as transformers 4.57 AutoTokenizer would with the class that tokenizer_config.json names
/// (a name ending in "Fast", or absent with tokenizer.json present: the fast program; else the slow one; a slow class
/// whose files are missing falls back to tokenizer.json). not_found names the files looked for; malformed names file
/// and place.
Result<std::shared_ptr<const Tokenizer>> load_tokenizer(const std::filesystem::path& directory,
                                                        const TokenizerOptions& options = {});

}  // namespace inazuma
