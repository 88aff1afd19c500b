#include "golden/driver.h"

#include <algorithm>
#include <numeric>
#include <random>

namespace inazuma::golden {
namespace {

constexpr int kBlockTokens = 4;
constexpr int kBlocks = 512;

/// Splits downloaded rows among the parts that asked for them.
std::vector<std::vector<float>> split(Ops& ops, const Tensor& all, const std::vector<size_t>& counts) {
  std::vector<std::vector<float>> out(counts.size());
  if (!all.defined()) return out;
  std::vector<float> values(static_cast<size_t>(all.elements()));
  ops.download(values.data(), all);
  auto at = values.begin();
  for (size_t i = 0; i < counts.size(); ++i) {
    const auto end = at + static_cast<std::ptrdiff_t>(counts[i]) * all.cols();
    out[i].assign(at, end);
    at = end;
  }
  return out;
}

}  // namespace

Driver::Driver(Ops& ops, const Model& model)
    : ops_(ops), model_(model), arena_([&ops](size_t bytes) { return ops.allocate(bytes); }) {
  const ModelInfo& info = model.info();
  kv_.block_tokens = kBlockTokens;
  const Shape shape{kBlocks, info.kv_heads, kBlockTokens, info.kv_head_dim};
  const size_t bytes = static_cast<size_t>(shape.elements()) * size_of(ops.compute_dtype());
  const std::vector<uint8_t> nan(bytes, 0xff);
  for (int i = 0; i < 2 * info.kv_layers; ++i) {
    pool_memory_.push_back(ops.allocate(bytes));
    ops.upload(pool_memory_.back().tensor(ops.compute_dtype(), shape), nan.data());
    (i % 2 == 0 ? kv_.keys : kv_.values).push_back(pool_memory_.back().tensor(ops.compute_dtype(), shape));
  }
  free_.resize(kBlocks);
  std::iota(free_.begin(), free_.end(), 0);
  std::shuffle(free_.begin(), free_.end(), std::mt19937(7));
}

int Driver::open() {
  contexts_.emplace_back();
  return static_cast<int>(contexts_.size()) - 1;
}

Tensor Driver::device(DType dtype, const Shape& shape, const void* values) {
  step_memory_.push_back(ops_.allocate(std::max<size_t>(static_cast<size_t>(shape.elements()) * size_of(dtype), 1)));
  const Tensor out = step_memory_.back().tensor(dtype, shape);
  if (values != nullptr) ops_.upload(out, values);
  return out;
}

Tensor Driver::ints(const std::vector<int>& values, const Shape& shape) {
  return device(DType::i32, shape, values.data());
}

int Driver::slot(std::vector<int>& blocks, int position) {
  while (static_cast<int>(blocks.size()) <= position / kBlockTokens) {
    if (free_.empty()) throw fail(StatusCode::internal, "the test's pool is too small");
    blocks.push_back(free_.back());
    free_.pop_back();
  }
  return blocks[static_cast<size_t>(position / kBlockTokens)] * kBlockTokens + position % kBlockTokens;
}

EncoderLane Driver::encoder_lane(const std::vector<Encode>& encodes) {
  std::vector<int> ids, types, positions, offsets{0}, slots, rows, pooled;
  EncoderLane lane;
  for (size_t s = 0; s < encodes.size(); ++s) {
    const Encode& encode = encodes[s];
    const int length = static_cast<int>(encode.ids.size());
    ids.insert(ids.end(), encode.ids.begin(), encode.ids.end());
    for (int i = 0; i < length; ++i) {
      types.push_back(encode.types.empty() ? 0 : encode.types[static_cast<size_t>(i)]);
      positions.push_back(i);
      if (encode.sequence < 0) continue;
      slots.push_back(slot(contexts_[static_cast<size_t>(encode.sequence)].cross_blocks, i));
    }
    if (encode.sequence >= 0) contexts_[static_cast<size_t>(encode.sequence)].cross_length = length;
    for (const int row : encode.rows) rows.push_back(offsets.back() + row);
    if (encode.pooled) pooled.push_back(static_cast<int>(s));
    offsets.push_back(offsets.back() + length);
    lane.max_length = std::max(lane.max_length, length);
  }
  lane.tokens = offsets.back();
  lane.sequences = static_cast<int>(encodes.size());
  if (lane.tokens == 0) return lane;
  lane.ids = ints(ids, {lane.tokens});
  lane.type_ids = ints(types, {lane.tokens});
  lane.positions = ints(positions, {lane.tokens});
  lane.offsets = ints(offsets, {lane.sequences + 1});
  if (!slots.empty()) lane.cross_slots = ints(slots, {lane.tokens});
  if (!rows.empty()) lane.rows = ints(rows, {static_cast<int64_t>(rows.size())});
  if (!pooled.empty()) lane.pooled = ints(pooled, {static_cast<int64_t>(pooled.size())});
  return lane;
}

Tensor Driver::tables(const std::vector<Decode>& decodes, bool cross) {
  size_t width = 1;
  const auto blocks = [&](const Decode& decode) -> const std::vector<int>& {
    const Context& context = contexts_[static_cast<size_t>(decode.sequence)];
    return cross ? context.cross_blocks : context.blocks;
  };
  for (const Decode& decode : decodes) width = std::max(width, blocks(decode).size());
  std::vector<int> table;
  for (const Decode& decode : decodes) {
    table.insert(table.end(), blocks(decode).begin(), blocks(decode).end());
    table.resize((static_cast<size_t>(&decode - decodes.data()) + 1) * width, 0);
  }
  return ints(table, {static_cast<int64_t>(decodes.size()), static_cast<int64_t>(width)});
}

DecoderLane Driver::decoder_lane(const std::vector<Decode>& decodes) {
  std::vector<int> ids, positions, offsets{0}, slots, contexts, cross, rows;
  DecoderLane lane;
  for (const Decode& decode : decodes) {
    Context& context = contexts_[static_cast<size_t>(decode.sequence)];
    const int count = static_cast<int>(decode.ids.size());
    ids.insert(ids.end(), decode.ids.begin(), decode.ids.end());
    for (int i = 0; i < count; ++i) {
      positions.push_back(context.length + i);
      slots.push_back(slot(context.blocks, context.length + i));
      const bool last = i + 1 == count;
      if (decode.want == Decode::Want::all || (decode.want == Decode::Want::last && last)) {
        rows.push_back(offsets.back() + i);
      }
    }
    context.length += count;
    contexts.push_back(context.length);
    cross.push_back(context.cross_length);
    offsets.push_back(offsets.back() + count);
    lane.max_query = std::max(lane.max_query, count);
    lane.max_context = std::max(lane.max_context, context.length);
    lane.max_cross_context = std::max(lane.max_cross_context, context.cross_length);
  }
  lane.tokens = offsets.back();
  lane.sequences = static_cast<int>(decodes.size());
  if (lane.tokens == 0) return lane;
  lane.ids = ints(ids, {lane.tokens});
  lane.positions = ints(positions, {lane.tokens});
  lane.offsets = ints(offsets, {lane.sequences + 1});
  lane.slots = ints(slots, {lane.tokens});
  lane.context_lengths = ints(contexts, {lane.sequences});
  lane.block_tables = tables(decodes, false);
  lane.cross_context_lengths = ints(cross, {lane.sequences});
  lane.cross_block_tables = tables(decodes, true);
  if (!rows.empty()) lane.rows = ints(rows, {static_cast<int64_t>(rows.size())});
  return lane;
}

StepOutput Driver::step(const std::vector<Encode>& encodes, const std::vector<Decode>& decodes) {
  arena_.reset();
  step_memory_.clear();
  const Batch batch{.encoder = encoder_lane(encodes), .decoder = decoder_lane(decodes)};
  StepOutput out;
  out.device = model_.forward(ops_, batch, kv_, arena_);
  std::vector<size_t> rows, pooled, logits;
  for (const Encode& encode : encodes) {
    rows.push_back(encode.rows.size());
    pooled.push_back(encode.pooled ? 1 : 0);
  }
  for (const Decode& decode : decodes) {
    logits.push_back(decode.want == Decode::Want::all ? decode.ids.size() : decode.want == Decode::Want::last ? 1 : 0);
  }
  out.rows = split(ops_, out.device.rows, rows);
  out.pooled = split(ops_, out.device.pooled, pooled);
  out.logits = split(ops_, out.device.logits, logits);
  return out;
}

}  // namespace inazuma::golden
