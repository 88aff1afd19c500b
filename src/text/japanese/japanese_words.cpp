#include "text/japanese/japanese_words.h"

namespace inazuma {

JapaneseWords::JapaneseWords(const TokenizerConfig& config, const TokenizerOptions& options, TextSet never_split)
    : lower_case_(config.flag("do_lower_case", false)), never_split_(std::move(never_split)) {
  if (!config.flag("do_word_tokenize", true)) return;
  const std::string type = config.text("word_tokenizer_type", "basic");
  if (type == "basic") {
    kind_ = Kind::basic;
    basic_.lower_case = lower_case_;
    basic_.space_ideographs = false;
    basic_.never_split = never_split_;
  } else if (type == "mecab") {
    kind_ = Kind::mecab;
    read_mecab_arguments(config, options);
  } else if (type == "sudachi" || type == "jumanpp") {
    throw fail(StatusCode::unsupported, "{}: word_tokenizer_type {} is not built in; mecab and basic are",
               config.directory().string(), type);
  } else {
    throw fail(StatusCode::invalid, "{}: word_tokenizer_type is {}, must be mecab or basic",
               config.directory().string(), quoted(std::string_view(type)));
  }
}

void JapaneseWords::read_mecab_arguments(const TokenizerConfig& config, const TokenizerOptions& options) {
  const std::string place = config.directory().string() + ": mecab_kwargs";
  std::optional<std::string> dictionary = "unidic_lite";  // MecabTokenizer's own default
  std::string option;
  auto given = config.values().find("mecab_kwargs");
  if (given != config.values().end() && !given->is_null()) {
    if (!given->is_object()) throw fail(StatusCode::invalid, "{}: must be an object", place);
    for (const auto& [key, value] : given->items()) {
      const bool is_text = value.is_string() || value.is_null();
      if (key == "mecab_dic" && is_text) {
        dictionary = value.is_null() ? std::nullopt : std::optional(value.get<std::string>());
      } else if (key == "mecab_option" && is_text) {
        option = value.is_null() ? "" : value.get<std::string>();
      } else if (key == "normalize_text" && value.is_boolean()) {
        normalize_ = value.get<bool>();
      } else {
        throw fail(StatusCode::invalid,
                   "{}: {} is not understood; mecab_dic and mecab_option (strings or null) and normalize_text (true or "
                   "false) are",
                   place, quoted(std::string_view(key)));
      }
    }
  }
  std::vector<std::string> arguments;
  if (dictionary) {
    auto directory = find_mecab_dictionary(*dictionary, config.directory(), options);
    auto settings = directory / "mecabrc";
    arguments = {"-d", directory.string(), "-r", std::filesystem::exists(settings) ? settings.string() : "/dev/null"};
    dictionary_ = *dictionary;
  }
  for (std::string& argument : split_arguments(option)) arguments.push_back(std::move(argument));
  mecab_ = std::make_shared<const MecabWords>(arguments);
}

std::string JapaneseWords::description() const {
  if (kind_ == Kind::none) return "nothing";
  if (kind_ == Kind::basic) return "BasicTokenizer";
  return dictionary_.empty() ? "MeCab" : "MeCab with " + dictionary_;
}

void JapaneseWords::for_each(const AlignedText& text, const std::function<void(const AlignedText&)>& visit) const {
  if (kind_ == Kind::mecab) return split_by_mecab(text, visit);
  if (kind_ == Kind::none) return visit(text);
  for (const AlignedText& word : basic_.tokenize(text)) visit(word);
}

void JapaneseWords::split_by_mecab(const AlignedText& text,
                                   const std::function<void(const AlignedText&)>& visit) const {
  const AlignedText normal = normalize_ ? normalize(text, NormalForm::nfkc) : text;
  std::string bytes;
  bytes.reserve(normal.size() * 3);
  std::vector<uint32_t> point_at;  // by byte
  for (size_t i = 0; i < normal.size(); ++i) {
    append_utf8(bytes, normal.points[i]);
    point_at.resize(bytes.size(), static_cast<uint32_t>(i));
  }
  point_at.push_back(static_cast<uint32_t>(normal.size()));
  for (const ByteRange& range : mecab_->split(bytes)) {
    const AlignedText word = normal.slice(point_at[range.begin], point_at[range.end]);
    if (word.empty()) continue;
    const bool lower = lower_case_ && !never_split_.contains(word.points);
    visit(lower ? python_lower(word) : word);
  }
}

}  // namespace inazuma
