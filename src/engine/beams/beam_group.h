#pragma once
// What the beams of a row hold in the pool and in the history, and how it moves when the search has chosen.

#include <cstdint>
#include <vector>

#include "engine/beams/beam_search.h"
#include "engine/kv_pool.h"

namespace inazuma {

/// Pool blocks of a row with `beams` beams for its whole life: the prompt's whole blocks are shared, and all behind
/// them may come to differ.
int beam_blocks(int prompt, int max_new_tokens, int beams, int block_tokens);

/// A row's search and its beams' memory. The row holds every block that the group may use from admission to its end, so
/// that a beam never waits for one; tables of beams refer to them, several to one where their texts agree. A block that
/// is not full is in one table only, for it will be written.
struct BeamGroup {
  struct Holding {
    int slot = -1;  ///< row of the history
    std::vector<int32_t> blocks;
  };
  /// What the device must do before the next step.
  struct Moves {
    std::vector<int32_t> copy_from, copy_to;  ///< blocks of the pool
    std::vector<int> rewrite;                 ///< beams whose row of the history held another text
  };

  BeamSearch search;
  std::vector<Holding> holdings;  ///< [num_beams], in the order of search.beams()
  std::vector<int32_t> spare;     ///< of the row's blocks, those in no table

  /// Takes over a row's blocks and gives beam 0 what the prompt needs.
  void begin(KvPool& pool, const std::vector<int32_t>& blocks, int prompt);
  /// Every beam takes over from its parent, with `computed` ids in the pool, and gets room for the next. A parent's
  /// first child keeps the parent's memory.
  Moves follow(KvPool& pool, int computed);
  /// Empties all tables. Slots are the caller's to give back.
  void end(KvPool& pool);

 private:
  void take_spare(KvPool& pool, std::vector<int32_t>& table);
  void let_go(KvPool& pool, std::vector<int32_t>& table);
};

}  // namespace inazuma
