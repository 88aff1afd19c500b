#pragma once
// Checkpoints converted for FasterTransformer: a folder with config.ini and one headerless .bin file per tensor (and
// per rank). What the files are called, how they are laid out, and which tensor of the Hugging Face checkpoint each
// holds: one table, read by the store below and by the converter.

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "weights/weight_store.h"

namespace inazuma {

enum class ConvertedFamily { bert, gpt, t5 };

/// Sizes that shape the files.
struct ConvertedSizes {
  ConvertedFamily family = ConvertedFamily::bert;
  int64_t layers = 0, decoder_layers = 0;
  int64_t hidden = 0, width = 0, inner = 0;  ///< width = heads · size of a head
  int64_t heads = 0, buckets = 0;            ///< of T5's distance table
  int64_t vocab = 0, positions = 0;          ///< GPT and T5; GPT
  bool gated = false;                        ///< T5's feed-forward
};

/// One tensor as the format keeps it: NAME.bin, or NAME.{r}.bin for every rank when it is split.
struct ConvertedTensor {
  std::string file;  ///< NAME
  /// Which tensor(s) of the Hugging Face checkpoint it is: three where query, key and value share a file.
  std::vector<std::string> names;
  /// Of all ranks together, in the file's order; shared by three: [in, 3, out]. A first extent of 0: as many rows as
  /// the file holds (optional tensors whose size config.ini does not tell).
  std::vector<int64_t> shape;
  std::vector<int64_t> source;  ///< shape of each of `names`
  int split = -1;               ///< axis of `shape` that is divided over the ranks; -1 = not divided
  bool transposed = false;      ///< the file holds [in, out], the checkpoint [out, in]
  bool optional = false;

  std::string file_of(int rank) const;
  int64_t elements() const;
};

/// Every tensor that a checkpoint of these sizes may have, the optional ones included.
std::vector<ConvertedTensor> converted_layout(const ConvertedSizes& sizes);

/// Between one rank's file and names[which] of the checkpoint, both row-major; elements of 2 or 4 bytes. Each call
/// moves those elements that the two have in common.
void join_part(const ConvertedTensor& tensor, size_t which, int rank, int ranks, size_t element, const char* part,
               char* whole);
void split_part(const ConvertedTensor& tensor, size_t which, int rank, int ranks, size_t element, const char* whole,
                char* part);

/// Where a directory keeps such a checkpoint: in itself (config.ini is there), else in its N-gpu folder, the one with
/// the smallest N of several. Nothing when it has none.
std::optional<std::filesystem::path> find_converted(const std::filesystem::path& directory);

/// Of the checkpoint in a folder. Throws Error as converted_config.
ConvertedFamily converted_family(const std::filesystem::path& folder);

/// What config.ini says, as the config.json of the model it was made from. Numbers that FasterTransformer fixes
/// (epsilon, form of gelu) are the checkpoint's own where the file tells them, and those the architecture was trained
/// with where not. Throws Error: not_found, malformed, invalid (key, value, range), unsupported (a variant that is not
/// built in).
nlohmann::json converted_config(const std::filesystem::path& folder);

/// The folder's tensors under the names, shapes and order of the Hugging Face checkpoint, shards joined. Every file is
/// looked at: throws Error(not_found) for a missing one and Error(malformed) for one whose size is not what config.ini
/// says, naming file, expected and found size. `beside`, if any, supplies tensors that the folder does not have.
std::shared_ptr<const WeightStore> open_converted(const std::filesystem::path& folder,
                                                  std::shared_ptr<const WeightStore> beside = nullptr);

struct ConvertOptions {
  int ranks = 1;             ///< of tensor parallelism; the folder is called ranks-gpu
  DType dtype = DType::f32;  ///< of the files: f32, f16 or bf16
};

struct Conversion {
  std::filesystem::path folder;
  int files = 0;
  size_t bytes = 0;
  std::vector<std::string> notes;  ///< what a person should know, one sentence each
};

/// Writes `source`, whose configuration is `config`, as DST/N-gpu, reads every file back and compares it with the
/// source. The folder appears under its name only when all of that has succeeded. BERT's embeddings, pooler and head
/// are written too, under the names the format's scheme gives them; FasterTransformer passes over such files. Throws
/// Error: unsupported (no BERT, GPT-2 or T5, or one the format cannot express), invalid (sizes that cannot be divided;
/// the folder exists), not_found (a tensor is missing), internal (what was read back differs).
Conversion convert(const WeightStore& source, const nlohmann::json& config, const std::filesystem::path& destination,
                   const ConvertOptions& options, const LoadProgress& progress = {});

}  // namespace inazuma
