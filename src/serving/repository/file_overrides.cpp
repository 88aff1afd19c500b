#include "serving/repository/file_overrides.h"

#include <unistd.h>

#include <atomic>
#include <cstring>
#include <fstream>

namespace inazuma {

namespace fs = std::filesystem;

std::filesystem::path write_file_overrides(const std::string& model, const LoadOverrides& overrides) {
  static std::atomic<int> count = 0;
  const fs::path root = fs::temp_directory_path() / fmt::format("inazuma-{}-{}", getpid(), count++);
  const fs::path folder = root / model;
  fs::create_directories(folder);
  try {
    for (const auto& [name, bytes] : overrides.files) {
      const fs::path relative = fs::path(name).lexically_normal();
      if (name.empty() || relative.is_absolute() || relative.begin()->string() == ".." ||
          name.find('\0') != std::string::npos || !relative.has_filename())
        throw fail(StatusCode::invalid,
                   "file override {}: the path must lie below the model's directory, as VERSION/FILE", quoted(name));
      fs::create_directories((folder / relative).parent_path());
      std::ofstream file(folder / relative, std::ios::binary);
      file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
      if (!file.flush())
        throw fail(StatusCode::internal, "file override {} cannot be written: {}", quoted(name), std::strerror(errno));
    }
  } catch (...) {
    fs::remove_all(root);
    throw;
  }
  return root;
}

}  // namespace inazuma
