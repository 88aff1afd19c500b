#include "text/bert/vocabulary.h"

namespace inazuma {

Vocabulary Vocabulary::read(const std::filesystem::path& path) {
  const std::string text = read_text_file(path);
  if (replace_ill_formed(text) != text) throw fail(StatusCode::malformed, "{}: not valid UTF-8", path.string());
  Vocabulary vocabulary;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find_first_of("\r\n", at), text.size());
    vocabulary.ids_[text.substr(at, end - at)] = static_cast<int32_t>(vocabulary.tokens_.size());
    vocabulary.tokens_.push_back(text.substr(at, end - at));
    at = text.compare(end, 2, "\r\n") == 0 ? end + 2 : end + 1;
  }
  if (vocabulary.tokens_.empty()) throw fail(StatusCode::malformed, "{}: no token in it", path.string());
  return vocabulary;
}

std::optional<int32_t> Vocabulary::id(std::string_view token) const {
  auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<std::string> Vocabulary::token(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= tokens_.size()) return std::nullopt;
  const std::string& token = tokens_[static_cast<size_t>(id)];
  if (ids_.at(token) != id) return std::nullopt;
  return token;
}

}  // namespace inazuma
