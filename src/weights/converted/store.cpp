// The folder as a WeightStore.

#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "base/status.h"
#include "weights/bytes.h"
#include "weights/converted/checkpoint.h"
#include "weights/mapped_file.h"

namespace inazuma {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefixes[] = {"bert.", "transformer."};  ///< that task checkpoints put before these names

/// What is wrong with a folder's files: all of it, cut after some lines.
class Complaints {
 public:
  void add(StatusCode code, std::string line) {
    if (lines_.empty()) code_ = code;
    if (lines_.size() < kShown) lines_.push_back(std::move(line));
    ++count_;
  }
  void raise() const {
    if (count_ == 0) return;
    const std::string more = count_ > lines_.size() ? fmt::format("; and {} more", count_ - lines_.size()) : "";
    throw fail(code_, "{}{}", fmt::join(lines_, "; "), more);
  }

 private:
  static constexpr size_t kShown = 8;
  StatusCode code_ = StatusCode::malformed;
  size_t count_ = 0;
  std::vector<std::string> lines_;
};

class ConvertedStore : public WeightStore {
 public:
  ConvertedStore(const Checkpoint& checkpoint, std::shared_ptr<const WeightStore> beside)
      : dtype_(checkpoint.dtype), ranks_(checkpoint.ranks), beside_(std::move(beside)) {
    std::set<std::string> claimed;
    Complaints complaints;
    for (ConvertedTensor& tensor : converted_layout(checkpoint.sizes)) {
      if (tensor.optional && !file_size_of(checkpoint.folder, tensor.file_of(0))) continue;
      map(checkpoint.folder, std::move(tensor), claimed, complaints);
    }
    complaints.raise();
    add_unclaimed(checkpoint.folder, claimed);
    if (beside_) add_beside();
    finish();
    encoder_only_ = checkpoint.sizes.family == ConvertedFamily::bert && !has_word_table();
  }

  std::span<const StoredTensor> tensors() const override { return listed_; }
  std::string format() const override {
    return fmt::format("FasterTransformer, {} rank{}{}", ranks_, ranks_ == 1 ? "" : "s",
                       beside_ ? ", the rest from " + beside_->format() : "");
  }

  bool encoder_only() const override { return encoder_only_; }

  Tensor find(std::string_view name) const override {
    const auto it = std::lower_bound(listed_.begin(), listed_.end(), name,
                                     [](const StoredTensor& a, std::string_view b) { return a.name < b; });
    if (it == listed_.end() || it->name != name) return {};
    const size_t index = static_cast<size_t>(it - listed_.begin());
    const Place& place = places_[index];
    if (place.entry < 0) return beside_->find(name);
    const Entry& entry = entries_[static_cast<size_t>(place.entry)];
    const Shape shape(it->shape);
    const bool as_stored = !entry.tensor.transposed && (entry.tensor.split < 0 || ranks_ == 1);
    if (as_stored) return Tensor(static_cast<const void*>(entry.files[0].bytes().data()), dtype_, shape);
    const std::lock_guard lock(copies_mutex_);
    auto copy = copies_.find(index);
    if (copy == copies_.end()) {
      Buffer buffer = Buffer::host(it->bytes);
      for (size_t rank = 0; rank < entry.files.size(); ++rank)
        join_part(entry.tensor, place.which, static_cast<int>(rank), static_cast<int>(entry.files.size()),
                  size_of(dtype_), entry.files[rank].bytes().data(), static_cast<char*>(buffer.data()));
      copy = copies_.emplace(index, std::move(buffer)).first;
    }
    return copy->second.tensor(dtype_, shape);
  }

 private:
  struct Entry {
    ConvertedTensor tensor;
    std::vector<MappedFile> files;  ///< one, or one per rank
  };
  struct Place {
    int entry = -1;  ///< -1: of the store beside
    size_t which = 0;
  };

  void map(const fs::path& folder, ConvertedTensor tensor, std::set<std::string>& claimed, Complaints& complaints) {
    const auto element = static_cast<int64_t>(size_of(dtype_));
    Entry entry;
    for (int rank = 0; rank < (tensor.split < 0 ? 1 : ranks_); ++rank) {
      const std::string file = tensor.file_of(rank);
      claimed.insert(file);
      const std::optional<uintmax_t> bytes = file_size_of(folder, file);
      if (!bytes) {
        complaints.add(StatusCode::not_found, fmt::format("{} is missing", file));
        continue;
      }
      if (tensor.shape[0] == 0) fill_rows(tensor, static_cast<int64_t>(*bytes) / element);
      const int64_t expected = tensor.elements() / (tensor.split < 0 ? 1 : ranks_) * element;
      if (static_cast<int64_t>(*bytes) != expected) {
        complaints.add(
            StatusCode::malformed,
            fmt::format("{} has {} bytes, expected {} ({} of {}{})", file, *bytes, expected, name(dtype_),
                        format_extents(tensor.shape),
                        tensor.split < 0 || ranks_ == 1 ? std::string() : fmt::format(" over {} ranks", ranks_)));
        continue;
      }
      entry.files.emplace_back(folder / file);
    }
    if (tensor.split >= 0 && static_cast<int>(entry.files.size()) < ranks_) return;  // complained of
    if (entry.files.empty()) return;
    for (size_t which = 0; which < tensor.names.size(); ++which) {
      size_t bytes = static_cast<size_t>(element);
      for (const int64_t extent : tensor.source) bytes *= static_cast<size_t>(extent);
      list({.name = tensor.names[which],
            .dtype = dtype_,
            .shape = tensor.source,
            .file = tensor.file_of(0),
            .bytes = bytes},
           {static_cast<int>(entries_.size()), which});
    }
    entry.tensor = std::move(tensor);
    entries_.push_back(std::move(entry));
  }

  /// As many rows as the file has elements for; the size check that follows finds a rest.
  static void fill_rows(ConvertedTensor& tensor, int64_t elements) {
    int64_t row = 1;
    for (size_t axis = 1; axis < tensor.shape.size(); ++axis) row *= tensor.shape[axis];
    tensor.shape[0] = tensor.source[0] = elements / row;
  }

  /// Files nobody knows are shown as what they are, so that a report can name them as not used.
  void add_unclaimed(const fs::path& folder, const std::set<std::string>& claimed) {
    for (const fs::directory_entry& file : fs::directory_iterator(folder)) {
      const std::string file_name = file.path().filename().string();
      const bool copy_of_table =
          file_name == "shared.weight.bin";  // transposed; FasterTransformer does not read it either
      if (file.path().extension() != ".bin" || claimed.contains(file_name) || copy_of_table || !file.is_regular_file())
        continue;
      ConvertedTensor tensor{.file = file_name, .names = {file_name}};
      const auto elements = static_cast<int64_t>(file.file_size() / size_of(dtype_));
      Entry entry{.tensor = std::move(tensor), .files = {}};
      entry.files.emplace_back(file.path());
      list({.name = file_name,
            .dtype = dtype_,
            .shape = {elements},
            .file = file_name,
            .bytes = static_cast<size_t>(elements) * size_of(dtype_)},
           {static_cast<int>(entries_.size()), 0});
      entries_.push_back(std::move(entry));
    }
  }

  /// The folder's own tensors go first, whatever prefix the other checkpoint gives them.
  void add_beside() {
    std::set<std::string, std::less<>> own;
    for (const StoredTensor& tensor : listed_) own.insert(tensor.name);
    for (const StoredTensor& tensor : beside_->tensors()) {
      bool known = own.contains(tensor.name);
      for (const std::string_view prefix : kPrefixes)
        known = known ||
                (tensor.name.starts_with(prefix) && own.contains(std::string_view(tensor.name).substr(prefix.size())));
      if (!known) list(tensor, {});
    }
  }

  bool has_word_table() const {
    return std::any_of(listed_.begin(), listed_.end(), [](const StoredTensor& tensor) {
      return tensor.name.ends_with("embeddings.word_embeddings.weight");
    });
  }

  void list(StoredTensor tensor, Place place) {
    listed_.push_back(std::move(tensor));
    places_.push_back(place);
  }

  void finish() {
    std::vector<size_t> order(listed_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return listed_[a].name < listed_[b].name; });
    std::vector<StoredTensor> listed;
    std::vector<Place> places;
    for (const size_t i : order) {
      listed.push_back(std::move(listed_[i]));
      places.push_back(places_[i]);
    }
    listed_ = std::move(listed);
    places_ = std::move(places);
  }

  DType dtype_;
  int ranks_;
  bool encoder_only_ = false;
  std::shared_ptr<const WeightStore> beside_;
  std::vector<Entry> entries_;
  std::vector<StoredTensor> listed_;
  std::vector<Place> places_;  // parallel to listed_
  mutable std::mutex copies_mutex_;
  mutable std::map<size_t, Buffer> copies_;  // of what is transposed or joined
};

}  // namespace

std::shared_ptr<const WeightStore> open_converted(const fs::path& folder, std::shared_ptr<const WeightStore> beside) {
  return std::make_shared<ConvertedStore>(read_checkpoint(folder), std::move(beside));
}

}  // namespace inazuma
