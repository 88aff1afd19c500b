#pragma once
// Tensors of a model directory by name, whatever file format holds them.

#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tensor/tensor.h"

namespace inazuma {

/// One stored tensor. `shape` is as in the file (any rank).
struct StoredTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  std::string file;  ///< file name within the directory
  size_t bytes = 0;  ///< of the contiguous tensor
};

/// Reports how much of `total` bytes has been read; called from the loading thread.
using LoadProgress = std::function<void(size_t done, size_t total)>;

/// All tensors of a directory, memory-mapped and validated by every rule of the format when opened; read-only
/// afterwards. File choice as transformers 4.57: model.safetensors, model.safetensors.index.json, pytorch_model.bin,
/// pytorch_model.bin.index.json; where none of them is, a FasterTransformer folder (see converted/fastertransformer.h).
/// Stray trainer files are never opened.
/// The mapping must not outlive loading: homes copy what they keep (a file truncated later must not hurt a running
/// server).
class WeightStore {
 public:
  /// `converted` names a FasterTransformer folder whose tensors go before those of the directory.
  /// malformed (corrupt file: which rule, which tensor; a Git LFS pointer), not_found (no weight file: which names were
  /// looked for; a shard that is not there), unsupported (a sound file that cannot be read: TorchScript, an element
  /// type without use here, a pickle that names anything off the allow-list), invalid (not a readable regular file).
  static Result<std::shared_ptr<const WeightStore>> open(const std::filesystem::path& directory,
                                                         const std::optional<std::filesystem::path>& converted = {});
  virtual ~WeightStore() = default;

  virtual std::span<const StoredTensor> tensors() const = 0;  ///< sorted by name
  /// Row-major contiguous view, aligned to its element, valid as long as the store; nullptr-data when `name` is not
  /// stored. What the file holds unaligned or strided is copied on first use, and the copy kept by the store.
  /// Thread-safe. Throws Error: unsupported for more than Shape::kMaxRank extents, out_of_memory.
  virtual Tensor find(std::string_view name) const = 0;
  virtual std::string format() const = 0;  ///< "safetensors", "safetensors, 3 shards", "torch zip", "torch legacy",
                                           ///< "FasterTransformer, 2 ranks"
  /// A converted BERT without embeddings and head, as FasterTransformer leaves it: hidden states in, hidden states out.
  virtual bool encoder_only() const { return false; }
};

/// What a load found wrong or left over; every entry is one printable line.
struct WeightReport {
  std::vector<std::string> missing;    ///< "bert.encoder.layer.0.output.dense.weight [768, 3072]"
  std::vector<std::string> misshapen;  ///< "classifier.weight: expected [45, 768], file has [9, 768]"
  std::vector<std::string> unused;     ///< names of stored tensors nobody asked for
};

/// Through which a model asks for its weights, once each, by path, with the shape it expects. Problems are collected,
/// so that one load names them all: for a missing or misshapen tensor the view returned has no data (homes pack that to
/// an empty handle) and `finish` fails.
class WeightReader {
 public:
  /// `dry_run`: every view returned is without data, nothing is read or packed (for `inspect`).
  explicit WeightReader(std::shared_ptr<const WeightStore> store, bool dry_run = false);

  /// Names are tried with each of these put before them, in order ("bert." and ""): task checkpoints carry the prefix
  /// of their base model, bare saves do not.
  void set_prefixes(std::initializer_list<std::string_view> prefixes);

  /// Called after each tensor is required for the first time; `total` is of all stored tensors, and `finish` brings
  /// `done` there (unused tensors count as passed). Never called by a dry run.
  void set_progress(LoadProgress progress);

  bool has(std::string_view path) const;
  /// Shape of the stored tensor, empty when there is none (for sizes that only the file knows).
  std::vector<int64_t> shape_of(std::string_view path) const;
  /// The first stored of path and aliases; all of them count as used, since they are names of one tensor. dtype is the
  /// file's (f32, f16 or bf16; anything else is misshapen).
  Tensor require(std::string_view path, const Shape& expected, std::initializer_list<std::string_view> aliases = {});
  /// Names, with or without one of the prefixes, that may be in the file without being used; '*' matches anything.
  void ignore(std::initializer_list<std::string_view> patterns);

  /// Fails with `invalid` and a message listing every missing and misshapen tensor; unused ones are only reported.
  Status finish();
  const WeightReport& report() const { return report_; }

 private:
  std::optional<size_t> resolve(std::string_view path) const;  ///< index into tensors()
  void mark_used(size_t index);
  bool is_ignored(std::string_view stored_name) const;

  std::shared_ptr<const WeightStore> store_;
  bool dry_run_ = false;
  std::vector<std::string> prefixes_{""};
  std::vector<std::string> ignored_;
  std::vector<bool> used_;
  WeightReport report_;
  LoadProgress progress_;
  size_t done_bytes_ = 0;
  size_t total_bytes_ = 0;
};

}  // namespace inazuma
