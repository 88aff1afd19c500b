#pragma once
// Japanese words by MeCab: one shared model, one lattice per call.

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace MeCab {
class Model;
class Tagger;
}  // namespace MeCab

namespace inazuma {

/// Bytes [begin, end) of the text given to MecabWords::split.
struct ByteRange {
  size_t begin = 0, end = 0;
};

class MecabWords {
 public:
  /// `arguments` as of the mecab command, without the program's name. Throws Error(invalid) when MeCab cannot open the
  /// dictionary and Error(unsupported) when its character set is not UTF-8.
  explicit MecabWords(const std::vector<std::string>& arguments);
  ~MecabWords();

  /// Surfaces of the best path, without the whitespace between them. Text after a NUL is not seen, as through MeCab's C
  /// interface. Safe for concurrent calls. Throws Error(too_large) above 16 MiB.
  std::vector<ByteRange> split(const std::string& text) const;

 private:
  std::unique_ptr<MeCab::Model> model_;
  std::unique_ptr<MeCab::Tagger> tagger_;
};

/// Where the dictionary called `name` (ipadic, unidic_lite, unidic) is: `model_directory`/dicdir, the options, for
/// ipadic $INAZUMA_MECAB_IPADIC and ../share/inazuma/mecab/ipadic beside the program. Throws Error(not_found) that says
/// where to get it, Error(invalid) for another name.
std::filesystem::path find_mecab_dictionary(const std::string& name, const std::filesystem::path& model_directory,
                                            const TokenizerOptions& options);

/// Splits an option string into arguments as a shell does: blanks separate, quotes and backslashes protect.
/// Throws Error(invalid) on an open quote.
std::vector<std::string> split_arguments(std::string_view text);

}  // namespace inazuma
