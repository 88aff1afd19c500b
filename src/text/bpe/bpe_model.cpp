#include "text/bpe/bpe_model.h"

#include <algorithm>

namespace inazuma {

BpeModel::BpeModel(StringMap<int32_t> vocabulary, const Merges& merges, BpeOptions options)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)), byte_ids_(256, -1) {
  for (const auto& [token, id] : vocabulary_) {
    if (id < 0) throw fail(StatusCode::malformed, "token {} has the negative id {}", inazuma::quoted(token), id);
  }
  for (unsigned byte = 0; byte < 256; ++byte) {
    auto found = vocabulary_.find(fmt::format("<0x{:02X}>", byte));
    if (found != vocabulary_.end()) byte_ids_[byte] = found->second;
  }
  if (options_.unk_token) {
    auto found = vocabulary_.find(*options_.unk_token);
    if (found != vocabulary_.end()) unknown_ = found->second;
  }
  add_merges(merges);
}

int32_t BpeModel::known_id(std::string_view token, size_t merge) const {
  auto found = vocabulary_.find(token);
  if (found == vocabulary_.end()) {
    throw fail(StatusCode::malformed, "merge {} needs {}, which is not in the vocabulary", merge,
               inazuma::quoted(token));
  }
  return found->second;
}

void BpeModel::add_merges(const Merges& merges) {
  const size_t prefix = options_.continuing_subword_prefix.size();
  for (size_t i = 0; i < merges.size(); ++i) {
    const auto& [left, right] = merges[i];
    const int32_t left_id = known_id(left, i);
    const int32_t right_id = known_id(right, i);
    if (right.size() < prefix) {
      throw fail(StatusCode::malformed, "merge {}: {} is shorter than the prefix of continuing pieces", i,
                 inazuma::quoted(right));
    }
    const int32_t result = known_id(left + right.substr(prefix), i);
    merges_.add(static_cast<uint32_t>(left_id), static_cast<uint32_t>(right_id),
                {static_cast<uint32_t>(i), static_cast<uint32_t>(result)});
  }
}

int32_t BpeModel::unknown_id() const {
  if (!unknown_) {
    throw fail(StatusCode::tokenization, "the unknown token {} is not in the vocabulary",
               inazuma::quoted(*options_.unk_token));
  }
  return *unknown_;
}

bool BpeModel::push_bytes(std::string_view character, std::vector<BpeSymbol>& symbols) const {
  auto id = [&](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
  if (!std::all_of(character.begin(), character.end(), [&](char byte) { return id(byte) >= 0; })) return false;
  for (char byte : character) symbols.push_back({static_cast<uint32_t>(id(byte)), 0, 1});
  return true;
}

/// First symbols of a word, each with its length in `end`. As in the library, an unknown run that is still open goes
/// behind byte symbols that follow it.
std::vector<BpeSymbol> BpeModel::split(std::string_view word) const {
  std::vector<BpeSymbol> symbols;
  symbols.reserve(word.size());
  uint32_t open = 0;  // length of the unknown token not yet pushed
  auto close = [&] {
    if (open > 0) symbols.push_back({static_cast<uint32_t>(*unknown_), 0, open});
    open = 0;
  };
  std::string decorated;
  const std::vector<uint32_t> starts = byte_offsets(word);
  for (size_t i = 0; i + 1 < starts.size(); ++i) {
    const uint32_t length = starts[i + 1] - starts[i];
    decorated = i > 0 ? options_.continuing_subword_prefix : "";
    decorated += word.substr(starts[i], length);
    if (i + 2 == starts.size()) decorated += options_.end_of_word_suffix;
    auto found = vocabulary_.find(std::string_view(decorated));
    if (found != vocabulary_.end()) {
      close();
      symbols.push_back({static_cast<uint32_t>(found->second), 0, length});
      continue;
    }
    if (options_.byte_fallback && push_bytes(decorated, symbols)) continue;
    if (!options_.unk_token) continue;
    unknown_id();
    if (!options_.fuse_unk) close();
    open += length;
  }
  close();
  uint32_t at = 0;
  for (BpeSymbol& symbol : symbols) {
    symbol.begin = at;
    at = symbol.end += at;
  }
  return symbols;
}

void BpeModel::tokenize(std::string_view word, std::vector<BpeToken>& out) const {
  if (word.empty()) return;
  if (options_.ignore_merges) {
    auto found = vocabulary_.find(word);
    if (found != vocabulary_.end()) {
      out.push_back({found->second, 0, static_cast<uint32_t>(word.size())});
      return;
    }
  }
  std::vector<BpeSymbol> symbols = split(word);
  Merger(merges_, MergeOrder::lowest_pair).run(symbols);
  for (const BpeSymbol& symbol : symbols) {
    out.push_back({static_cast<int32_t>(symbol.symbol), symbol.begin, symbol.end});
  }
}

}  // namespace inazuma
