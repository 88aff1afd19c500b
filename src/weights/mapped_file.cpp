#include "weights/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/status.h"
#include "weights/bytes.h"

namespace inazuma {
namespace {

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

std::string error_text(int code) {
  return std::generic_category().message(code);
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const std::string shown = printable(path.filename().string());
  // O_NONBLOCK: a named pipe in place of a file must not hang the load; it has no effect on regular files.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.value < 0) {
    const StatusCode code = errno == ENOENT ? StatusCode::not_found : StatusCode::invalid;
    throw fail(code, "{}: cannot be opened: {}", shown, error_text(errno));
  }
  struct stat info {};
  if (::fstat(file.value, &info) != 0)
    throw fail(StatusCode::invalid, "{}: cannot be examined: {}", shown, error_text(errno));
  if (!S_ISREG(info.st_mode)) throw fail(StatusCode::invalid, "{}: not a regular file", shown);
  size_ = static_cast<size_t>(info.st_size);
  if (size_ == 0) return;  // mmap refuses empty files; an empty view says the same
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.value, 0);
  if (mapped == MAP_FAILED)
    throw fail(StatusCode::invalid, "{}: cannot be mapped into memory: {}", shown, error_text(errno));
  data_ = mapped;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

}  // namespace inazuma
