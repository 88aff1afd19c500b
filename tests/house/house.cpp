#include "house/house.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <memory>
#include <regex>
#include <utility>

namespace inazuma::test {

namespace fs = std::filesystem;

namespace {

// Arrows of docs/ARCHITECTURE.md: what stands directly below each room.
const std::map<std::string, std::vector<std::string>> kBelow = {
    {"cli", {"frontends"}},
    {"frontends", {"serving"}},
    {"serving", {"engine", "text"}},
    {"engine", {"models"}},
    {"models", {"kernels", "weights"}},
    {"kernels", {"tensor"}},
    {"weights", {"tensor"}},
    {"tensor", {"base"}},
    {"text", {"base"}},
    {"base", {}},
};

void descend(const std::string& room, std::set<std::string>& seen) {
  if (!seen.insert(room).second) return;
  for (const std::string& below : kBelow.at(room)) descend(below, seen);
}

bool is_source(const fs::path& path) {
  static const std::set<std::string> kEndings = {".h", ".cpp", ".cu", ".cuh", ".inc"};
  return kEndings.contains(path.extension().string());
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(std::move(line));
  return lines;
}

std::string place(const fs::path& path, size_t line) {
  return path.generic_string() + ":" + std::to_string(line);
}

// What is wrong with one include, or nothing.
std::string fault(const fs::path& src, const std::string& room, const std::string& included,
                  const std::set<std::string>& generated) {
  const std::string target = included.substr(0, included.find('/'));
  if (included.find('/') == std::string::npos || !visible_rooms().contains(target))
    return "\"" + included + "\" does not begin with a room";
  if (!visible_rooms().at(room).contains(target)) return room + " must not see " + target + " (\"" + included + "\")";
  if (!generated.contains(included) && !fs::exists(src / included)) return "\"" + included + "\" does not exist";
  return "";
}

}  // namespace

const std::map<std::string, std::set<std::string>>& visible_rooms() {
  static const auto kVisible = [] {
    std::map<std::string, std::set<std::string>> out;
    for (const auto& [room, below] : kBelow) descend(room, out[room]);
    return out;
  }();
  return kVisible;
}

std::vector<Complaint> bad_includes(const fs::path& src, const std::set<std::string>& generated) {
  static const std::regex kInclude(R"re(^\s*#\s*include\s*"([^"]*)")re");
  std::vector<Complaint> out;
  for (const auto& entry : fs::recursive_directory_iterator(src)) {
    if (!entry.is_regular_file() || !is_source(entry.path())) continue;
    const fs::path relative = entry.path().lexically_relative(src);
    const std::string room = relative.begin()->string();
    if (!visible_rooms().contains(room)) {
      out.push_back({relative.generic_string(), "lies in no room of the house"});
      continue;
    }
    const std::vector<std::string> lines = lines_of(entry.path());
    for (size_t i = 0; i < lines.size(); ++i) {
      std::smatch match;
      if (!std::regex_search(lines[i], match, kInclude)) continue;
      if (std::string what = fault(src, room, match[1], generated); !what.empty())
        out.push_back({place(relative, i + 1), std::move(what)});
    }
  }
  return out;
}

std::vector<Complaint> crowded_folders(const fs::path& root, size_t limit) {
  std::map<fs::path, size_t> files;
  for (const auto& entry : fs::recursive_directory_iterator(root))
    if (entry.is_regular_file()) ++files[entry.path().parent_path().lexically_relative(root)];
  std::vector<Complaint> out;
  for (const auto& [folder, count] : files)
    if (count > limit)
      out.push_back({folder.generic_string(), std::to_string(count) + " files, at most " + std::to_string(limit)});
  return out;
}

std::vector<Complaint> machine_paths(const fs::path& root, const std::vector<std::string>& files) {
  // Written in pieces, or this file would complain about itself.
  static const std::regex kPlaces(
      "(^|[^A-Za-z0-9_.~}-])/(wo"
      "rk|opt/de"
      "v|ro"
      "ot|ho"
      "me/[a-z][a-z0-9_-]*|Use"
      "rs/[A-Za-z]+)/");
  std::vector<Complaint> out;
  for (const std::string& file : files) {
    const std::vector<std::string> lines = lines_of(root / file);
    const bool binary =
        std::any_of(lines.begin(), lines.begin() + static_cast<ptrdiff_t>(std::min<size_t>(lines.size(), 50)),
                    [](const std::string& line) { return line.find('\0') != std::string::npos; });
    if (binary) continue;
    for (size_t i = 0; i < lines.size(); ++i) {
      if (lines[i].size() > 4096) continue;  // data, and std::regex recurses
      std::smatch match;
      if (std::regex_search(lines[i], match, kPlaces))
        out.push_back({place(file, i + 1), "names a place on one machine: " + match.str()});
    }
  }
  return out;
}

std::vector<std::string> tracked_files(const fs::path& root) {
  const std::string command = "git -C '" + root.string() + "' ls-files -z 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::vector<std::string> out;
  std::string name;
  for (int c = pipe ? std::fgetc(pipe.get()) : EOF; c != EOF; c = std::fgetc(pipe.get())) {
    if (c != 0) {
      name += static_cast<char>(c);
    } else if (fs::is_regular_file(root / name)) {
      out.push_back(std::exchange(name, ""));
    } else {
      name.clear();
    }
  }
  return out;
}

}  // namespace inazuma::test
