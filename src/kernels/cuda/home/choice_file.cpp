#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/log.h"
#include "kernels/cuda/home/products.h"

namespace inazuma::cuda {

namespace fs = std::filesystem;

namespace {

/// Raised when our own kernels or the meaning of a key change: old files are then not read.
constexpr int kRevision = 9;

fs::path cache_directory() {
  if (const char* given = std::getenv("INAZUMA_CACHE_DIR"); given != nullptr && *given != '\0') return given;
  if (const char* given = std::getenv("XDG_CACHE_HOME"); given != nullptr && *given != '\0')
    return fs::path(given) / "inazuma";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return fs::path(home) / ".cache" / "inazuma";
  return {};
}

}  // namespace

ChoiceFile::ChoiceFile(const std::string& device_name) {
  const fs::path directory = cache_directory();
  if (directory.empty()) return;
  std::string device = device_name;
  for (char& c : device)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '-';
  path_ = directory / fmt::format("products-{}-cublaslt{}-{}.txt", device, cublasLtGetVersion(), kRevision);
  read(choices_);
}

/// A line: six numbers of the key, then "own", "tiled" and the variant, or "library" and the algorithm's eight words.
void ChoiceFile::read(std::map<Key, Choice>& into) const {
  std::ifstream file(path_);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    Key key;
    for (int64_t& number : key) words >> number;
    std::string way;
    if (!(words >> way)) continue;
    Choice choice;
    if (way == "library") {
      choice.way = Choice::Way::library;
      for (uint64_t& word : choice.algorithm.data) words >> std::hex >> word;
      if (!words) continue;
    } else if (way == "tiled") {
      choice.way = Choice::Way::tiled;
      if (!(words >> choice.variant) || choice.variant < 0 || choice.variant >= kTiledVariants) continue;
    } else if (way != "own") {
      continue;
    }
    into.try_emplace(key, choice);
  }
}

const Choice* ChoiceFile::find(const Key& key) const {
  const auto found = choices_.find(key);
  return found == choices_.end() ? nullptr : &found->second;
}

void ChoiceFile::add(const Key& key, const Choice& choice) {
  choices_[key] = choice;
  changed_ = true;
}

void ChoiceFile::save() {
  if (!changed_ || path_.empty()) return;
  changed_ = false;
  std::map<Key, Choice> all = choices_;
  read(all);
  const std::string draft = fmt::format("{}.{}", path_, getpid());
  std::error_code error;
  fs::create_directories(fs::path(path_).parent_path(), error);
  {
    std::ofstream file(draft);
    for (const auto& [key, choice] : all) {
      for (const int64_t number : key) file << number << ' ';
      if (choice.way == Choice::Way::own) file << "own";
      if (choice.way == Choice::Way::tiled) file << "tiled " << choice.variant;
      if (choice.way == Choice::Way::library) {
        file << "library" << std::hex;
        for (const uint64_t word : choice.algorithm.data) file << ' ' << word;
        file << std::dec;
      }
      file << '\n';
    }
    if (!file.flush()) error = std::make_error_code(std::errc::io_error);
  }
  if (!error) fs::rename(draft, path_, error);
  if (error) {
    log::warn("the chosen products could not be kept; they are searched again next time",
              {{"file", path_}, {"why", error.message()}});
    fs::remove(draft, error);
  }
}

}  // namespace inazuma::cuda
