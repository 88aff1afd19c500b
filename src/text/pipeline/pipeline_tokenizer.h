#pragma once
// Tokenizers of the tokenizers library: what a tokenizer.json describes, behind the Tokenizer contract.

#include <filesystem>
#include <set>

#include <nlohmann/json.hpp>

#include "text/pipeline/added_vocabulary.h"
#include "text/pipeline/parts.h"
#include "text/slow/tokenizer_config.h"
#include "text/tokenizer.h"

namespace inazuma {

/// Reads tokenizer.json and the files beside it as the class named there (a "Fast" class of transformers 4.57.3) does:
/// special and added tokens, model_max_length, clean-up, and what the class changes in the pipeline after loading.
/// Errors: not_found without tokenizer.json, malformed and unsupported with the place in the file.
Result<std::shared_ptr<const Tokenizer>> load_pipeline_tokenizer(const std::filesystem::path& directory);
/// The same with a pipeline made elsewhere (a directory without tokenizer.json). `clean_up_default` is the slow class's
/// default of clean_up_tokenization_spaces: a converted tokenizer inherits it.
Result<std::shared_ptr<const Tokenizer>> load_pipeline_tokenizer(const std::filesystem::path& directory,
                                                                 nlohmann::json pipeline,
                                                                 bool clean_up_default = false);
/// What GPT2TokenizerFast makes of vocab.json and merges.txt. Throws Error.
nlohmann::json gpt2_pipeline(const std::filesystem::path& directory);

/// What the files beside tokenizer.json add to it.
struct PipelineSettings {
  std::string description = "tokenizer.json";
  /// Registered after the added tokens of the pipeline, in this order.
  std::vector<AddedToken> added;
  /// "bos_token", ... by the key of tokenizer_config.json; "additional_special_tokens" any number of times.
  std::vector<std::pair<std::string, std::string>> special;
  int32_t model_max_length = 0;
  bool clean_up = false;
};

class PipelineTokenizer : public Tokenizer {
 public:
  /// Throws Error(malformed or unsupported) naming the place in `pipeline`.
  PipelineTokenizer(const nlohmann::json& pipeline, PipelineSettings settings);

  Result<Encoding> encode(std::string_view text, const EncodeOptions& options = {}) const override;
  /// An empty `second` is no text, as in tokenizer(first, second) of transformers.
  Result<Encoding> encode_pair(std::string_view first, std::string_view second,
                               const EncodeOptions& options = {}) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const override;
  std::optional<std::string> token(int32_t id) const override;
  std::optional<int32_t> id(std::string_view token) const override;
  bool is_special(int32_t id) const override { return special_ids_.contains(id); }
  int32_t vocab_size() const override { return vocab_size_; }
  const SpecialTokens& special_tokens() const override { return special_; }
  int32_t added_tokens(bool pair) const override { return post_processor_ ? post_processor_->added_tokens(pair) : 0; }
  Encoding build(const Encoding& first, const Encoding* second) const override;
  int32_t model_max_length() const override { return settings_.model_max_length; }
  std::string_view continuing_prefix() const override { return model_->continuing_prefix(); }
  bool is_fast() const override { return true; }
  std::string description() const override { return settings_.description; }

 private:
  void read_added_tokens(const JsonField& list);
  void resolve_special_tokens();
  ProcessedText encode_text(std::string_view text, int32_t sequence, const EncodeOptions& options) const;
  void append_piece(const TextPiece& piece, int32_t word, ProcessedText& out) const;
  ProcessedText::Spaces count_spaces(const TextPiece& piece, const ModelToken& token) const;
  Encoding finish(std::vector<ProcessedText> texts, const EncodeOptions& options) const;
  Encoding process(std::vector<ProcessedText> texts, bool add_special_tokens, bool trim) const;

  PipelineSettings settings_;
  std::unique_ptr<Normalizer> normalizer_;       // null: none
  std::unique_ptr<PreTokenizer> pre_tokenizer_;  // null: none
  std::unique_ptr<PipelineModel> model_;
  std::unique_ptr<PostProcessor> post_processor_;  // null: none
  std::unique_ptr<PipelineDecoder> decoder_;       // null: tokens are joined by spaces
  AddedVocabulary added_;
  SpecialTokens special_;
  std::set<int32_t> special_ids_;
  int32_t vocab_size_ = 0;
  bool counts_spaces_ = false;
};

}  // namespace inazuma
