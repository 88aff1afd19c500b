// A fast BERT tokenizer without tokenizer.json: the pipeline that transformers converts its slow class to.
#include "text/bert/bert_tokenizer.h"

namespace inazuma {

namespace {

using Json = nlohmann::json;

/// As a parser reads it: non-negative numbers are unsigned.
uint32_t json_id(int32_t id) {
  return static_cast<uint32_t>(id);
}

Json token_step(const std::string& token, int type) {
  return {{"SpecialToken", {{"id", token}, {"type_id", type}}}};
}
Json text_step(const char* name, int type) {
  return {{"Sequence", {{"id", name}, {"type_id", type}}}};
}
Json template_token(const std::string& token, int32_t id) {
  return {{"id", token}, {"ids", Json::array({json_id(id)})}, {"tokens", Json::array({token})}};
}

}  // namespace

Json BertTokenizer::pipeline() const {
  const SpecialTokens& special = special_tokens();
  const std::string& cls = special_text("cls_token");
  const std::string& sep = special_text("sep_token");
  Json pipeline = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};

  pipeline["added_tokens"] = Json::array();
  for (const auto& [id, token] : registered_tokens()) {
    pipeline["added_tokens"].push_back({{"id", json_id(id)},
                                        {"content", token.content},
                                        {"single_word", token.single_word},
                                        {"lstrip", token.lstrip},
                                        {"rstrip", token.rstrip},
                                        {"normalized", token.normalized},
                                        {"special", token.special || is_special_token(token.content)}});
  }
  Json strip_accents = nullptr;  // null: as lowercase
  if (!basic_) {
    strip_accents = false;
  } else if (basic_tokenizer_.strip_accents) {
    strip_accents = *basic_tokenizer_.strip_accents;
  }
  pipeline["normalizer"] = {{"type", "BertNormalizer"},
                            {"clean_text", true},
                            {"handle_chinese_chars", basic_ && basic_tokenizer_.space_ideographs},
                            {"strip_accents", strip_accents},
                            {"lowercase", basic_ && basic_tokenizer_.lower_case}};
  pipeline["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  pipeline["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", Json::array({token_step(cls, 0), text_step("A", 0), token_step(sep, 0)})},
      {"pair",
       Json::array({token_step(cls, 0), text_step("A", 0), token_step(sep, 0), text_step("B", 1), token_step(sep, 1)})},
      {"special_tokens", {{cls, template_token(cls, *special.cls)}, {sep, template_token(sep, *special.sep)}}}};
  pipeline["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  Json vocabulary = Json::object();
  for (const auto& [token, id] : vocabulary_.ids()) vocabulary[token] = json_id(id);
  pipeline["model"] = {{"type", "WordPiece"},
                       {"unk_token", special_text("unk_token")},
                       {"continuing_subword_prefix", "##"},
                       {"max_input_chars_per_word", 100},
                       {"vocab", std::move(vocabulary)}};
  return pipeline;
}

Json bert_pipeline(const std::filesystem::path& directory) {
  return BertTokenizer(TokenizerConfig::read(directory), Vocabulary::read(directory / "vocab.txt")).pipeline();
}

}  // namespace inazuma
