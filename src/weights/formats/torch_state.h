#pragma once
// From the values of a pickle to tensors over storages: what both forms of torch archives share.

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weights/formats/pickle.h"
#include "weights/weight_file.h"

namespace inazuma {

/// A storage as a persistent id names it. Counts are of elements, of bytes when the storage is untyped.
struct StorageId {
  struct View {
    std::string_view key;
    uint64_t offset = 0, count = 0;
  };
  std::string_view key;
  std::optional<DType> dtype;  ///< none: untyped
  uint64_t count = 0;
  std::optional<View> view;  ///< legacy files: this storage is a part of another one

  size_t element_size() const { return dtype ? size_of(*dtype) : 1; }
};

/// The storage a `persistent` value names; nothing for other kinds of ids. Throws Error(malformed).
std::optional<StorageId> storage_id(std::string_view file, const Pickle& pickle, Pickle::Ref persistent);

/// Storage key -> its bytes in the file.
using Storages = std::map<std::string_view, std::string_view>;

/// The tensors that are direct values of the pickled dictionary. `file` is printable. Throws Error as
/// read_torch_archive.
std::vector<FileTensor> state_tensors(std::string_view file, const Pickle& pickle, const Storages& storages);

}  // namespace inazuma
