#pragma once
// Fixed blocks of key/value memory: reference counts and a free list. Knows sizes, not meanings.

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops.h"
#include "models/batch.h"

namespace inazuma {

inline int blocks_for(int64_t tokens, int block_tokens) {
  return static_cast<int>((tokens + block_tokens - 1) / block_tokens);
}

/// Shape of the pool. Bytes = 2 · layers · blocks · heads · block_tokens · head_dim · size_of(compute dtype).
struct KvPoolShape {
  int layers = 0;
  int blocks = 0;
  int heads = 0;
  int block_tokens = 0;
  int head_dim = 0;
};

/// Keys and values of all sequences of one engine. A block is the same range of every layer; a sequence owns a table of
/// blocks. Blocks may be shared: they return to the free list when the last holder lets go. Not thread-safe: it belongs
/// to the engine's thread.
class KvPool {
 public:
  /// One buffer per layer, keys then values. Throws Error(out_of_memory). With no layers the pool is empty.
  KvPool(Ops& ops, const KvPoolShape& shape);

  int total() const { return static_cast<int>(references_.size()); }
  int free() const { return static_cast<int>(free_.size()); }
  int used() const { return total() - free(); }
  int block_tokens() const { return view_.block_tokens; }
  KvView& view() { return view_; }

  /// Appends `count` blocks to `table`, each with one reference. Throws Error(internal), taking nothing, when fewer are
  /// free: admission counts blocks first, so that is a defect.
  void allocate(int count, std::vector<int32_t>& table);
  /// One more holder of each block.
  void retain(std::span<const int32_t> table);
  int references(int32_t block) const { return references_[static_cast<size_t>(block)]; }
  /// A block's contents in every layer, copied: after the work before, before the work that follows. `from` and `to`
  /// are [2 · n] i32 on the device, keys as block numbers and values `total()` further on.
  void copy(Ops& ops, const Tensor& from, const Tensor& to);
  /// One holder less of each block; empties the table.
  void release(std::vector<int32_t>& table);

  /// Index of token `position` of a sequence in the pool: block · block_tokens + place in the block.
  int32_t slot(std::span<const int32_t> table, int position) const {
    return table[static_cast<size_t>(position / block_tokens())] * block_tokens() + position % block_tokens();
  }

 private:
  std::vector<Buffer> buffers_;
  std::vector<Tensor> blocks_;  // per layer [2 · blocks, a block]: keys, then values
  KvView view_;
  std::vector<int32_t> references_;
  std::vector<int32_t> free_;  // a stack: the block freed last is the warmest in cache
};

inline KvPool::KvPool(Ops& ops, const KvPoolShape& shape) {
  view_.block_tokens = shape.block_tokens;
  if (shape.layers == 0) return;
  const DType dtype = ops.compute_dtype();
  const Shape extents{shape.blocks, shape.heads, shape.block_tokens, shape.head_dim};
  const size_t half = static_cast<size_t>(extents.elements()) * size_of(dtype);
  for (int layer = 0; layer < shape.layers; ++layer) {
    buffers_.push_back(ops.allocate(2 * half));
    view_.keys.push_back(buffers_.back().tensor(dtype, extents));
    view_.values.push_back(buffers_.back().tensor(dtype, extents, half));
    blocks_.push_back(
        buffers_.back().tensor(dtype, Shape{2 * int64_t{shape.blocks}, extents.elements() / shape.blocks}));
  }
  references_.assign(static_cast<size_t>(shape.blocks), 0);
  free_.reserve(references_.size());
  for (int block = shape.blocks - 1; block >= 0; --block) free_.push_back(block);
}

inline void KvPool::allocate(int count, std::vector<int32_t>& table) {
  if (count > free()) throw fail(StatusCode::internal, "the pool has {} free blocks, asked for {}", free(), count);
  table.reserve(table.size() + static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    const int32_t block = free_.back();
    free_.pop_back();
    references_[static_cast<size_t>(block)] = 1;
    table.push_back(block);
  }
}

inline void KvPool::copy(Ops& ops, const Tensor& from, const Tensor& to) {
  for (const Tensor& layer : blocks_) ops.copy_rows(layer, from, to);
}

inline void KvPool::retain(std::span<const int32_t> table) {
  for (const int32_t block : table) ++references_[static_cast<size_t>(block)];
}

inline void KvPool::release(std::vector<int32_t>& table) {
  for (const int32_t block : table) {
    int32_t& references = references_[static_cast<size_t>(block)];
    if (references == 0) throw fail(StatusCode::internal, "block {} of the pool released twice", block);
    if (--references == 0) free_.push_back(block);
  }
  table.clear();
}

}  // namespace inazuma
