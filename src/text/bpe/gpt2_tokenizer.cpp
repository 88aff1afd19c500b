#include "text/bpe/gpt2_tokenizer.h"

#include <algorithm>

#include "text/bpe/byte_level.h"

namespace inazuma {

namespace {

constexpr int32_t kUnresolved = -1;
constexpr std::string_view kEndOfText = "<|endoftext|>";

std::map<std::string, AddedToken> token_defaults() {
  AddedToken token;
  token.content = kEndOfText;
  return {{"bos_token", token}, {"eos_token", token}, {"unk_token", token}};
}

bool read_errors(const TokenizerConfig& config) {
  const std::string errors = config.text("errors", "replace");
  if (errors != "replace" && errors != "ignore") {
    throw fail(StatusCode::unsupported, "{}: errors is {}, must be \"replace\" or \"ignore\"",
               (config.directory() / "tokenizer_config.json").string(), inazuma::quoted(errors));
  }
  return errors == "ignore";
}

/// Lines as Python's text mode sees them: CR LF and CR end a line like LF. The last element is what follows the last
/// end.
std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\n' && text[at] != '\r') continue;
    lines.push_back(text.substr(begin, at - begin));
    if (text[at] == '\r' && at + 1 < text.size() && text[at + 1] == '\n') ++at;
    begin = at + 1;
  }
  lines.push_back(text.substr(begin));
  return lines;
}

/// str.split()
std::vector<std::string> split_fields(std::string_view line) {
  std::vector<std::string> fields;
  bool inside = false;
  for (char32_t point : decode_utf8(line)) {
    const bool space = is_python_space(point);
    if (!space && !inside) fields.emplace_back();
    if (!space) append_utf8(fields.back(), point);
    inside = !space;
  }
  return fields;
}

/// The bytes without those that are not part of a well-formed character.
std::string drop_ill_formed(std::string_view bytes) {
  std::string out;
  const std::vector<uint32_t> starts = byte_offsets(bytes);
  for (size_t i = 0; i + 1 < starts.size(); ++i) {
    const std::string_view part = bytes.substr(starts[i], starts[i + 1] - starts[i]);
    if (replace_ill_formed(part) == part) out += part;
  }
  return out;
}

}  // namespace

Gpt2Tokenizer::Gpt2Tokenizer(TokenizerConfig given)
    : SlowTokenizer(std::move(given), token_defaults()),
      add_prefix_space_(config().flag("add_prefix_space", false)),
      add_bos_token_(config().flag("add_bos_token", false)),
      ignore_errors_(read_errors(config())) {
  read_vocabulary();
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::string text;
    append_utf8(text, byte_level_point(static_cast<unsigned char>(byte)));
    byte_symbols_.push_back(symbol(text));
  }
  read_merges();
  finish_loading();
  if (add_bos_token_ && !special_tokens().bos) {
    throw fail(StatusCode::invalid, "{}: add_bos_token needs a bos_token, which is null",
               (config().directory() / "tokenizer_config.json").string());
  }
  for (const std::string& text : symbol_texts_) {
    const bool known = id(text).has_value() || vocabulary_id(special_text("unk_token")).has_value();
    symbol_ids_.push_back(known ? token_id(text) : kUnresolved);
  }
  find_whole_words();
}

void Gpt2Tokenizer::read_vocabulary() {
  const std::string place = (config().directory() / "vocab.json").string();
  const nlohmann::json entries = read_json_file(place);
  if (!entries.is_object()) throw fail(StatusCode::malformed, "{}: must be a JSON object of token: id", place);
  vocabulary_.reserve(entries.size());
  for (const auto& [token, id] : entries.items()) {
    if (!id.is_number_integer() || id < 0 || id > INT32_MAX - 1) {
      throw fail(StatusCode::malformed, "{}: the id of {} is not a number from 0 to {}", place, inazuma::quoted(token),
                 INT32_MAX - 1);
    }
    const auto value = id.get<int32_t>();
    vocabulary_.emplace(token, value);
    tokens_[value] = token;
    largest_id_ = std::max(largest_id_, value);
  }
  if (largest_id_ < 0) throw fail(StatusCode::malformed, "{}: holds no token", place);
}

uint32_t Gpt2Tokenizer::symbol(std::string_view text) {
  auto [entry, fresh] = symbols_.try_emplace(std::string(text), static_cast<uint32_t>(symbol_texts_.size()));
  if (fresh) symbol_texts_.emplace_back(text);
  return entry->second;
}

/// As the class reads them: the first line and what follows the last line end are never merges, every other line takes
/// a rank, one that has not two fields merges nothing.
void Gpt2Tokenizer::read_merges() {
  const std::string text = read_text_file(config().directory() / "merges.txt");
  const std::vector<std::string_view> lines = split_lines(text);
  for (size_t i = 1; i + 1 < lines.size(); ++i) {
    const std::vector<std::string> fields = split_fields(lines[i]);
    if (fields.size() != 2) continue;
    const uint32_t left = symbol(fields[0]);
    const uint32_t right = symbol(fields[1]);
    merges_.add(left, right, {static_cast<uint32_t>(i), symbol(fields[0] + fields[1])});
  }
}

/// Merging a frequent word again and again would cost most of the time, and a cache would need a lock; so the words
/// that become one token are found once. Asking `whole_words_` gives the very answer that merging would.
void Gpt2Tokenizer::find_whole_words() {
  Merger merger(merges_, MergeOrder::whole_rank);
  std::vector<BpeSymbol> word;
  for (uint32_t target = 0; target < symbol_texts_.size(); ++target) {
    if (symbol_ids_[target] == kUnresolved) continue;
    word.clear();
    bool whole = true;
    std::string bytes;
    for (char32_t point : decode_utf8(symbol_texts_[target])) {
      auto byte = byte_level_byte(point);
      whole = whole && byte.has_value();
      if (!whole) break;
      bytes.push_back(static_cast<char>(*byte));
      word.push_back({byte_symbols_[*byte], 0, 0});
    }
    if (!whole) continue;
    merger.run(word);
    if (word.size() == 1 && word[0].symbol == target) whole_words_.emplace(std::move(bytes), symbol_ids_[target]);
  }
}

std::optional<int32_t> Gpt2Tokenizer::vocabulary_id(std::string_view token) const {
  auto found = vocabulary_.find(token);
  return found == vocabulary_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<std::string> Gpt2Tokenizer::vocabulary_token(int32_t id) const {
  auto found = tokens_.find(id);
  return found == tokens_.end() ? std::nullopt : std::optional(found->second);
}

int32_t Gpt2Tokenizer::symbol_id(uint32_t symbol) const {
  const int32_t id = symbol_ids_[symbol];
  return id == kUnresolved ? convert_token(symbol_texts_[symbol]) : id;  // convert_token says what is missing
}

Pieces Gpt2Tokenizer::tokenize(const AlignedText& text, const EncodeOptions& options) const {
  if (!add_prefix_space_) return tokenize_with_added_tokens(text, options);
  AlignedText prefixed;
  prefixed.push(U' ', {0, 0});
  prefixed.append(text);
  return tokenize_with_added_tokens(std::move(prefixed), options);
}

void Gpt2Tokenizer::tokenize_segment(const AlignedText& segment, Pieces& out) const {
  Merger merger(merges_, MergeOrder::whole_rank);
  std::vector<BpeSymbol> word;
  std::vector<size_t> point;  // of each byte of the word
  std::string bytes;
  for (size_t begin = 0, end = 0; begin < segment.size(); begin = end, ++out.words) {
    end = gpt2_word_end(segment.points, begin);
    bytes.clear();
    point.clear();
    for (size_t i = begin; i < end; ++i) {
      append_utf8(bytes, segment.points[i]);
      point.resize(bytes.size(), i);
    }
    auto whole = whole_words_.find(std::string_view(bytes));
    if (whole != whole_words_.end()) {
      out.push(whole->second, segment.span(begin, end));
      continue;
    }
    word.clear();
    for (uint32_t i = 0; i < bytes.size(); ++i) {
      word.push_back({byte_symbols_[static_cast<unsigned char>(bytes[i])], i, i + 1});
    }
    merger.run(word);
    for (const BpeSymbol& token : word) {
      out.push(symbol_id(token.symbol), segment.span(point[token.begin], point[token.end - 1] + 1));
    }
  }
}

std::string Gpt2Tokenizer::tokens_to_string(std::span<const std::string> tokens) const {
  std::string bytes;
  for (const std::string& token : tokens) bytes += byte_level_decode(token);
  return ignore_errors_ ? drop_ill_formed(bytes) : replace_ill_formed(bytes);
}

Encoding Gpt2Tokenizer::build(const Encoding& first, const Encoding* second) const {
  Encoding out;
  if (add_bos_token_) append_special(out, *special_tokens().bos, 0);
  append_text(out, first, 0, 0);
  if (second == nullptr) return out;
  if (add_bos_token_) append_special(out, *special_tokens().bos, 1);
  append_text(out, *second, 1, 1);
  return out;
}

}  // namespace inazuma
