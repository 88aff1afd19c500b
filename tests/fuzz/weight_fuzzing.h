#pragma once
// One model directory for the life of a fuzzer, whose weight file is replaced by each input.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "weights/weight_store.h"

namespace inazuma::fuzzing {

class WeightDirectory {
 public:
  /// The file lives in memory (a link to a memfd): fuzzing must not wear out a disk.
  explicit WeightDirectory(const char* file_name) {
    std::string pattern = (std::filesystem::temp_directory_path() / "inazuma-fuzz-XXXXXX").string();
    memory_ = memfd_create("weights", MFD_CLOEXEC);
    if (memory_ < 0 || mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
    std::filesystem::create_symlink("/proc/self/fd/" + std::to_string(memory_), path_ / file_name);
  }
  ~WeightDirectory() {
    close(memory_);
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  WeightDirectory(const WeightDirectory&) = delete;
  WeightDirectory& operator=(const WeightDirectory&) = delete;

  /// Opens the directory with this file content and reads every byte of every tensor. A defect of ours, which an
  /// internal error or any exception but Error is, ends the program, so that the fuzzer keeps the input.
  void load(const uint8_t* data, size_t size) const {
    put(data, size);
    const auto store = WeightStore::open(path_);
    if (!store.ok()) return expected(store.status());
    for (const StoredTensor& stored : (*store)->tensors()) {
      try {
        touch((*store)->find(stored.name));
      } catch (const Error& error) {
        expected(error.status());
      }
    }
  }

  void put(const uint8_t* data, size_t size) const {
    if (ftruncate(memory_, 0) != 0 || pwrite(memory_, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  }
  const std::filesystem::path& path() const { return path_; }

  /// Runs what may throw Error and nothing else, and no `internal` one.
  template <class Work>
  static void attempt(Work&& work) {
    try {
      work();
    } catch (const Error& error) {
      expected(error.status());
    }
  }

 private:
  static void touch(const Tensor& tensor) {
    const auto* bytes = static_cast<const unsigned char*>(tensor.data());
    unsigned sum = 0;
    for (size_t i = 0; i < tensor.bytes(); ++i) sum += bytes[i];
    volatile unsigned keep = sum;
    static_cast<void>(keep);
  }

  static void expected(const Status& status) {
    if (status.code() != StatusCode::internal && !status.message().empty()) return;
    std::fprintf(stderr, "unexpected: %s\n", status.message().c_str());
    std::abort();
  }

  std::filesystem::path path_;
  int memory_ = -1;
};

}  // namespace inazuma::fuzzing
