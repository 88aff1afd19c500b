#pragma once
// The system shared memory extension: regions of POSIX shared memory that clients registered.

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "serving/tensors/inference.h"

namespace inazuma::kserve {

struct RegionStatus {
  std::string name;
  std::string key;
  uint64_t offset = 0;
  uint64_t byte_size = 0;
};

/// Thread-safe. A region stays mapped until the last request that uses it has ended.
class SharedMemory {
 public:
  explicit SharedMemory(bool allowed) : allowed_(allowed) {}

  /// unsupported: not allowed by flag. invalid: empty name, reserved or empty key, a part outside the object, an offset
  /// that is no multiple of the page size, a name that is taken. internal: the object cannot be opened.
  Status add(const std::string& name, const std::string& key, uint64_t offset, uint64_t byte_size);
  /// unsupported: not allowed. An unknown name is a success; "" removes all.
  Status remove(const std::string& name);
  /// not_found: unknown name. "" lists all, by name.
  Result<std::vector<RegionStatus>> status(const std::string& name) const;

  /// The bytes a request names, kept mapped by what is returned. unsupported, not_found, invalid as above.
  Result<SharedBytes> read(const SharedMemoryRef& place) const;
  /// Copies a result in. invalid: it does not fit.
  Status write(const SharedMemoryRef& place, std::string_view bytes) const;

 private:
  struct Region;
  Result<std::shared_ptr<Region>> find(const SharedMemoryRef& place) const;
  Status refused() const;
  bool allowed_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Region>> regions_;
};

}  // namespace inazuma::kserve
