#pragma once
// vocab.txt: one token per line, the line number is the id.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/slow_base.h"

namespace inazuma {

/// As transformers' load_vocab: lines end in LF, CR LF or CR; the last of equal lines gives the token's id, and the ids
/// of the earlier ones have no token.
class Vocabulary {
 public:
  /// Throws Error(not_found), or Error(malformed) when the file is not UTF-8 or has no line.
  static Vocabulary read(const std::filesystem::path& path);

  std::optional<int32_t> id(std::string_view token) const;
  std::optional<std::string> token(int32_t id) const;
  int32_t count() const { return static_cast<int32_t>(ids_.size()); }  ///< different tokens
  int32_t largest_id() const { return static_cast<int32_t>(tokens_.size()) - 1; }
  const StringMap<int32_t>& ids() const { return ids_; }

 private:
  StringMap<int32_t> ids_;
  std::vector<std::string> tokens_;  // by line
};

}  // namespace inazuma
