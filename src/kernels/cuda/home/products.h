#pragma once
// Dense products: for every shape the fastest of cuBLASLt's algorithms and our own kernel, searched once on this device
// and kept on disk.

#include <cublasLt.h>

#include <array>
#include <map>
#include <optional>
#include <string>

#include "kernels/cuda/home/memory.h"
#include "kernels/cuda/launch.h"

namespace inazuma::cuda {

/// How a product of some shape is best made.
struct Choice {
  enum class Way { library, own /* skinny_linear */, tiled } way = Way::own;
  cublasLtMatmulAlgo_t algorithm = {};
  int variant = 0;  ///< of tiled
};

/// What is known of one device, as a text file: $INAZUMA_CACHE_DIR, or ~/.cache/inazuma. One line a shape. A file that
/// cannot be read or written costs a search, nothing else.
class ChoiceFile {
 public:
  using Key = std::array<int64_t, 6>;  ///< rows (upper end of their bucket), out, in, types, epilogue, alignment
  explicit ChoiceFile(const std::string& device_name);
  const Choice* find(const Key& key) const;
  void add(const Key& key, const Choice& choice);
  /// Writes what is new, together with what others wrote meanwhile.
  void save();

 private:
  void read(std::map<Key, Choice>& into) const;
  std::string path_;  // empty: nowhere
  std::map<Key, Choice> choices_;
  bool changed_ = false;
};

/// Products on one stream. Not thread-safe. $INAZUMA_CUDA_PRODUCTS, for tests and timings, makes all that one way can
/// take go that way: "library", "own" or "tiled0", "tiled1", ...
class Products {
 public:
  /// invariant: one algorithm a weight whatever the rows, without split sums, so that a row's bits do not depend on its
  /// neighbours; slower.
  Products(int device, cudaStream_t stream, bool invariant);
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  /// `args.scratch` is ignored: scratch comes from `scratch`.
  void run(const SkinnyLinear& args, Scratch& scratch);
  /// The end of a warm-up: writes what was found, gives back what searching needed.
  void settle();

 private:
  struct Plan;
  Choice choose(const SkinnyLinear& args, const Plan& plan, Scratch& scratch);
  void execute(const SkinnyLinear& args, const Plan& plan, const Choice& choice, Scratch& scratch);
  void execute_library(const SkinnyLinear& args, const Plan& plan, const Choice& choice, Scratch& scratch);
  cublasStatus_t library_product(const SkinnyLinear& args, const Plan& plan, const cublasLtMatmulAlgo_t* algorithm,
                                 void* product);
  double time(const SkinnyLinear& args, const Plan& plan, const Choice& choice, Scratch& scratch, double least);
  void own_product(const SkinnyLinear& args, Scratch& scratch);

  int device_;
  cudaStream_t stream_;
  bool invariant_;
  std::optional<Choice> forced_;
  cublasLtHandle_t handle_ = nullptr;
  Buffer workspace_;
  Buffer searched_;  // outputs and flushing while searching
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
  ChoiceFile file_;
  std::map<ChoiceFile::Key, Choice> untimed_;  // shapes too small to be worth a search
};

}  // namespace inazuma::cuda
