// The models of tokenizer.json that look words up: WordPiece, WordLevel, BPE. Unigram has its own file.
#include <algorithm>

#include "text/bpe/bpe_model.h"
#include "text/pipeline/parts.h"
#include "text/slow_base.h"
#include "text/unicode.h"

namespace inazuma {

namespace {

StringMap<int32_t> read_vocabulary(const JsonField& field) {
  StringMap<int32_t> vocabulary;
  const nlohmann::json& all = field.object();
  vocabulary.reserve(all.size());
  for (const auto& [token, id] : all.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= INT32_MAX) {
      throw fail(StatusCode::malformed, "{}: the id of {} must be an integer from 0 to {}", field.place(),
                 quoted(token), INT32_MAX - 1);
    }
    vocabulary.emplace(token, id.get<int32_t>());
  }
  return vocabulary;
}

/// A vocabulary with the way back from ids.
class VocabularyModel : public PipelineModel {
 public:
  std::optional<std::string_view> token(int32_t id) const override {
    auto found = tokens_.find(id);
    if (found == tokens_.end()) return std::nullopt;
    return found->second;
  }
  std::optional<int32_t> id(std::string_view token) const override {
    auto found = vocabulary().find(token);
    if (found == vocabulary().end()) return std::nullopt;
    return found->second;
  }
  int32_t size() const override { return static_cast<int32_t>(vocabulary().size()); }
  int32_t largest_id() const override { return largest_; }

 protected:
  virtual const StringMap<int32_t>& vocabulary() const = 0;
  /// Call once the vocabulary has its final place. Of tokens with one id the smallest text is kept.
  void index() {
    tokens_.reserve(vocabulary().size());
    for (const auto& [token, id] : vocabulary()) {
      auto [slot, fresh] = tokens_.emplace(id, token);
      if (!fresh && token < slot->second) slot->second = token;
      largest_ = std::max(largest_, id);
    }
  }

 private:
  std::unordered_map<int32_t, std::string_view> tokens_;
  int32_t largest_ = -1;
};

class WordModel : public VocabularyModel {
 protected:
  explicit WordModel(const JsonField& field)
      : vocabulary_(read_vocabulary(field.at("vocab"))), unknown_(field.at("unk_token").text()) {
    index();
    unknown_id_ = id(unknown_);
  }
  const StringMap<int32_t>& vocabulary() const override { return vocabulary_; }

  void push_unknown(const std::string& piece, std::vector<ModelToken>& out) const {
    if (!unknown_id_) {
      throw fail(StatusCode::tokenization, "{} is not in the vocabulary, and neither is the unknown token {}",
                 quoted(piece), quoted(unknown_));
    }
    out.push_back({*unknown_id_, 0, static_cast<uint32_t>(piece.size())});
  }

 private:
  StringMap<int32_t> vocabulary_;
  std::string unknown_;
  std::optional<int32_t> unknown_id_;
};

class WordLevel : public WordModel {
 public:
  explicit WordLevel(const JsonField& field) : WordModel(field) {}
  void tokenize(const std::string& piece, std::vector<ModelToken>& out) const override {
    const auto known = id(piece);
    if (!known) return push_unknown(piece, out);
    out.push_back({*known, 0, static_cast<uint32_t>(piece.size())});
  }
};

/// Greedy longest match from the left; a word with a part that is not found is one unknown token.
class WordPieceModel : public WordModel {
 public:
  explicit WordPieceModel(const JsonField& field)
      : WordModel(field),
        prefix_(field.at("continuing_subword_prefix").text()),
        longest_word_(static_cast<size_t>(field.at("max_input_chars_per_word").integer(0, INT64_MAX))) {
    for (const auto& [token, id] : vocabulary()) longest_token_ = std::max(longest_token_, token.size());
  }
  std::string_view continuing_prefix() const override { return prefix_; }

  void tokenize(const std::string& piece, std::vector<ModelToken>& out) const override {
    if (piece.size() > longest_word_ && count_points(piece) > longest_word_) return push_unknown(piece, out);
    const size_t before = out.size();
    std::string candidate;
    for (size_t begin = 0; begin < piece.size();) {
      candidate = begin > 0 ? prefix_ : "";
      const size_t prefix = candidate.size();
      candidate.append(piece, begin, std::min(piece.size() - begin, longest_token_));
      const auto found = longest(candidate, prefix);
      if (!found) {
        out.resize(before);
        return push_unknown(piece, out);
      }
      const size_t end = begin + candidate.size() - prefix;
      out.push_back({*found, static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
      begin = end;
    }
  }

 private:
  /// Shortens `candidate` to its longest beginning in the vocabulary that holds a character beyond `prefix`.
  std::optional<int32_t> longest(std::string& candidate, size_t prefix) const {
    while (candidate.size() > prefix) {
      if (auto found = id(candidate)) return found;
      while ((static_cast<unsigned char>(candidate.back()) & 0xC0) == 0x80 && candidate.size() > prefix + 1) {
        candidate.pop_back();
      }
      candidate.pop_back();
    }
    return std::nullopt;
  }

  std::string prefix_;
  size_t longest_word_;
  size_t longest_token_ = 0;
};

class BytePairModel : public VocabularyModel {
 public:
  BytePairModel(StringMap<int32_t> vocabulary, const BpeModel::Merges& merges, BpeOptions options)
      : model_(std::move(vocabulary), merges, std::move(options)) {
    index();
  }
  void tokenize(const std::string& piece, std::vector<ModelToken>& out) const override {
    thread_local std::vector<BpeToken> tokens;
    tokens.clear();
    model_.tokenize(piece, tokens);
    for (const BpeToken& token : tokens) out.push_back({token.id, token.begin, token.end});
  }

 protected:
  const StringMap<int32_t>& vocabulary() const override { return model_.vocabulary(); }

 private:
  BpeModel model_;
};

std::pair<std::string, std::string> read_merge(const JsonField& merge) {
  if (merge.value().is_array()) {
    if (merge.size() != 2) merge.malformed("must hold two strings");
    return {merge.item(0).text(), merge.item(1).text()};
  }
  const std::string text = merge.text();
  const size_t space = text.find(' ');
  if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
    merge.malformed("must be two tokens with one space between them");
  }
  return {text.substr(0, space), text.substr(space + 1)};
}

std::unique_ptr<PipelineModel> read_byte_pairs(const JsonField& field) {
  if (auto dropout = field.find("dropout")) {
    if (dropout->number() != 0) {
      throw fail(StatusCode::unsupported, "{} is not 0: its answers would be random", dropout->place());
    }
  }
  BpeOptions options;
  if (auto unknown = field.find("unk_token")) options.unk_token = unknown->text();
  options.continuing_subword_prefix = field.text_or("continuing_subword_prefix", "");
  options.end_of_word_suffix = field.text_or("end_of_word_suffix", "");
  options.fuse_unk = field.flag_or("fuse_unk", false);
  options.byte_fallback = field.flag_or("byte_fallback", false);
  options.ignore_merges = field.flag_or("ignore_merges", false);
  const JsonField list = field.at("merges");
  BpeModel::Merges merges;
  merges.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string& text =
        list.value()[i].is_string() ? list.value()[i].get_ref<const std::string&>() : std::string();
    if (text.starts_with("#version")) continue;
    merges.push_back(read_merge(list.item(i)));
  }
  try {
    return std::make_unique<BytePairModel>(read_vocabulary(field.at("vocab")), merges, std::move(options));
  } catch (const Error& error) {
    if (error.status().message().starts_with(field.place())) throw;
    throw Error(error.status().in(field.place()));
  }
}

/// The library tries the models in this order when there is no type, and takes the first whose fields fit.
std::string guess_type(const JsonField& field) {
  if (field.find("merges")) return "BPE";
  if (field.find("continuing_subword_prefix")) return "WordPiece";
  const auto vocabulary = field.find("vocab");
  if (vocabulary && vocabulary->value().is_array()) return "Unigram";
  if (vocabulary && field.find("unk_token")) return "WordLevel";
  field.malformed("has no type, and its fields are those of no model");
}

}  // namespace

std::unique_ptr<PipelineModel> read_model(const JsonField& field) {
  const auto named = field.find("type");
  const std::string type = named ? named->text() : guess_type(field);
  if (type == "WordPiece") return std::make_unique<WordPieceModel>(field);
  if (type == "WordLevel") return std::make_unique<WordLevel>(field);
  if (type == "BPE") return read_byte_pairs(field);
  if (type == "Unigram") return read_unigram(field);
  field.unknown_type(type, "WordPiece, BPE, Unigram, WordLevel");
}

}  // namespace inazuma
