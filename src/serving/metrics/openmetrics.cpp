#include "serving/metrics/openmetrics.h"

#include <algorithm>

namespace inazuma {

namespace {

constexpr std::string_view kTotal = "_total";

// "# TYPE name type" -> name and the rest of the line.
std::pair<std::string_view, std::string_view> split_comment(std::string_view line) {
  line.remove_prefix(std::string_view("# TYPE ").size());
  const size_t space = line.find(' ');
  return {line.substr(0, space), space == std::string_view::npos ? "" : line.substr(space + 1)};
}

// Help texts may hold quotes in the one format, in the other they are escaped.
std::string escaped_help(std::string_view help) {
  std::string out;
  for (const char c : help) {
    if (c == '"') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string openmetrics(std::string_view text) {
  std::string out, help;
  out.reserve(text.size() + 8);
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size() - 1);
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (line.starts_with("# HELP ")) {
      help = escaped_help(split_comment(line).second);  // written behind the type, which decides the family's name
    } else if (line.starts_with("# TYPE ")) {
      auto [name, type] = split_comment(line);
      if (type == "counter" && name.ends_with(kTotal))
        name.remove_suffix(kTotal.size());
      else if (type == "counter" || type == "untyped")
        type = "unknown";
      out.append("# TYPE ").append(name).append(" ").append(type).append("\n");
      out.append("# HELP ").append(name).append(" ").append(help).append("\n");
      help.clear();
    } else {
      out.append(line).append("\n");
    }
  }
  return out + "# EOF\n";
}

}  // namespace inazuma
