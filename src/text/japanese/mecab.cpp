#include "text/japanese/mecab.h"

#include <mecab.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>

namespace inazuma {

namespace {

constexpr size_t kLongestText = size_t{16} << 20;
constexpr const char* kDictionaryFile = "sys.dic";

struct KnownDictionary {
  std::string_view name, source;
};
constexpr std::array<KnownDictionary, 3> kKnown = {{
    {"ipadic", "it is built with Inazuma into share/inazuma/mecab/ipadic, or is in the Python package ipadic"},
    {"unidic_lite", "take the directory unidic_lite/dicdir of the Python package unidic-lite"},
    {"unidic", "take the directory unidic/dicdir of the Python package unidic after `python -m unidic download`"},
}};

bool has_dictionary(const std::filesystem::path& directory) {
  std::error_code ignored;
  return std::filesystem::exists(directory / kDictionaryFile, ignored);
}

std::filesystem::path beside_program() {
  std::error_code error;
  auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return {};
  return program.parent_path().parent_path() / "share" / "inazuma" / "mecab" / "ipadic";
}

bool is_utf8(std::string charset) {
  std::transform(charset.begin(), charset.end(), charset.begin(), [](unsigned char c) { return std::tolower(c); });
  return charset == "utf-8" || charset == "utf8";
}

}  // namespace

MecabWords::MecabWords(const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {"mecab"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  std::string shown;
  for (std::string& argument : all) {
    pointers.push_back(argument.data());
    shown += argument + ' ';
  }
  model_.reset(MeCab::Model::create(static_cast<int>(pointers.size()), pointers.data()));
  if (model_) tagger_.reset(model_->createTagger());
  if (!tagger_) {
    throw fail(StatusCode::invalid, "MeCab cannot start with '{}': {}", shown, MeCab::getLastError());
  }
  for (const auto* info = model_->dictionary_info(); info != nullptr; info = info->next) {
    if (is_utf8(info->charset)) continue;
    throw fail(StatusCode::unsupported, "MeCab dictionary {} is in {}; one compiled with `-t UTF-8` is needed",
               info->filename, info->charset);
  }
}

MecabWords::~MecabWords() = default;

std::vector<ByteRange> MecabWords::split(const std::string& text) const {
  if (text.size() > kLongestText) {
    throw fail(StatusCode::too_large, "text of {} bytes, MeCab takes at most {}", text.size(), kLongestText);
  }
  const size_t length = std::min(text.find('\0'), text.size());
  std::vector<ByteRange> words;
  if (length == 0) return words;
  std::unique_ptr<MeCab::Lattice> lattice(model_->createLattice());
  if (!lattice) throw fail(StatusCode::out_of_memory, "MeCab has no memory for a text of {} bytes", length);
  lattice->set_sentence(text.c_str(), length);
  if (!tagger_->parse(lattice.get())) {
    throw fail(StatusCode::tokenization, "MeCab cannot split the text: {}", lattice->what());
  }
  for (const auto* node = lattice->bos_node()->next; node != nullptr && node->stat != MECAB_EOS_NODE;
       node = node->next) {
    const auto begin = static_cast<size_t>(node->surface - lattice->sentence());
    words.push_back({begin, begin + node->length});
  }
  return words;
}

std::filesystem::path find_mecab_dictionary(const std::string& name, const std::filesystem::path& model_directory,
                                            const TokenizerOptions& options) {
  auto known = std::find_if(kKnown.begin(), kKnown.end(), [&](const KnownDictionary& d) { return d.name == name; });
  if (known == kKnown.end()) {
    throw fail(StatusCode::invalid, "mecab_dic is {}, must be ipadic, unidic_lite, unidic or null",
               quoted(std::string_view(name)));
  }
  std::vector<std::filesystem::path> places = {model_directory / "dicdir"};
  auto chosen = options.mecab_dictionaries.find(name);
  if (chosen != options.mecab_dictionaries.end()) places.push_back(chosen->second);
  if (name == "ipadic") {
    if (const char* named = std::getenv("INAZUMA_MECAB_IPADIC")) places.emplace_back(named);
    places.push_back(beside_program());
  }
  std::string looked;
  for (const auto& place : places) {
    if (has_dictionary(place)) return place;
    // A dictionary that somebody named and that is not there must not be replaced by another one silently.
    bool asked_for = chosen != options.mecab_dictionaries.end() && place == chosen->second;
    if (asked_for)
      throw fail(StatusCode::not_found, "MeCab dictionary {}: no {} in {}", name, kDictionaryFile, place.string());
    looked += (looked.empty() ? "" : ", ") + place.string();
  }
  throw fail(StatusCode::not_found,
             "MeCab dictionary {} not found (looked in {}): {}, and name it with --mecab-dic {}=DIRECTORY", name,
             looked, known->source, name);
}

std::vector<std::string> split_arguments(std::string_view text) {
  std::vector<std::string> arguments;
  std::string current;
  bool open = false;
  char quote = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote == '\'' || (quote == '"' && c != '\\')) {
      if (c == quote) {
        quote = 0;
      } else {
        current += c;
      }
    } else if (c == '\\' && i + 1 < text.size()) {
      if (quote == '"' && text[i + 1] != '"' && text[i + 1] != '\\') current += c;
      current += text[++i];
      open = true;
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
      open = true;
    } else if (quote == 0 && std::isspace(static_cast<unsigned char>(c))) {
      if (open) arguments.push_back(std::move(current));
      current.clear();
      open = false;
    } else {
      current += c;
      open = true;
    }
  }
  if (quote != 0) throw fail(StatusCode::invalid, "mecab_option {} has an open quote", quoted(text));
  if (open) arguments.push_back(std::move(current));
  return arguments;
}

}  // namespace inazuma
