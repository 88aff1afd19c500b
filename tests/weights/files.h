#pragma once
// Directories and files made on the spot, byte by byte.

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "weights/weight_store.h"

namespace inazuma::testing {

/// A directory of its own under the system's temporary one, removed at the end.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void write(std::string_view file, std::string_view bytes) const;

 private:
  std::filesystem::path path_;
};

std::filesystem::path data_directory();
std::string read_bytes(const std::filesystem::path& file);

std::string little_endian(uint64_t value, int bytes);

/// Length, header, data.
std::string safetensors(std::string_view header, std::string_view data);

/// An archive of stored entries in the order given.
struct ZipOptions {
  bool zip64 = false;       ///< sizes, offsets and counts only in the ZIP64 records
  uint16_t method = 0;      ///< 8 = deflated
  uint16_t flags = 0x0808;  ///< data descriptor, UTF-8: as torch writes
  bool zero_local = true;   ///< local headers carry zero sizes, as streamed archives do
};
using ZipContent = std::vector<std::pair<std::string, std::string>>;
std::string zip(const ZipContent& content, const ZipOptions& options = {});

/// Opens `directory` and reads every tensor to the last byte; ok, or what was wrong.
Status read_all(const std::filesystem::path& directory);
/// The same for a directory with one file.
Status read_all(std::string_view file, std::string_view bytes);

// Pieces of pickles. Numbers are BININT, texts BINUNICODE, as torch writes them.
namespace pickled {
std::string number(int32_t value);
std::string text(std::string_view value);
std::string global(std::string_view module, std::string_view name);
std::string tuple(const std::vector<std::string>& items);
std::string dictionary(const std::vector<std::pair<std::string, std::string>>& items);
std::string call(const std::string& function, const std::string& arguments);
std::string storage(std::string_view type, std::string_view key, const std::string& count);
std::string tensor(const std::string& storage, const std::string& offset, const std::vector<int32_t>& size,
                   const std::vector<int32_t>& stride);
std::string program(const std::string& value);  ///< PROTO 2, value, STOP
}  // namespace pickled

/// pytorch_model.bin in zip form around this pickle, with storages "0" (24 bytes: six floats 0..5) and "1" (empty).
std::string torch_zip(const std::string& pickle, const ZipOptions& options = {});

}  // namespace inazuma::testing
