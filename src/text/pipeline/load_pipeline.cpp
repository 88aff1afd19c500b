// Reading a model directory as the Fast classes of transformers 4.57.3 do.
#include <algorithm>
#include <array>

#include "text/pipeline/pipeline_tokenizer.h"

namespace inazuma {

namespace {

using nlohmann::json;
using Path = std::filesystem::path;

enum class FastFamily { plain, bert, roberta, t5, llama };

struct TokenDefault {
  std::string_view key, text;
};
/// A Fast class: what it sets when tokenizer_config.json says nothing, and what it changes in the pipeline.
struct FastClass {
  std::string_view name;  // without "Fast"
  FastFamily family;
  std::array<TokenDefault, 7> defaults;
};

constexpr std::array<TokenDefault, 7> kBertTokens = {{{"unk_token", "[UNK]"},
                                                      {"sep_token", "[SEP]"},
                                                      {"pad_token", "[PAD]"},
                                                      {"cls_token", "[CLS]"},
                                                      {"mask_token", "[MASK]"}}};
constexpr std::array<TokenDefault, 7> kRobertaTokens = {{{"bos_token", "<s>"},
                                                         {"eos_token", "</s>"},
                                                         {"unk_token", "<unk>"},
                                                         {"sep_token", "</s>"},
                                                         {"pad_token", "<pad>"},
                                                         {"cls_token", "<s>"},
                                                         {"mask_token", "<mask>"}}};
constexpr std::array<TokenDefault, 7> kT5Tokens = {
    {{"eos_token", "</s>"}, {"unk_token", "<unk>"}, {"pad_token", "<pad>"}}};
constexpr std::array<TokenDefault, 7> kGpt2Tokens = {
    {{"bos_token", "<|endoftext|>"}, {"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}}};
constexpr std::array<TokenDefault, 7> kLlamaTokens = {
    {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}}};
constexpr std::array<TokenDefault, 7> kQwenTokens = {
    {{"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}, {"pad_token", "<|endoftext|>"}}};

constexpr std::array<FastClass, 13> kFastClasses = {{{"PreTrainedTokenizer", FastFamily::plain, {}},
                                                     {"TokenizersBackend", FastFamily::plain, {}},
                                                     {"BertTokenizer", FastFamily::bert, kBertTokens},
                                                     {"DistilBertTokenizer", FastFamily::bert, kBertTokens},
                                                     {"ElectraTokenizer", FastFamily::bert, kBertTokens},
                                                     {"GPT2Tokenizer", FastFamily::plain, kGpt2Tokens},
                                                     {"T5Tokenizer", FastFamily::t5, kT5Tokens},
                                                     {"MT5Tokenizer", FastFamily::t5, kT5Tokens},
                                                     {"RobertaTokenizer", FastFamily::roberta, kRobertaTokens},
                                                     {"BartTokenizer", FastFamily::roberta, kRobertaTokens},
                                                     {"XLMRobertaTokenizer", FastFamily::plain, kRobertaTokens},
                                                     {"LlamaTokenizer", FastFamily::llama, kLlamaTokens},
                                                     {"Qwen2Tokenizer", FastFamily::plain, kQwenTokens}}};
constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kFastModelTypes = {
    {{"bert", "BertTokenizer"},
     {"distilbert", "DistilBertTokenizer"},
     {"electra", "ElectraTokenizer"},
     {"gpt2", "GPT2Tokenizer"},
     {"t5", "T5Tokenizer"},
     {"mt5", "MT5Tokenizer"},
     {"roberta", "RobertaTokenizer"},
     {"bart", "BartTokenizer"},
     {"xlm-roberta", "XLMRobertaTokenizer"},
     {"llama", "LlamaTokenizer"},
     {"qwen2", "Qwen2Tokenizer"}}};
constexpr std::string_view kAdditional = "additional_special_tokens";

std::string text_member(const json& values, const char* key) {
  auto found = values.is_object() ? values.find(key) : values.end();
  return values.is_object() && found != values.end() && found->is_string() ? found->get<std::string>() : "";
}

const FastClass& choose_class(const TokenizerConfig& config) {
  std::string name = text_member(config.values(), "tokenizer_class");
  const Path path = config.directory() / "config.json";
  if (name.empty() && std::filesystem::exists(path)) {
    const json model = read_json_file(path);
    name = text_member(model, "tokenizer_class");
    const std::string type = text_member(model, "model_type");
    for (const auto& [known, tokenizer] : kFastModelTypes) {
      if (name.empty() && known == type) name = tokenizer;
    }
  }
  if (name.empty()) return kFastClasses[0];
  const std::string shown = name;
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  std::string all;
  for (const FastClass& known : kFastClasses) {
    if (known.name == name) return known;
    all += (all.empty() ? "" : ", ") + std::string(known.name) + "Fast";
  }
  throw fail(StatusCode::unsupported, "{}: tokenizer class {} is not built in; built in: {}",
             config.directory().string(), quoted(shown), all);
}

/// A special token and whether the class holds it as an AddedToken (flags and all) or as a bare string.
struct Special {
  std::string key;
  AddedToken token;
  bool has_flags = false;
};

bool has_flags(const TokenizerConfig& config, const json& value, const AddedToken& token) {
  if (value.is_object()) return true;
  return std::any_of(config.added_tokens().begin(), config.added_tokens().end(),
                     [&](const auto& known) { return known.second.content == token.content; });
}

AddedToken bare_special(std::string_view text) {
  AddedToken token;
  token.content = text;
  token.special = true;
  token.normalized = false;
  return token;
}

/// T5TokenizerFast names its sentinels when the configuration does not.
void add_sentinels(const TokenizerConfig& config, std::vector<Special>& all) {
  const bool named = std::any_of(all.begin(), all.end(), [](const Special& special) {
    return special.key == kAdditional && special.token.content.find("<extra_id_") != std::string::npos;
  });
  const int64_t count = config.integer("extra_ids", 100);
  if (count < 0 || count > 100000) {
    throw fail(StatusCode::invalid, "{}: 'extra_ids' is {}, must be from 0 to 100000",
               (config.directory() / "tokenizer_config.json").string(), count);
  }
  if (named) return;
  for (int64_t i = 0; i < count; ++i) {
    all.push_back({std::string(kAdditional), bare_special(fmt::format("<extra_id_{}>", i)), false});
  }
}

std::vector<Special> special_tokens(const TokenizerConfig& config, const FastClass& fast) {
  std::vector<Special> all;
  const json& values = config.values();
  for (const SpecialKey& special : kSpecialKeys) {
    const std::string_view key = special.key;
    if (auto token = config.special_token(special.key)) {
      const bool flags = has_flags(config, values.at(std::string(key)), *token);
      all.push_back({std::string(key), *token, flags});
    } else if (!values.contains(key)) {
      for (const TokenDefault& other : fast.defaults) {
        if (other.key == key) all.push_back({std::string(key), bare_special(other.text), false});
      }
    }
    const bool strips_mask = fast.family == FastFamily::roberta || fast.name == "XLMRobertaTokenizer";
    if (key == "mask_token" && strips_mask && !all.empty() && all.back().key == key && !all.back().has_flags) {
      all.back().has_flags = true;
      all.back().token.lstrip = true;
      all.back().token.normalized = fast.family != FastFamily::roberta;
    }
  }
  for (const AddedToken& token : config.additional_special_tokens()) {
    all.push_back({std::string(kAdditional), token, has_flags(config, json(), token)});
  }
  if (fast.family == FastFamily::t5) add_sentinels(config, all);
  return all;
}

/// What PreTrainedTokenizerFast.__init__ adds to the pipeline's own added tokens.
std::vector<AddedToken> tokens_to_add(const TokenizerConfig& config, const std::vector<Special>& special,
                                      const json& pipeline) {
  std::set<std::string> known;
  const auto list = pipeline.is_object() ? pipeline.find("added_tokens") : pipeline.end();
  if (pipeline.is_object() && list != pipeline.end() && list->is_array()) {
    for (const json& token : *list) known.insert(text_member(token, "content"));
  }
  std::vector<AddedToken> out;
  for (const auto& [id, token] : config.added_tokens()) {
    AddedToken& added = out.emplace_back(token);
    added.special = added.special || std::any_of(special.begin(), special.end(), [&](const Special& other) {
                      return other.token.content == added.content;
                    });
    known.insert(added.content);
  }
  std::set<std::string> seen;
  for (const Special& other : special) {
    if (!seen.insert(other.token.content).second) continue;
    if (!other.has_flags && known.contains(other.token.content)) continue;
    out.push_back(other.token);
    out.back().special = true;
  }
  return out;
}

json* member(json& value, const char* key) {
  if (!value.is_object()) return nullptr;
  auto found = value.find(key);
  return found == value.end() || !found->is_object() ? nullptr : &*found;
}

/// BertTokenizerFast puts its own arguments into the normalizer.
void override_bert(const TokenizerConfig& config, json& pipeline) {
  json* normalizer = member(pipeline, "normalizer");
  if (normalizer == nullptr || text_member(*normalizer, "type") != "BertNormalizer") return;
  const auto strip = config.optional_flag("strip_accents");
  (*normalizer)["lowercase"] = config.flag("do_lower_case", true);
  (*normalizer)["strip_accents"] = strip ? json(*strip) : json();
  (*normalizer)["handle_chinese_chars"] = config.flag("tokenize_chinese_chars", true);
}

void override_roberta(const TokenizerConfig& config, json& pipeline) {
  json* processor = member(pipeline, "post_processor");
  if (processor == nullptr) return;
  if (processor->contains("add_prefix_space"))
    (*processor)["add_prefix_space"] = config.flag("add_prefix_space", false);
  if (processor->contains("trim_offsets")) (*processor)["trim_offsets"] = config.flag("trim_offsets", true);
}

/// Every Fast class makes a ByteLevel pre-tokenizer follow add_prefix_space, which is false unless it is set.
void override_prefix_space(const TokenizerConfig& config, json& pipeline) {
  json* part = member(pipeline, "pre_tokenizer");
  if (part == nullptr || text_member(*part, "type") != "ByteLevel") return;
  const json& values = config.values();
  if (values.contains("add_prefix_space") && values.at("add_prefix_space").is_null()) return;
  (*part)["add_prefix_space"] = config.flag("add_prefix_space", false);
}

json template_special(const std::string& token, int type) {
  return {{"SpecialToken", {{"id", token}, {"type_id", type}}}};
}
json template_text(const char* name, int type) {
  return {{"Sequence", {{"id", name}, {"type_id", type}}}};
}

/// LlamaTokenizerFast replaces the post-processor by one that follows add_bos_token and add_eos_token.
void override_llama(const TokenizerConfig& config, const std::vector<Special>& special, json& pipeline,
                    const PipelineTokenizer& known) {
  json single = json::array();
  json pair = json::array();
  json tokens = json::object();
  const auto add = [&](const char* flag, std::string_view key, bool fallback, json& steps, int type) {
    if (!config.flag(flag, fallback)) return;
    for (const Special& other : special) {
      if (other.key != key) continue;
      const auto id = known.id(other.token.content);
      if (!id) throw fail(StatusCode::invalid, "{}: {} is no token", flag, quoted(other.token.content));
      steps.push_back(template_special(other.token.content, type));
      tokens[other.token.content] = {{"id", other.token.content}, {"ids", {*id}}, {"tokens", {other.token.content}}};
      return;
    }
    throw fail(StatusCode::invalid, "{} is true, but {} is not set", flag, key);
  };
  add("add_bos_token", "bos_token", true, single, 0);
  single.push_back(template_text("A", 0));
  add("add_eos_token", "eos_token", false, single, 0);
  pair = single;
  add("add_bos_token", "bos_token", true, pair, 1);
  pair.push_back(template_text("B", 1));
  add("add_eos_token", "eos_token", false, pair, 1);
  pipeline["post_processor"] = {
      {"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

std::shared_ptr<const Tokenizer> make(const TokenizerConfig& config, json pipeline, std::string_view source,
                                      bool clean_up_default = false) {
  const FastClass& fast = choose_class(config);
  const std::vector<Special> special = special_tokens(config, fast);
  PipelineSettings settings;
  settings.description = fmt::format("{}Fast ({})", fast.name, source);
  settings.added = tokens_to_add(config, special, pipeline);
  for (const Special& other : special) settings.special.emplace_back(other.key, other.token.content);
  settings.model_max_length = config.model_max_length();
  settings.clean_up = config.flag("clean_up_tokenization_spaces", clean_up_default);
  if (fast.family == FastFamily::bert) override_bert(config, pipeline);
  if (fast.family == FastFamily::roberta) override_roberta(config, pipeline);
  override_prefix_space(config, pipeline);
  auto tokenizer = std::make_shared<const PipelineTokenizer>(pipeline, settings);
  if (fast.family != FastFamily::llama) return tokenizer;
  override_llama(config, special, pipeline, *tokenizer);
  return std::make_shared<const PipelineTokenizer>(pipeline, settings);
}

/// The merges of merges.txt, first line (#version) and empty lines aside.
json read_merges(const Path& path) {
  json merges = json::array();
  const std::string text = read_text_file(path);
  size_t at = 0;
  for (size_t line = 0; at < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view merge = std::string_view(text).substr(at, end - at);
    at = end + 1;
    if (merge.empty() || merge.starts_with("#version")) continue;
    const size_t space = merge.find(' ');
    if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos) {
      throw fail(StatusCode::malformed, "{}: line {} must be two tokens with one space between them", path.string(),
                 line + 1);
    }
    merges.push_back({merge.substr(0, space), merge.substr(space + 1)});
  }
  return merges;
}

}  // namespace

json gpt2_pipeline(const Path& directory) {
  const json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}};
  return {{"version", "1.0"},
          {"added_tokens", json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"post_processor", byte_level},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"vocab", read_json_file(directory / "vocab.json")},
            {"merges", read_merges(directory / "merges.txt")}}}};
}

Result<std::shared_ptr<const Tokenizer>> load_pipeline_tokenizer(const Path& directory) {
  return capture([&]() -> std::shared_ptr<const Tokenizer> {
    json pipeline = read_json_file(directory / "tokenizer.json");
    try {
      return make(TokenizerConfig::read(directory), std::move(pipeline), "tokenizer.json");
    } catch (const Error& error) {
      if (error.status().message().starts_with(directory.string())) throw;
      throw Error(error.status().in(directory.string()));
    }
  });
}

Result<std::shared_ptr<const Tokenizer>> load_pipeline_tokenizer(const Path& directory, json pipeline,
                                                                 bool clean_up_default) {
  return capture([&]() -> std::shared_ptr<const Tokenizer> {
    return make(TokenizerConfig::read(directory), std::move(pipeline), "converted from its vocabulary",
                clean_up_default);
  });
}

}  // namespace inazuma
