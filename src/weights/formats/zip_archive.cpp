#include "weights/formats/zip_archive.h"

#include <cstdint>

#include "base/status.h"
#include "weights/bytes.h"

namespace inazuma {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50, kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50, kEnd64Locator = 0x07064b50;
constexpr size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kEnd64Size = 56, kLocatorSize = 20;
constexpr size_t kMaxComment = 0xFFFF;
constexpr uint16_t kIn64Short = 0xFFFF;
constexpr uint32_t kIn64 = 0xFFFFFFFF;  // "the true value is in the ZIP64 record"

struct Directory {
  uint64_t entries, size, offset;
};

class Reader {
 public:
  Reader(std::string_view file, std::string_view bytes) : file_(file), bytes_(bytes) {}

  template <class T>
  T at(uint64_t offset) const {
    return load_little_endian<T>(bytes_, offset);
  }
  bool has(uint64_t offset, uint64_t size) const { return offset <= bytes_.size() && size <= bytes_.size() - offset; }

  Error malformed(std::string_view what) const {
    return fail(StatusCode::malformed, "{}: corrupt zip archive: {}", file_, what);
  }
  Error unsupported(std::string_view what) const { return fail(StatusCode::unsupported, "{}: {}", file_, what); }

  size_t find_end() const {
    if (bytes_.size() >= kEndSize) {
      const size_t last = bytes_.size() - kEndSize;
      const size_t first = last > kMaxComment ? last - kMaxComment : 0;
      for (size_t at_ = last + 1; at_-- > first;)
        if (at<uint32_t>(at_) == kEnd && at<uint16_t>(at_ + 20) == last - at_) return at_;
    }
    throw malformed("it has no end record; the file may be cut short");
  }

  Directory directory() const {
    const size_t end = find_end();
    if (at<uint16_t>(end + 4) != 0 && at<uint16_t>(end + 4) != kIn64Short)
      throw unsupported("a zip archive over several disks is not supported");
    Directory found{at<uint16_t>(end + 10), at<uint32_t>(end + 12), at<uint32_t>(end + 16)};
    if (found.entries == kIn64Short || found.size == kIn64 || found.offset == kIn64) found = directory64(end, found);
    if (!has(found.offset, found.size)) throw malformed("its directory lies outside the file");
    if (found.entries > found.size / kCentralSize)
      throw malformed("its directory is too small for the number of entries");
    return found;
  }

  std::string_view entry(uint64_t header, const Directory& directory, uint64_t* next, std::string_view* name) const {
    const uint64_t end = directory.offset + directory.size;
    if (header + kCentralSize > end || at<uint32_t>(header) != kCentralHeader)
      throw malformed("a directory entry is missing or damaged");
    const uint64_t name_size = at<uint16_t>(header + 28), extra_size = at<uint16_t>(header + 30);
    *next = header + kCentralSize + name_size + extra_size + at<uint16_t>(header + 32);
    if (*next > end) throw malformed("a directory entry runs over its end");
    *name = bytes_.substr(header + kCentralSize, name_size);
    if ((at<uint16_t>(header + 8) & 1u) != 0)
      throw unsupported(fmt::format("zip entry {} is encrypted", inazuma::quoted(*name)));
    if (at<uint16_t>(header + 10) != 0)
      throw unsupported(
          fmt::format("zip entry {} is compressed; torch stores entries uncompressed: save the model again",
                      inazuma::quoted(*name)));
    uint64_t compressed = at<uint32_t>(header + 20), size = at<uint32_t>(header + 24),
             local = at<uint32_t>(header + 42);
    widen(header + kCentralSize + name_size, extra_size, *name, {&size, &compressed, &local});
    if (compressed != size) throw malformed(fmt::format("entry {} has two sizes", inazuma::quoted(*name)));
    return payload(local, size, *name);
  }

 private:
  Directory directory64(size_t end, const Directory& narrow) const {
    if (end < kLocatorSize || at<uint32_t>(end - kLocatorSize) != kEnd64Locator) {
      // Exactly 65535 entries or so: the values are what they say.
      return narrow;
    }
    const auto record = at<uint64_t>(end - kLocatorSize + 8);
    if (!has(record, kEnd64Size) || at<uint32_t>(record) != kEnd64) throw malformed("its ZIP64 end record is missing");
    return {at<uint64_t>(record + 32), at<uint64_t>(record + 40), at<uint64_t>(record + 48)};
  }

  /// Replaces those of `values` that are all ones by the 64-bit ones of the ZIP64 field, which holds only these, in
  /// order.
  void widen(uint64_t extra, uint64_t extra_size, std::string_view name,
             std::initializer_list<uint64_t*> values) const {
    const uint64_t end = extra + extra_size;
    while (extra + 4 <= end) {
      const auto tag = at<uint16_t>(extra);
      uint64_t field = extra + 4;
      const uint64_t field_end = field + at<uint16_t>(extra + 2);
      if (field_end > end) return;  // padding that is not a list of fields
      extra = field_end;
      if (tag != 1) continue;
      for (uint64_t* value : values) {
        if (*value != kIn64) continue;
        if (field + 8 > field_end)
          throw malformed(fmt::format("the ZIP64 field of entry {} is too short", inazuma::quoted(name)));
        *value = at<uint64_t>(field);
        field += 8;
      }
      return;
    }
  }

  std::string_view payload(uint64_t local, uint64_t size, std::string_view name) const {
    if (!has(local, kLocalSize) || at<uint32_t>(local) != kLocalHeader)
      throw malformed(fmt::format("entry {} has no local header", inazuma::quoted(name)));
    const uint64_t start = local + kLocalSize + at<uint16_t>(local + 26) + at<uint16_t>(local + 28);
    if (!has(start, size)) throw malformed(fmt::format("entry {} lies outside the file", inazuma::quoted(name)));
    return bytes_.substr(start, size);
  }

  std::string_view file_, bytes_;
};

}  // namespace

ZipArchive read_zip(std::string_view file, std::string_view bytes) {
  const Reader reader(file, bytes);
  const Directory directory = reader.directory();
  ZipArchive archive;
  uint64_t header = directory.offset;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    std::string_view name;
    const std::string_view payload = reader.entry(header, directory, &header, &name);
    if (i == 0) archive.first_name = name;
    if (!archive.entries.emplace(name, payload).second)
      throw reader.malformed(fmt::format("entry {} is there twice", inazuma::quoted(name)));
  }
  return archive;
}

}  // namespace inazuma
