#pragma once
// What every slow tokenizer class of transformers 4.57 shares (PreTrainedTokenizer): added tokens, the tokenize loop,
// truncation, decode. A class derives from SlowTokenizer, implements the hooks and calls `finish_loading` last in its
// constructor.

#include <set>
#include <unordered_map>

#include "text/slow/added_token_trie.h"
#include "text/slow/tokenizer_config.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace inazuma {

/// One token of a text before special tokens are put around it.
struct Piece {
  int32_t id = 0;
  TextSpan span;     ///< code points of the original input
  int32_t word = 0;  ///< counts over the whole text
};

/// Tokens of one text in the making. A hook gives each token `words` as its word and increases `words` after each word.
struct Pieces {
  std::vector<Piece> list;
  int32_t words = 0;

  void push(int32_t id, TextSpan span) { list.push_back({id, span, words}); }
};

/// Hash that lets maps with std::string keys be searched by std::string_view.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
template <class Value>
using StringMap = std::unordered_map<std::string, Value, StringHash, std::equal_to<>>;

class SlowTokenizer : public Tokenizer {
 public:
  Result<Encoding> encode(std::string_view text, const EncodeOptions& options = {}) const override;
  Result<Encoding> encode_pair(std::string_view first, std::string_view second,
                               const EncodeOptions& options = {}) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const override;
  std::optional<std::string> token(int32_t id) const override;
  std::optional<int32_t> id(std::string_view token) const override;
  bool is_special(int32_t id) const override { return special_ids_.contains(id); }
  int32_t vocab_size() const override { return vocab_size_; }
  const SpecialTokens& special_tokens() const override { return special_; }
  int32_t model_max_length() const override { return model_max_length_; }
  std::string_view continuing_prefix() const override { return {}; }

 protected:
  /// `config` is kept; `clean_up_default` is the class's default of clean_up_tokenization_spaces (true only for
  /// BertTokenizer). `token_defaults` are the constructor defaults of the class: {"unk_token", "[UNK]"}, ...
  SlowTokenizer(TokenizerConfig config, std::map<std::string, AddedToken> token_defaults,
                bool clean_up_default = false);

  /// Registers special and added tokens as PreTrainedTokenizer.__init__ does: first `own` (the _added_tokens_decoder a
  /// class fills before super().__init__, e.g. T5's <extra_id_k>), then added_tokens_decoder, then special tokens still
  /// unknown, which take the vocabulary's id or the next free one. Needs the vocabulary hooks to work; call it last.
  /// `additional` replaces additional_special_tokens of the config when given (T5 computes its own).
  void finish_loading(const std::map<int32_t, AddedToken>& own = {},
                      const std::vector<AddedToken>* additional = nullptr);

  // --- hooks: the vocabulary without added tokens
  // -------------------------------------------------------------------------
  virtual std::optional<int32_t> vocabulary_id(std::string_view token) const = 0;
  virtual std::optional<std::string> vocabulary_token(int32_t id) const = 0;
  virtual int32_t largest_vocabulary_id() const = 0;
  /// len(get_vocab()) without added tokens: the number of *different* tokens. New tokens are numbered from here.
  virtual int32_t vocabulary_count() const = 0;
  /// Python's `vocab_size` property (sentencepiece + extra ids for T5); decode compares ids of additional tokens with
  /// it.
  virtual int32_t base_vocab_size() const { return vocabulary_count(); }
  /// _convert_token_to_id: by default the vocabulary's id, else unk's.
  virtual int32_t convert_token(std::string_view token) const;
  /// _convert_id_to_token: by default the vocabulary's token, else the text of unk_token.
  virtual std::string convert_id(int32_t id) const;

  // --- hooks: text
  // ---------------------------------------------------------------------------------------------------------
  /// tokenize(): the whole text, added tokens included. The default is `tokenize_with_added_tokens`.
  virtual Pieces tokenize(const AlignedText& text, const EncodeOptions& options) const;
  /// _tokenize(): a stretch without added tokens, never empty. Ids should come from `token_id` where a token's text
  /// could be that of an added token.
  virtual void tokenize_segment(const AlignedText& segment, Pieces& out) const = 0;
  /// convert_tokens_to_string(): by default " ".join(tokens).
  virtual std::string tokens_to_string(std::span<const std::string> tokens) const;

  // --- for derived classes
  // ---------------------------------------------------------------------------------------------------
  /// PreTrainedTokenizer.tokenize: lower-casing outside special tokens when `lower_case_text_` is set, the cut on added
  /// tokens with lstrip/rstrip/single_word, `tokenize_segment` between them.
  Pieces tokenize_with_added_tokens(AlignedText text, const EncodeOptions& options) const;
  /// convert_tokens_to_ids of one token: added tokens first, then convert_token.
  int32_t token_id(std::string_view token) const;
  /// all_special_tokens contains it.
  bool is_special_token(std::string_view token) const { return special_texts_.contains(token); }
  const std::set<std::string, std::less<>>& special_texts() const { return special_texts_; }
  const TokenizerConfig& config() const { return config_; }
  /// _added_tokens_decoder: every registered token by id.
  const std::map<int32_t, AddedToken>& registered_tokens() const { return added_by_id_; }
  /// Text of "unk_token", "eos_token", ...; empty when the tokenizer has none.
  const std::string& special_text(std::string_view key) const;

  /// do_lower_case as PreTrainedTokenizer.tokenize sees it; set before finish_loading.
  bool lower_case_text_ = false;

 private:
  void register_token(int32_t id, const AddedToken& token);
  void add_special(const std::string& key, AddedToken token);
  void register_special_tokens();
  void resolve_special_ids();
  void build_trie();
  Encoding encode_text(std::string_view text, const EncodeOptions& options) const;
  Encoding finish(Encoding first, Encoding* second, const EncodeOptions& options) const;
  AlignedText lower_outside_tokens(const AlignedText& text) const;
  std::vector<AlignedText> split_on_added_tokens(const AlignedText& text) const;
  std::optional<int32_t> added_id(std::u32string_view text) const;

  TokenizerConfig config_;
  std::map<std::string, AddedToken> token_defaults_;
  bool clean_up_;
  int32_t model_max_length_;
  SpecialTokens special_;
  std::vector<std::pair<std::string, AddedToken>>
      special_by_key_;                      // in transformers' order, one entry per additional token
  std::vector<std::string> special_order_;  // all_special_tokens
  std::set<std::string, std::less<>> special_texts_;
  std::set<int32_t> special_ids_;
  std::map<int32_t, AddedToken> added_by_id_;             // _added_tokens_decoder
  std::vector<int32_t> added_order_;                      // its ids in order of insertion
  StringMap<int32_t> added_ids_;                          // _added_tokens_encoder
  std::set<std::string, std::less<>> added_texts_alone_;  // "legacy added tokens": decoded apart from the others
  std::vector<std::u32string> keep_case_;
  AddedTokenTrie trie_;
  size_t longest_added_ = 0;  // code points
  int32_t vocab_size_ = 0;
};

/// Appends `part` with this type and sequence number; ids, offsets and words stay.
void append_text(Encoding& out, const Encoding& part, int32_t type_id, int32_t sequence);
/// Appends a token that stands for no input: offsets (0, 0), word -1, special 1.
void append_special(Encoding& out, int32_t id, int32_t type_id);
/// Copy of items [begin, end).
Encoding slice(const Encoding& encoding, size_t begin, size_t end);
/// Shortens one or two encodings so that together they hold at most `room` ids: transformers' truncate_sequences
/// ("longest_first": the longer first, then both alike, the second one more on an odd rest).
void truncate_longest_first(Encoding& first, Encoding* second, size_t room, TruncationSide side);
/// clean_up_tokenization of transformers.
std::string clean_up_spaces(std::string text);
/// `text` with every `from` replaced, left to right, as str.replace.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);

}  // namespace inazuma
