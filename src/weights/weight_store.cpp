#include "weights/weight_store.h"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <optional>

#include "base/log.h"
#include "weights/bytes.h"
#include "weights/converted/fastertransformer.h"
#include "weights/formats/safetensors.h"
#include "weights/formats/torch_archive.h"
#include "weights/mapped_file.h"
#include "weights/shard_index.h"
#include "weights/weight_file.h"

namespace inazuma {
namespace {

namespace fs = std::filesystem;

/// A way a directory may hold its weights.
struct Candidate {
  std::string_view file;
  bool sharded;
  FileTensors (*read)(std::string_view file_name, std::string_view bytes);
};

/// Best first, as transformers 4.57 looks for them.
constexpr std::array<Candidate, 4> kCandidates{{
    {"model.safetensors", false, read_safetensors},
    {"model.safetensors.index.json", true, read_safetensors},
    {"pytorch_model.bin", false, read_torch_archive},
    {"pytorch_model.bin.index.json", true, read_torch_archive},
}};

/// Checkpoints converted from TensorFlow long ago name the layer norms' parameters otherwise (transformers'
/// _fix_state_dict_key_on_load).
std::string modern_name(std::string_view name) {
  constexpr std::string_view kGamma = "LayerNorm.gamma", kBeta = "LayerNorm.beta";
  const auto with_tail = [&](std::string_view old_tail, std::string_view tail) {
    return std::string(name.substr(0, name.size() - old_tail.size())) + std::string(tail);
  };
  if (name.ends_with(kGamma)) return with_tail(kGamma, "LayerNorm.weight");
  if (name.ends_with(kBeta)) return with_tail(kBeta, "LayerNorm.bias");
  return std::string(name);
}

void refuse_lfs_pointer(const fs::path& path, std::string_view bytes) {
  if (!bytes.starts_with("version https://git-lfs")) return;
  throw fail(StatusCode::malformed,
             "{}: this is a Git LFS pointer, not the file itself: fetch the real file (git lfs pull)",
             printable(path.filename().string()));
}

class MappedStore : public WeightStore {
 public:
  std::span<const StoredTensor> tensors() const override { return listed_; }
  std::string format() const override {
    return files_.size() == 1 && !sharded_ ? format_ : fmt::format("{}, {} shards", format_, files_.size());
  }

  Tensor find(std::string_view name) const override {
    const auto it = std::lower_bound(listed_.begin(), listed_.end(), name,
                                     [](const StoredTensor& a, std::string_view b) { return a.name < b; });
    if (it == listed_.end() || it->name != name) return {};
    const auto index = static_cast<size_t>(it - listed_.begin());
    const FileTensor& stored = stored_[index];
    const Shape shape(stored.shape);
    const bool aligned = reinterpret_cast<uintptr_t>(stored.data) % size_of(stored.dtype) == 0;
    if (stored.data != nullptr && stored.strides.empty() && aligned) return Tensor(stored.data, stored.dtype, shape);
    const std::lock_guard lock(copies_mutex_);
    auto copy = copies_.find(index);
    if (copy == copies_.end()) {
      Buffer buffer = Buffer::host(stored.bytes);
      materialise(stored, static_cast<char*>(buffer.data()));
      copy = copies_.emplace(index, std::move(buffer)).first;
    }
    return copy->second.tensor(stored.dtype, shape);
  }

  /// `wanted`: the names that the index puts into this file; none = every tensor of the file.
  void add(const fs::path& path, const Candidate& candidate, const std::vector<std::string>* wanted) {
    const std::string file = path.filename().string();
    const std::string_view bytes = files_.emplace_back(path).bytes();
    refuse_lfs_pointer(path, bytes);
    FileTensors read = candidate.read(file, bytes);
    sharded_ = wanted != nullptr;
    if (format_.empty()) format_ = read.format;
    if (wanted != nullptr) keep_wanted(file, *wanted, read.tensors);
    for (FileTensor& tensor : read.tensors) {
      std::string name = modern_name(tensor.name);
      listed_.push_back(
          {.name = std::move(name), .dtype = tensor.dtype, .shape = tensor.shape, .file = file, .bytes = tensor.bytes});
      stored_.push_back(std::move(tensor));
    }
  }

  /// Sorts by name; call once, after the last `add`.
  void finish() {
    std::vector<size_t> order(listed_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return listed_[a].name < listed_[b].name; });
    std::vector<StoredTensor> listed;
    std::vector<FileTensor> stored;
    for (size_t i : order) {
      if (!listed.empty() && listed.back().name == listed_[i].name)
        throw fail(StatusCode::malformed, "{}: tensors {} and {} both stand for {}", printable(listed_[i].file),
                   inazuma::quoted(stored.back().name), inazuma::quoted(stored_[i].name),
                   inazuma::quoted(listed.back().name));
      listed.push_back(std::move(listed_[i]));
      stored.push_back(std::move(stored_[i]));
    }
    listed_ = std::move(listed);
    stored_ = std::move(stored);
  }

 private:
  static void keep_wanted(const std::string& file, const std::vector<std::string>& wanted,
                          std::vector<FileTensor>& tensors) {
    std::map<std::string_view, bool> in_index;  // name -> found
    for (const std::string& name : wanted) in_index.emplace(name, false);
    std::erase_if(tensors, [&](const FileTensor& tensor) {
      const auto it = in_index.find(tensor.name);
      if (it != in_index.end()) {
        it->second = true;
        return false;
      }
      log::warn("tensor not in the index, passed over", {{"file", file}, {"tensor", tensor.name}});
      return true;
    });
    for (const auto& [name, found] : in_index)
      if (!found)
        throw fail(StatusCode::malformed, "{}: tensor {} should be here by the index, but is not", printable(file),
                   inazuma::quoted(name));
  }

  std::vector<MappedFile> files_;
  std::string format_;
  bool sharded_ = false;
  std::vector<StoredTensor> listed_;
  std::vector<FileTensor> stored_;  // parallel to listed_
  mutable std::mutex copies_mutex_;
  mutable std::map<size_t, Buffer> copies_;  // of what the file holds strided or unaligned
};

void read_shards(const fs::path& directory, const Candidate& candidate, MappedStore& store) {
  const MappedFile index(directory / candidate.file);
  refuse_lfs_pointer(candidate.file, index.bytes());
  for (const auto& [shard, names] : read_shard_index(candidate.file, index.bytes())) {
    try {
      store.add(directory / shard, candidate, &names);
    } catch (const Error& error) {
      throw Error(error.status().in(fmt::format("shard of {}", candidate.file)));
    }
  }
}

/// The candidate that wins, null for none; reports others that are passed over.
const Candidate* choose(const fs::path& directory) {
  const Candidate* chosen = nullptr;
  for (const Candidate& candidate : kCandidates) {
    std::error_code ignored;
    if (!fs::exists(directory / candidate.file, ignored)) continue;
    if (chosen == nullptr) {
      chosen = &candidate;
    } else {
      log::info("weight file passed over",
                {{"directory", directory.string()}, {"read", chosen->file}, {"passed_over", candidate.file}});
    }
  }
  return chosen;
}

Error no_weights(const fs::path& directory) {
  std::error_code ignored;
  if (!fs::is_directory(directory, ignored))
    return fail(StatusCode::not_found, "{}: no such directory", inazuma::quoted(directory.string(), 200));
  return fail(StatusCode::not_found,
              "{}: no weight file: looked for model.safetensors, model.safetensors.index.json, pytorch_model.bin, "
              "pytorch_model.bin.index.json and a FasterTransformer folder (N-gpu/config.ini)",
              inazuma::quoted(directory.string(), 200));
}

std::shared_ptr<const WeightStore> read_native(const fs::path& directory, const Candidate& candidate) {
  auto store = std::make_shared<MappedStore>();
  if (candidate.sharded) {
    read_shards(directory, candidate, *store);
  } else {
    store->add(directory / candidate.file, candidate, nullptr);
  }
  store->finish();
  return store;
}

}  // namespace

Result<std::shared_ptr<const WeightStore>> WeightStore::open(const fs::path& directory,
                                                             const std::optional<fs::path>& converted) {
  return capture([&]() -> std::shared_ptr<const WeightStore> {
    const Candidate* candidate = choose(directory);
    std::optional<fs::path> folder = converted;
    if (!folder && candidate == nullptr) folder = find_converted(directory);
    if (!folder && candidate == nullptr) throw no_weights(directory);
    try {
      const std::shared_ptr<const WeightStore> native =
          candidate == nullptr ? nullptr : read_native(directory, *candidate);
      return folder ? open_converted(*folder, native) : native;
    } catch (const Error& error) {
      throw Error(error.status().in(printable((folder ? *folder : directory).string())));
    }
  });
}

}  // namespace inazuma
