#include "text/golden_records.h"

#include <zlib.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

namespace inazuma::golden {

std::filesystem::path data_directory() {
  return std::filesystem::path(INAZUMA_SOURCE_DIR) / "tests" / "text" / "data";
}

std::vector<std::string> variants() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(data_directory())) {
    if (std::filesystem::exists(entry.path() / "golden.jsonl.gz")) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void for_each_record(const std::string& variant, const std::function<void(const nlohmann::json&)>& visit) {
  auto path = data_directory() / variant;
  if (std::filesystem::is_directory(path)) path /= "golden.jsonl.gz";
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file) throw std::runtime_error("cannot open " + path.string());
  std::string text;
  std::vector<char> block(1 << 20);
  for (int count; (count = gzread(file.get(), block.data(), static_cast<unsigned>(block.size()))) != 0;) {
    if (count < 0) throw std::runtime_error("broken gzip: " + path.string());
    text.append(block.data(), static_cast<size_t>(count));
  }
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    visit(nlohmann::json::parse(text.substr(at, end - at)));
    at = end + 1;
  }
}

std::string decode_base64(const std::string& text) {
  static const std::string kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int held = 0;
  for (char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(kAlphabet.find(c));
    held += 6;
    if (held < 8) continue;
    held -= 8;
    out.push_back(static_cast<char>(bits >> held & 0xFF));
  }
  return out;
}

std::string text_of(const nlohmann::json& record) {
  return record.contains("t") ? record["t"].get<std::string>() : decode_base64(record["b"]);
}

}  // namespace inazuma::golden
