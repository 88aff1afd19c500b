// A fast T5 tokenizer without tokenizer.json: the pipeline that transformers 4.57 converts spiece.model to
// (convert_slow_tokenizer.py: T5Converter).
#include <algorithm>
#include <map>
#include <tuple>

#include "base/json_file.h"
#include "text/fields/pattern_field.h"
#include "text/sentencepiece/model_file.h"
#include "text/slow/tokenizer_config.h"
#include "text/t5/t5_tokenizer.h"
#include "text/unicode.h"

namespace inazuma {

namespace {

using Json = nlohmann::json;

constexpr const char* kUnderline = "\xE2\x96\x81";  // U+2581

/// As a parser reads it: non-negative numbers are unsigned.
uint32_t json_id(size_t id) {
  return static_cast<uint32_t>(id);
}

struct ScoredPiece {
  std::string text;
  float score = 0;
};

/// The file's pieces, then the sentinels that the vocabulary is extended by, highest first.
std::vector<ScoredPiece> vocabulary(const PieceModelFile& file, int64_t extra_ids) {
  std::vector<ScoredPiece> pieces;
  for (const ModelPiece& piece : file.pieces) pieces.push_back({piece.text, piece.score});
  for (int64_t i = extra_ids; i-- > 0;) pieces.push_back({fmt::format("<extra_id_{}>", i), 0.0f});
  return pieces;
}

/// Every way to cut a piece into two pieces, best scores first; among equals the order of generate_merges.
Json merges_of(const std::vector<ScoredPiece>& pieces, const std::map<std::string, size_t>& ids) {
  struct Merge {
    std::string left, right;
    float score;
    size_t left_length, right_length;  // code points
  };
  std::vector<Merge> merges;
  for (const ScoredPiece& piece : pieces) {
    std::vector<Merge> local;
    const std::u32string points = decode_utf8(piece.text);
    for (size_t cut = 1; cut < points.size(); ++cut) {
      Merge merge{encode_utf8(points.substr(0, cut)), encode_utf8(points.substr(cut)), piece.score, cut,
                  points.size() - cut};
      if (ids.contains(merge.left) && ids.contains(merge.right)) local.push_back(std::move(merge));
    }
    std::stable_sort(local.begin(), local.end(), [&](const Merge& a, const Merge& b) {
      return std::pair(ids.at(a.left), ids.at(a.right)) < std::pair(ids.at(b.left), ids.at(b.right));
    });
    std::move(local.begin(), local.end(), std::back_inserter(merges));
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    return std::tuple(a.score, a.left_length, a.right_length) > std::tuple(b.score, b.left_length, b.right_length);
  });
  Json out = Json::array();
  for (Merge& merge : merges) out.push_back({std::move(merge.left), std::move(merge.right)});
  return out;
}

Json model_of(const PieceModelFile& file, const std::vector<ScoredPiece>& pieces, const std::string& place) {
  const auto unknown = std::find_if(file.pieces.begin(), file.pieces.end(),
                                    [](const ModelPiece& piece) { return piece.type == PieceType::unknown; });
  if (file.model == PieceModel::unigram) {
    Json vocab = Json::array();
    for (const ScoredPiece& piece : pieces) vocab.push_back({piece.text, piece.score});
    return {{"type", "Unigram"},
            {"unk_id", json_id(static_cast<size_t>(unknown - file.pieces.begin()))},
            {"vocab", std::move(vocab)},
            {"byte_fallback", false}};
  }
  if (file.model != PieceModel::bpe) {
    throw fail(StatusCode::unsupported, "{}: only unigram and BPE models can be converted to a fast tokenizer", place);
  }
  std::map<std::string, size_t> ids;
  for (size_t id = 0; id < pieces.size(); ++id) ids[pieces[id].text] = id;
  Json vocab = Json::object();
  for (const auto& [text, id] : ids) vocab[text] = json_id(id);
  return {
      {"type", "BPE"},    {"vocab", std::move(vocab)}, {"merges", merges_of(pieces, ids)}, {"unk_token", unknown->text},
      {"fuse_unk", true}, {"byte_fallback", false}};
}

}  // namespace

Json t5_pipeline(const std::filesystem::path& directory) {
  const TokenizerConfig config = TokenizerConfig::read(directory);
  const std::filesystem::path path = directory / "spiece.model";
  const PieceModelFile file = read_piece_model(read_text_file(path));
  const int64_t extra_ids = config.integer("extra_ids", 100);
  if (extra_ids < 0 || extra_ids > 100000)
    throw fail(StatusCode::invalid, "{}: 'extra_ids' is {}, must be from 0 to 100000",
               (directory / "tokenizer_config.json").string(), extra_ids);
  const std::vector<ScoredPiece> pieces = vocabulary(file, extra_ids);
  const auto end =
      std::find_if(pieces.begin(), pieces.end(), [](const ScoredPiece& piece) { return piece.text == "</s>"; });
  if (end == pieces.end())
    throw fail(StatusCode::malformed, "{}: the piece '</s>' is missing, which ends every T5 text", path.string());
  const uint32_t end_id = json_id(static_cast<size_t>(end - pieces.begin()));

  Json pipeline = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  pipeline["added_tokens"] = Json::array();
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    const ModelPiece& piece = file.pieces[id];
    if (piece.type != PieceType::control && piece.type != PieceType::user_defined) continue;
    pipeline["added_tokens"].push_back({{"id", json_id(id)},
                                        {"content", piece.text},
                                        {"single_word", false},
                                        {"lstrip", false},
                                        {"rstrip", false},
                                        {"normalized", false},
                                        {"special", piece.type == PieceType::control}});
  }
  Json steps = Json::array();
  if (!file.normalizer.charsmap.empty())
    steps.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", encode_base64(file.normalizer.charsmap)}});
  steps.push_back({{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}});
  steps.push_back({{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", kUnderline}});
  pipeline["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::move(steps)}};
  const char* scheme = !config.flag("add_prefix_space", true) ? "never"
                       : config.flag("legacy", true)          ? "always"
                                                              : "first";
  const Json metaspace = {
      {"type", "Metaspace"}, {"replacement", kUnderline}, {"prepend_scheme", scheme}, {"split", true}};
  pipeline["pre_tokenizer"] = metaspace;
  pipeline["decoder"] = metaspace;
  const auto text_step = [](const char* name) { return Json{{"Sequence", {{"id", name}, {"type_id", 0}}}}; };
  const Json end_step = {{"SpecialToken", {{"id", "</s>"}, {"type_id", 0}}}};
  pipeline["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", Json::array({text_step("A"), end_step})},
      {"pair", Json::array({text_step("A"), end_step, text_step("B"), end_step})},
      {"special_tokens",
       {{"</s>", {{"id", "</s>"}, {"ids", Json::array({end_id})}, {"tokens", Json::array({"</s>"})}}}}}};
  pipeline["model"] = model_of(file, pieces, path.string());
  return pipeline;
}

}  // namespace inazuma
