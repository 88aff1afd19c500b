#pragma once
// The rules of the house as functions over a tree of files, so that they can be shown a bad one too.

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace inazuma::test {

/// One broken rule: where ("models/bert.cpp:12") and what.
struct Complaint {
  std::string where;
  std::string what;
};

/// Rooms by name, each with every room it may include: itself and all below it.
const std::map<std::string, std::set<std::string>>& visible_rooms();

/// Includes of `src` (a folder of rooms) that go up or sideways, name no room, or name a file that is not there.
/// `generated`: included paths that the build makes.
std::vector<Complaint> bad_includes(const std::filesystem::path& src, const std::set<std::string>& generated = {});

/// Folders under `root` with more than `limit` files of their own.
std::vector<Complaint> crowded_folders(const std::filesystem::path& root, size_t limit);

/// Lines of text files that name a place on one machine.
std::vector<Complaint> machine_paths(const std::filesystem::path& root, const std::vector<std::string>& files);

/// Files that git tracks under `root`, relative to it; empty when this is not a checkout.
std::vector<std::string> tracked_files(const std::filesystem::path& root);

}  // namespace inazuma::test
