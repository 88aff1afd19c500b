#pragma once
// The merge engine of byte-pair encoding: pairs of symbols with ranks, and the loop that applies them to one word.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace inazuma {

/// What two neighbouring symbols become; the lowest rank is applied first.
struct Merge {
  uint32_t rank = 0;
  uint32_t result = 0;
};

/// Open-addressing map from a pair of symbols to its merge.
class MergeTable {
 public:
  /// A pair given again takes the later merge.
  void add(uint32_t left, uint32_t right, Merge merge);
  /// nullptr when the pair does not merge.
  const Merge* find(uint32_t left, uint32_t right) const;
  size_t size() const { return count_; }

 private:
  struct Slot {
    uint64_t key = kFree;
    Merge merge;
  };
  static constexpr uint64_t kFree = UINT64_MAX;

  size_t place(uint64_t key) const;
  void grow();

  std::vector<Slot> slots_;
  size_t count_ = 0;
};

/// A symbol of a word and the bytes [begin, end) of the word that it stands for.
struct BpeSymbol {
  uint32_t symbol = 0;
  uint32_t begin = 0;
  uint32_t end = 0;
};

/// When a merge creates a pair of a still lower rank, which comes first?
enum class MergeOrder {
  lowest_pair,  ///< always the lowest rank anywhere, leftmost on ties: the tokenizers library
  whole_rank,   ///< every occurrence of the current pair, left to right, then look again: transformers' slow classes
};

/// Merges the symbols of one word after another; holds only scratch memory, so one per encode call.
/// O(n log n) in the symbols of a word.
class Merger {
 public:
  Merger(const MergeTable& table, MergeOrder order) : table_(&table), order_(order) {}

  /// Merges in place. At most 2^31 symbols.
  void run(std::vector<BpeSymbol>& word);

 private:
  struct Candidate {
    uint32_t rank;
    uint32_t left;
  };
  struct Links {
    uint32_t previous, next;
  };

  void consider(const std::vector<BpeSymbol>& word, uint32_t left, std::vector<Candidate>& queue) const;
  void apply(std::vector<BpeSymbol>& word, Candidate candidate);
  Candidate pop();
  void push_fresh();

  const MergeTable* table_;
  MergeOrder order_;
  std::vector<Candidate> queue_;
  std::vector<Candidate> fresh_;
  std::vector<Links> links_;
};

}  // namespace inazuma
