// Putting encodings together and cutting them: the parts of prepare_for_model that do not depend on the class.
#include <algorithm>
#include <array>

#include "text/slow_base.h"

namespace inazuma {

void append_text(Encoding& out, const Encoding& part, int32_t type_id, int32_t sequence) {
  out.ids.insert(out.ids.end(), part.ids.begin(), part.ids.end());
  out.offsets.insert(out.offsets.end(), part.offsets.begin(), part.offsets.end());
  out.word.insert(out.word.end(), part.word.begin(), part.word.end());
  out.special.insert(out.special.end(), part.special.begin(), part.special.end());
  out.type_ids.resize(out.ids.size(), type_id);
  out.sequence.resize(out.ids.size(), sequence);
}

void append_special(Encoding& out, int32_t id, int32_t type_id) {
  out.ids.push_back(id);
  out.type_ids.push_back(type_id);
  out.offsets.push_back({0, 0});
  out.special.push_back(1);
  out.word.push_back(-1);
  out.sequence.push_back(-1);
}

Encoding slice(const Encoding& encoding, size_t begin, size_t end) {
  auto cut = [&](const auto& all) {
    return std::decay_t<decltype(all)>(all.begin() + static_cast<ptrdiff_t>(begin),
                                       all.begin() + static_cast<ptrdiff_t>(end));
  };
  return {cut(encoding.ids),     cut(encoding.type_ids), cut(encoding.offsets),
          cut(encoding.special), cut(encoding.word),     cut(encoding.sequence)};
}

namespace {

void drop(Encoding& encoding, size_t count, TruncationSide side) {
  count = std::min(count, encoding.size());
  if (count == 0) return;
  encoding = side == TruncationSide::right ? slice(encoding, 0, encoding.size() - count)
                                           : slice(encoding, count, encoding.size());
}

}  // namespace

void truncate_longest_first(Encoding& first, Encoding* second, size_t room, TruncationSide side) {
  const size_t second_size = second != nullptr ? second->size() : 0;
  const size_t length = first.size() + second_size;
  if (length <= room) return;
  const size_t excess = length - room;
  if (second == nullptr) return drop(first, excess, side);
  const size_t difference = first.size() > second_size ? first.size() - second_size : second_size - first.size();
  const size_t from_longer = std::min(difference, excess);
  const size_t from_both = excess - from_longer;
  const bool first_longer = first.size() > second_size;
  drop(first, (first_longer ? from_longer : 0) + from_both / 2, side);
  drop(*second, (first_longer ? 0 : from_longer) + from_both - from_both / 2, side);
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  size_t at = 0;
  for (size_t found; (found = text.find(from, at)) != std::string_view::npos; at = found + from.size()) {
    out.append(text.substr(at, found - at)).append(to);
  }
  return out.append(text.substr(at));
}

std::string clean_up_spaces(std::string text) {
  using Rule = std::pair<std::string_view, std::string_view>;
  static constexpr std::array<Rule, 10> kRules = {{{" .", "."},
                                                   {" ?", "?"},
                                                   {" !", "!"},
                                                   {" ,", ","},
                                                   {" ' ", "'"},
                                                   {" n't", "n't"},
                                                   {" 'm", "'m"},
                                                   {" 's", "'s"},
                                                   {" 've", "'ve"},
                                                   {" 're", "'re"}}};
  for (const auto& [from, to] : kRules) {
    if (text.find(from) != std::string::npos) text = replace_all(text, from, to);
  }
  return text;
}

}  // namespace inazuma
