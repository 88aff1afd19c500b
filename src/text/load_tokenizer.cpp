// Which tokenizer program a model directory asks for, and loading it.
#include <algorithm>
#include <array>

#include "text/bert/bert_tokenizer.h"
#include "text/bpe/gpt2_tokenizer.h"
#include "text/japanese/bert_japanese_tokenizer.h"
#include "text/pipeline/pipeline_tokenizer.h"
#include "text/t5/t5_tokenizer.h"
#include "text/tokenizer.h"

namespace inazuma {

namespace {

using Path = std::filesystem::path;
using Shared = std::shared_ptr<const Tokenizer>;
using Flavour = TokenizerOptions::Flavour;

enum class Family { bert, bert_japanese, t5, gpt2, pipeline_only };

struct ClassName {
  std::string_view name;  // without "Fast"
  Family family;
};
// DistilBertTokenizer and ElectraTokenizer are copies of BertTokenizer; MT5Tokenizer is T5Tokenizer. The slow programs
// of the last ones are not built in: their tokenizer.json answers. TokenizersBackend is what version 5 of transformers
// calls PreTrainedTokenizerFast.
constexpr std::array<ClassName, 14> kClasses = {{{"BertTokenizer", Family::bert},
                                                 {"DistilBertTokenizer", Family::bert},
                                                 {"ElectraTokenizer", Family::bert},
                                                 {"BertJapaneseTokenizer", Family::bert_japanese},
                                                 {"T5Tokenizer", Family::t5},
                                                 {"MT5Tokenizer", Family::t5},
                                                 {"GPT2Tokenizer", Family::gpt2},
                                                 {"RobertaTokenizer", Family::pipeline_only},
                                                 {"BartTokenizer", Family::pipeline_only},
                                                 {"XLMRobertaTokenizer", Family::pipeline_only},
                                                 {"LlamaTokenizer", Family::pipeline_only},
                                                 {"Qwen2Tokenizer", Family::pipeline_only},
                                                 {"PreTrainedTokenizer", Family::pipeline_only},
                                                 {"TokenizersBackend", Family::pipeline_only}}};

struct ModelType {
  std::string_view name, tokenizer_class;
};
constexpr std::array<ModelType, 11> kModelTypes = {{{"bert", "BertTokenizer"},
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

/// What the directory says: the class's family, and whether it named the fast or the slow class.
struct Choice {
  Family family = Family::pipeline_only;
  std::string shown;  // for messages: where the choice came from
  bool fast = false;
};

bool has(const Path& directory, const char* name) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(directory / name, ignored);
}

std::optional<std::string> text_of(const Path& path, const char* key) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  const nlohmann::json values = read_json_file(path);
  if (!values.is_object()) throw fail(StatusCode::malformed, "{}: must be a JSON object", path.string());
  auto found = values.find(key);
  if (found == values.end() || found->is_null()) return std::nullopt;
  if (!found->is_string()) throw fail(StatusCode::invalid, "{}: '{}' must be a string", path.string(), key);
  return found->get<std::string>();
}

Choice choose_class(std::string name, const Path& directory) {
  Choice choice;
  choice.shown = name;
  choice.fast = name.ends_with("Fast");
  if (choice.fast) name.resize(name.size() - 4);
  for (const ClassName& known : kClasses) {
    if (known.name != name) continue;
    choice.family = known.family;
    return choice;
  }
  throw fail(StatusCode::unsupported,
             "{}: tokenizer class {} is not built in; BertTokenizer, BertJapaneseTokenizer, T5Tokenizer, GPT2Tokenizer "
             "(with or without Fast) are, and with a tokenizer.json PreTrainedTokenizerFast, RobertaTokenizer, "
             "BartTokenizer, XLMRobertaTokenizer, LlamaTokenizer and Qwen2Tokenizer",
             directory.string(), quoted(std::string_view(choice.shown)));
}

Choice choose(const Path& directory) {
  for (const char* file : {"tokenizer_config.json", "config.json"}) {
    if (auto name = text_of(directory / file, "tokenizer_class")) return choose_class(*name, directory);
  }
  const bool has_pipeline = has(directory, "tokenizer.json");
  auto type = text_of(directory / "config.json", "model_type");
  auto known =
      std::find_if(kModelTypes.begin(), kModelTypes.end(), [&](const ModelType& m) { return type && m.name == *type; });
  if (known != kModelTypes.end()) {
    Choice choice = choose_class(std::string(known->tokenizer_class), directory);
    choice.fast = has_pipeline;
    return choice;
  }
  if (has_pipeline) return {Family::pipeline_only, "tokenizer.json", true};
  throw fail(StatusCode::not_found,
             "{}: no tokenizer: neither tokenizer_config.json nor config.json names a tokenizer_class or a known "
             "model_type, and "
             "there is no tokenizer.json",
             directory.string());
}

/// Files of the slow class; empty when all are there, else what is missing.
std::string missing_slow_files(Family family, const Path& directory) {
  std::vector<const char*> needed;
  if (family == Family::bert) needed = {"vocab.txt"};
  if (family == Family::t5) needed = {"spiece.model"};
  if (family == Family::gpt2) needed = {"vocab.json", "merges.txt"};
  std::string missing;
  for (const char* name : needed) {
    if (!has(directory, name)) missing += (missing.empty() ? "" : ", ") + std::string(name);
  }
  return missing;
}

Shared load_slow(const Choice& choice, const Path& directory, const TokenizerOptions& options) {
  switch (choice.family) {
    case Family::bert: return load_slow_bert(directory);
    case Family::bert_japanese: return load_bert_japanese(directory, options);
    case Family::t5: return std::make_shared<T5Tokenizer>(TokenizerConfig::read(directory));
    case Family::gpt2: return std::make_shared<Gpt2Tokenizer>(TokenizerConfig::read(directory));
    default: break;
  }
  throw fail(StatusCode::unsupported, "{}: {} is not built in", directory.string(), choice.shown);
}

/// The tokenizers library's program; without tokenizer.json the pipeline that transformers converts the slow class to.
Shared load_fast(const Choice& choice, const Path& directory) {
  if (has(directory, "tokenizer.json")) return load_pipeline_tokenizer(directory).value();
  if (choice.family == Family::bert) return load_pipeline_tokenizer(directory, bert_pipeline(directory), true).value();
  if (choice.family == Family::gpt2) return load_pipeline_tokenizer(directory, gpt2_pipeline(directory)).value();
  if (choice.family == Family::t5) return load_pipeline_tokenizer(directory, t5_pipeline(directory)).value();
  throw fail(StatusCode::not_found, "{}: {} needs tokenizer.json", directory.string(), choice.shown);
}

Shared load(const Path& directory, const TokenizerOptions& options) {
  if (!std::filesystem::is_directory(directory)) {
    throw fail(StatusCode::not_found, "{}: not a directory", directory.string());
  }
  const Choice choice = choose(directory);
  if (choice.family == Family::bert_japanese) return load_slow(choice, directory, options);

  const bool has_pipeline = has(directory, "tokenizer.json");
  const bool slow_exists = choice.family != Family::pipeline_only;
  const std::string missing = missing_slow_files(choice.family, directory);
  bool fast = options.flavour == Flavour::as_named ? choice.fast : options.flavour == Flavour::fast;
  if (!slow_exists || (!fast && !missing.empty() && has_pipeline)) fast = true;
  if (!fast && missing.empty()) return load_slow(choice, directory, options);
  if (!has_pipeline && (!slow_exists || !missing.empty())) {
    throw fail(StatusCode::not_found, "{}: {} needs tokenizer.json{}{}", directory.string(), choice.shown,
               missing.empty() ? "" : " or ", missing);
  }
  return load_fast(choice, directory);
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> load_tokenizer(const std::filesystem::path& directory,
                                                        const TokenizerOptions& options) {
  return capture([&]() -> Shared { return load(directory, options); });
}

}  // namespace inazuma
