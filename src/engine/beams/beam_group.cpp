#include "engine/beams/beam_group.h"

#include <algorithm>

namespace inazuma {

int beam_blocks(int prompt, int max_new_tokens, int beams, int block_tokens) {
  const int shared = prompt / block_tokens;
  return shared + beams * (blocks_for(int64_t{prompt} + max_new_tokens, block_tokens) - shared);
}

void BeamGroup::begin(KvPool& pool, const std::vector<int32_t>& blocks, int prompt) {
  spare.assign(blocks.rbegin(), blocks.rend());
  for (int i = 0; i < blocks_for(prompt, pool.block_tokens()); ++i) take_spare(pool, holdings[0].blocks);
}

BeamGroup::Moves BeamGroup::follow(KvPool& pool, int computed) {
  const std::vector<Beam>& beams = search.beams();
  const auto whole = static_cast<std::ptrdiff_t>(computed / pool.block_tokens());
  const bool open = computed % pool.block_tokens() != 0;  // the last block has room for the next id
  constexpr size_t kNobody = SIZE_MAX;
  std::vector<size_t> heirs(holdings.size(), kNobody);
  std::vector<Holding> next(beams.size());
  for (size_t i = 0; i < beams.size(); ++i) {
    size_t& heir = heirs[static_cast<size_t>(beams[i].parent)];
    if (heir != kNobody) continue;
    heir = i;
    next[i] = std::move(holdings[static_cast<size_t>(beams[i].parent)]);
  }
  std::vector<int> slots;
  for (size_t p = 0; p < holdings.size(); ++p) {
    if (heirs[p] != kNobody) continue;
    slots.push_back(holdings[p].slot);
    let_go(pool, holdings[p].blocks);
  }
  Moves moves;
  for (size_t i = 0; i < beams.size(); ++i) {
    const size_t heir = heirs[static_cast<size_t>(beams[i].parent)];
    if (heir != i) {
      const std::vector<int32_t>& parent = next[heir].blocks;
      next[i].slot = slots.back();
      slots.pop_back();
      next[i].blocks.assign(parent.begin(), parent.begin() + whole);
      pool.retain(next[i].blocks);
      moves.rewrite.push_back(static_cast<int>(i));
      if (open) {
        take_spare(pool, next[i].blocks);
        moves.copy_from.push_back(parent[static_cast<size_t>(whole)]);
        moves.copy_to.push_back(next[i].blocks.back());
      }
    }
  }
  holdings = std::move(next);
  if (!open)
    for (Holding& holding : holdings) take_spare(pool, holding.blocks);
  return moves;
}

void BeamGroup::end(KvPool& pool) {
  for (Holding& holding : holdings) pool.release(holding.blocks);
  spare.clear();
}

void BeamGroup::take_spare(KvPool& pool, std::vector<int32_t>& table) {
  if (spare.empty()) throw fail(StatusCode::internal, "a beam needs a block and its row has none left");
  table.push_back(spare.back());
  pool.retain({&spare.back(), 1});
  spare.pop_back();
}

void BeamGroup::let_go(KvPool& pool, std::vector<int32_t>& table) {
  const std::vector<int32_t> blocks = table;
  pool.release(table);
  for (const int32_t block : blocks)
    if (pool.references(block) == 1) spare.push_back(block);  // the row alone holds it
}

}  // namespace inazuma
