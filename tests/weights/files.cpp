#include "weights/files.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <iterator>

namespace inazuma::testing {

namespace fs = std::filesystem;

ScratchDirectory::ScratchDirectory() {
  std::string pattern = (fs::temp_directory_path() / "inazuma-weights-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw Error(StatusCode::internal, "no scratch directory: " + pattern);
  path_ = pattern;
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void ScratchDirectory::write(std::string_view file, std::string_view bytes) const {
  fs::remove(path_ / file);  // a file that is truncated and written again is flushed to disk by some file systems
  std::ofstream out(path_ / file, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) throw fail(StatusCode::internal, "cannot write {}", file);
}

fs::path data_directory() {
  return fs::path(INAZUMA_SOURCE_DIR) / "tests/weights/data";
}

std::string read_bytes(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw fail(StatusCode::internal, "cannot read {}", file.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string little_endian(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(i < 8 ? value >> (8 * i) & 0xFF : 0);
  return out;
}

std::string safetensors(std::string_view header, std::string_view data) {
  return little_endian(header.size(), 8) + std::string(header) + std::string(data);
}

namespace {

std::string local_header(const std::string& name, const std::string& data, const ZipOptions& options) {
  const uint64_t size = options.zero_local ? 0 : data.size();
  return little_endian(0x04034b50, 4) + little_endian(20, 2) + little_endian(options.flags, 2) +
         little_endian(options.method, 2) + little_endian(0, 8) + little_endian(size, 4) + little_endian(size, 4) +
         little_endian(name.size(), 2) + little_endian(6, 2) + name + little_endian(0x4246, 2) + little_endian(2, 2) +
         "ZZ";
}

std::string central_header(const std::string& name, const std::string& data, uint64_t offset,
                           const ZipOptions& options) {
  constexpr uint64_t kElsewhere = 0xFFFFFFFF;
  const std::string extra = !options.zip64
                                ? std::string()
                                : little_endian(1, 2) + little_endian(24, 2) + little_endian(data.size(), 8) +
                                      little_endian(data.size(), 8) + little_endian(offset, 8);
  const uint64_t size = options.zip64 ? kElsewhere : data.size();
  return little_endian(0x02014b50, 4) + little_endian(20, 2) + little_endian(20, 2) + little_endian(options.flags, 2) +
         little_endian(options.method, 2) + little_endian(0, 8) + little_endian(size, 4) + little_endian(size, 4) +
         little_endian(name.size(), 2) + little_endian(extra.size(), 2) + little_endian(0, 10) +
         little_endian(options.zip64 ? kElsewhere : offset, 4) + name + extra;
}

}  // namespace

std::string zip(const ZipContent& content, const ZipOptions& options) {
  std::string out, directory;
  for (const auto& [name, data] : content) {
    directory += central_header(name, data, out.size(), options);
    out += local_header(name, data, options) + data;
  }
  const uint64_t offset = out.size();
  out += directory;
  if (!options.zip64)
    return out + little_endian(0x06054b50, 4) + little_endian(0, 4) + little_endian(content.size(), 2) +
           little_endian(content.size(), 2) + little_endian(directory.size(), 4) + little_endian(offset, 4) +
           little_endian(0, 2);
  const uint64_t record = out.size();
  return out + little_endian(0x06064b50, 4) + little_endian(44, 8) + little_endian(45, 2) + little_endian(45, 2) +
         little_endian(0, 8) + little_endian(content.size(), 8) + little_endian(content.size(), 8) +
         little_endian(directory.size(), 8) + little_endian(offset, 8) +  //
         little_endian(0x07064b50, 4) + little_endian(0, 4) + little_endian(record, 8) + little_endian(1, 4) +
         little_endian(0x06054b50, 4) + little_endian(0, 4) + std::string(12, '\xff') + little_endian(0, 2);
}

Status read_all(const fs::path& directory) {
  const auto store = WeightStore::open(directory);
  if (!store.ok()) return store.status();
  return capture([&] {
    unsigned sum = 0;
    for (const StoredTensor& stored : (*store)->tensors()) {
      const Tensor tensor = (*store)->find(stored.name);
      const auto* bytes = static_cast<const unsigned char*>(tensor.data());
      for (size_t i = 0; i < tensor.bytes(); ++i) sum += bytes[i];
    }
    volatile unsigned keep = sum;  // the reads must happen: they are what a sanitizer looks at
    static_cast<void>(keep);
  });
}

Status read_all(std::string_view file, std::string_view bytes) {
  const ScratchDirectory directory;
  directory.write(file, bytes);
  return read_all(directory.path());
}

namespace pickled {

std::string number(int32_t value) {
  return fmt::format("J{}", little_endian(static_cast<uint32_t>(value), 4));
}
std::string text(std::string_view value) {
  return fmt::format("X{}{}", little_endian(value.size(), 4), value);
}

std::string global(std::string_view module, std::string_view name) {
  return fmt::format("c{}\n{}\n", module, name);
}

std::string tuple(const std::vector<std::string>& items) {
  return fmt::format("({}t", fmt::join(items, ""));
}

std::string dictionary(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string out = "}(";
  for (const auto& [key, value] : items) out += text(key) + value;
  return out + "u";
}

std::string call(const std::string& function, const std::string& arguments) {
  return fmt::format("{}{}R", function, arguments);
}

std::string storage(std::string_view type, std::string_view key, const std::string& count) {
  return tuple({text("storage"), global("torch", type), text(key), text("cpu"), count}) + "Q";
}

std::string tensor(const std::string& storage, const std::string& offset, const std::vector<int32_t>& size,
                   const std::vector<int32_t>& stride) {
  const auto numbers = [](const std::vector<int32_t>& values) {
    std::vector<std::string> items;
    for (int32_t value : values) items.push_back(number(value));
    return tuple(items);
  };
  return call(global("torch._utils", "_rebuild_tensor_v2"),
              tuple({storage, offset, numbers(size), numbers(stride), "\x89",
                     call(global("collections", "OrderedDict"), ")")}));
}

std::string program(const std::string& value) {
  return fmt::format("{}{}.", std::string_view("\x80\x02", 2), value);
}

}  // namespace pickled

std::string torch_zip(const std::string& pickle, const ZipOptions& options) {
  std::string floats;
  for (float value : {0.f, 1.f, 2.f, 3.f, 4.f, 5.f}) floats.append(reinterpret_cast<const char*>(&value), sizeof value);
  return zip(
      {{"archive/data.pkl", pickle}, {"archive/data/0", floats}, {"archive/data/1", ""}, {"archive/version", "3\n"}},
      options);
}

}  // namespace inazuma::testing
