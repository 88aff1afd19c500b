#pragma once
// A whole file as read-only memory.

#include <filesystem>
#include <string>
#include <string_view>

namespace inazuma {

/// Read-only private mapping of a regular file; move-only. Another process that truncates the file while it is mapped
/// makes reads fault: keep the mapping no longer than loading takes.
class MappedFile {
 public:
  /// Throws Error: not_found, or invalid for what is not a readable regular file.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;

  std::string_view bytes() const { return {static_cast<const char*>(data_), size_}; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace inazuma
