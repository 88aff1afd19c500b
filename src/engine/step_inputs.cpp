#include "engine/step_inputs.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "engine/limits.h"
#include "engine/sampler.h"

namespace inazuma {

void Upload::begin(Arena& arena, size_t capacity) {
  used_ = 0;
  if (host_.size() < capacity) host_.resize(capacity);
  device_ = arena.tensor(DType::u8, Shape{static_cast<int64_t>(capacity)});
}

Tensor Upload::place_bytes(const void* data, size_t count, DType dtype, const Shape& shape) {
  if (count == 0) return {};
  if (used_ + count > static_cast<size_t>(device_.elements()))
    throw fail(StatusCode::internal, "a step's arrays exceed the {} bytes counted for them", device_.elements());
  std::memcpy(host_.data() + used_, data, count);
  Tensor view(static_cast<char*>(device_.data()) + used_, dtype, shape, device_.device());
  used_ += room(count);
  return view;
}

void Upload::send(Ops& ops) {
  if (used_ > 0) ops.upload(device_, host_.data());
}

History::History(Ops& ops, int slots, int capacity) : spare_(slots) {
  for (int slot = slots - 1; slot >= 0; --slot) free_.push_back(slot);
  if (capacity == 0) return;
  const Shape shape{slots + 1, capacity};
  buffer_ = ops.allocate(static_cast<size_t>(shape.elements()) * sizeof(int32_t));
  tensor_ = buffer_.tensor(DType::i32, shape);
  write(ops, spare_, 0, std::vector<int32_t>(static_cast<size_t>(capacity)));
}

int History::take() {
  if (free_.empty()) throw fail(StatusCode::internal, "all rows of the history are taken");
  const int slot = free_.back();
  free_.pop_back();
  return slot;
}

void History::give_back(int& slot) {
  if (slot >= 0) free_.push_back(slot);
  slot = -1;
}

void History::write(Ops& ops, int slot, int begin, std::span<const int32_t> ids) {
  const Tensor row = tensor_.rows(slot, slot + 1);
  int32_t* const at = static_cast<int32_t*>(row.data()) + begin;
  ops.upload(Tensor(at, DType::i32, Shape{static_cast<int64_t>(ids.size())}, row.device()), ids.data());
}

namespace {

void append_range(std::vector<int32_t>& out, int begin, int count) {
  const size_t old = out.size();
  out.resize(old + static_cast<size_t>(count));
  std::iota(out.begin() + static_cast<std::ptrdiff_t>(old), out.end(), begin);
}

/// The first `used` blocks of a sequence, filled up to the step's widest table.
void append_table(std::vector<int32_t>& out, const std::vector<int32_t>& table, int used, int width) {
  out.insert(out.end(), table.begin(), table.begin() + used);
  out.insert(out.end(), static_cast<size_t>(width - used), 0);
}

Shape flat(const std::vector<int32_t>& values) {
  return Shape{static_cast<int64_t>(values.size())};
}

/// Steps of more rows keep the device busy for longer than the host needs to start them: nothing to gain.
constexpr int kMostRounded = 8192;

int up_to_multiple(int count, int unit) {
  return (count + unit - 1) / unit * unit;
}

/// 1, 2, 4, 8, 16, ...
int up_to_power(int count) {
  return static_cast<int>(std::bit_ceil(static_cast<unsigned>(count)));
}

/// Rows cost time beyond some: at most an eighth more, in eights. 1, 2, 4, 8, 16, 24, ..., 128, 144, ...
int rounded_rows(int count) {
  if (count <= 8) return up_to_power(count);
  return up_to_multiple(count, std::max(8, up_to_power(count) / 16));
}

/// Bounds cost a little of a grid: 64, 96, 128, 192, ...
int rounded_bound(int bound) {
  const int power = std::max(up_to_power(bound), 64);
  return power > 64 && bound <= power / 4 * 3 ? power / 4 * 3 : power;
}

/// A text of up to 64 tokens is attended to at once, by as many threads as it has 16s.
int rounded_text(int length) {
  return length <= 64 ? up_to_multiple(length, 16) : rounded_bound(length);
}

void pad(std::vector<int32_t>& values, int count, int32_t value) {
  values.resize(static_cast<size_t>(count), value);
}

}  // namespace

/// Room for every row decoding at the end of its context; only wider prefills and lists of bans may grow it once.
StepBuilder::StepBuilder(const ModelInfo& info, const EngineOptions& options, bool rounds)
    : info_(info), rounds_(rounds) {
  if (!info.has_decoder) return;
  const size_t rows = static_cast<size_t>(options.max_sequences);
  DecoderArrays& d = decoder_;
  for (Ints* array :
       {&d.history_slots, &d.positions, &d.offsets, &d.slots, &d.context_lengths, &d.cross_lengths, &d.rows})
    array->reserve(rows + 1);
  d.block_tables.reserve(rows * static_cast<size_t>(blocks_for(options.max_context, options.block_tokens)));
  if (info.has_encoder)
    d.cross_tables.reserve(rows * static_cast<size_t>(blocks_for(source_limit(info, options), options.block_tokens)));
  bans_.reserve(static_cast<size_t>(info.vocab));  // what one forced token bans; lists of n-grams are far shorter
  selection_.reserve(rows);
  step_.selecting.reserve(rows);
  constexpr size_t kAlignments = 20 * 64;
  upload_.reserve(kAlignments + rows * sizeof(SelectionRow) +
                  sizeof(int32_t) *
                      (8 * rows + d.block_tables.capacity() + d.cross_tables.capacity() + bans_.capacity()));
}

void StepBuilder::clear() {
  step_.batch = {};
  step_.selecting.clear();
  step_.top_tokens = step_.tokens = step_.prompt_tokens = step_.rows = step_.pooled = 0;
  step_.rounded = false;
  EncoderArrays& e = encoder_;
  DecoderArrays& d = decoder_;
  for (Ints* array : {&e.ids, &e.type_ids, &e.positions, &e.offsets, &e.cross_slots, &e.rows, &e.pooled,
                      &d.history_slots, &d.positions, &d.offsets, &d.slots, &d.context_lengths, &d.block_tables,
                      &d.cross_lengths, &d.cross_tables, &d.rows, &bans_, &targets_})
    array->clear();
  selection_.clear();
  hidden_.clear();
}

size_t StepBuilder::room() const {
  const EncoderArrays& e = encoder_;
  const DecoderArrays& d = decoder_;
  size_t total = Upload::room(selection_.size() * sizeof(SelectionRow)) + Upload::room(hidden_.size() * sizeof(float));
  for (const Ints* array : {&e.ids, &e.type_ids, &e.positions, &e.offsets, &e.cross_slots, &e.rows, &e.pooled,
                            &d.history_slots, &d.positions, &d.offsets, &d.slots, &d.context_lengths, &d.block_tables,
                            &d.cross_lengths, &d.cross_tables, &d.rows, &bans_, &targets_})
    total += Upload::room(array->size() * sizeof(int32_t));
  return total;
}

const StepInputs& StepBuilder::build(const Plan& plan, const KvPool& pool, const History& history, Ops& ops,
                                     Arena& arena) {
  clear();
  if (!plan.encode.empty()) gather_encoder(plan, pool);
  if (!plan.decode.empty()) {
    gather_decoder(plan, pool);
    gather_selection(plan);
  }
  step_.tokens = step_.batch.encoder.tokens + step_.batch.decoder.tokens;
  step_.prompt_tokens += step_.batch.encoder.tokens;
  step_.rows = static_cast<int>(encoder_.rows.size());
  step_.pooled = static_cast<int>(encoder_.pooled.size());
  step_.rounded = rounds_ && step_.tokens <= kMostRounded && targets_.empty();
  if (step_.rounded && !plan.encode.empty()) round_encoder();
  if (step_.rounded && !plan.decode.empty()) round_decoder(history.spare());
  if (!plan.decode.empty()) gather_tables(plan, pool);
  upload_.begin(arena, room());
  place_encoder(plan, ops.compute_dtype());
  place_decoder(plan);
  place_selection();
  upload_.send(ops);
  if (!plan.decode.empty()) {
    DecoderLane& lane = step_.batch.decoder;
    lane.ids = arena.tensor(DType::i32, Shape{lane.tokens});
  }
  return step_;
}

void StepBuilder::round_encoder() {
  EncoderLane& lane = step_.batch.encoder;
  EncoderArrays& e = encoder_;
  const int end = lane.tokens;
  lane.tokens = rounded_rows(lane.tokens);
  lane.sequences = up_to_power(lane.sequences);
  lane.max_length = rounded_text(lane.max_length);
  for (Ints* array : {&e.ids, &e.type_ids, &e.positions}) pad(*array, lane.tokens, 0);
  if (!e.cross_slots.empty()) pad(e.cross_slots, lane.tokens, -1);
  pad(e.offsets, lane.sequences + 1, end);
  if (!e.rows.empty()) pad(e.rows, rounded_rows(step_.rows), 0);
  if (!e.pooled.empty()) pad(e.pooled, rounded_rows(step_.pooled), 0);
}

void StepBuilder::round_decoder(int spare) {
  DecoderLane& lane = step_.batch.decoder;
  DecoderArrays& d = decoder_;
  const int end = lane.tokens;
  lane.tokens = rounded_rows(lane.tokens);
  lane.sequences = rounded_rows(lane.sequences);
  lane.max_query = up_to_power(lane.max_query);
  lane.max_context = rounded_bound(lane.max_context);
  if (lane.max_cross_context > 0) lane.max_cross_context = rounded_bound(lane.max_cross_context);
  pad(d.history_slots, lane.tokens, spare);
  pad(d.positions, lane.tokens, 0);
  pad(d.slots, lane.tokens, -1);
  pad(d.offsets, lane.sequences + 1, end);
  pad(d.context_lengths, lane.sequences, 0);
  if (info_.has_encoder) pad(d.cross_lengths, lane.sequences, 0);
  if (!d.rows.empty()) {
    const int selections = rounded_rows(static_cast<int>(selection_.size()));
    pad(d.rows, selections, 0);
    SelectionRow nobody;
    nobody.slot = -1;
    selection_.resize(static_cast<size_t>(selections), nobody);
  }
  if (!bans_.empty()) pad(bans_, up_to_power(static_cast<int>(bans_.size())), -1);
}

void StepBuilder::gather_encoder(const Plan& plan, const KvPool& pool) {
  EncoderLane& lane = step_.batch.encoder;
  lane.sequences = static_cast<int>(plan.encode.size());
  encoder_.offsets.push_back(0);
  for (const Sequence* row : plan.encode) {
    lane.max_length = std::max(lane.max_length, row->source());
    gather_source(*row, pool);
  }
  lane.tokens = static_cast<int>(encoder_.ids.size());
}

void StepBuilder::gather_source(const Sequence& row, const KvPool& pool) {
  EncoderArrays& e = encoder_;
  const SequenceRequest& request = row.request;
  const int begin = static_cast<int>(e.ids.size());
  const int sequence = static_cast<int>(e.offsets.size()) - 1;
  e.ids.insert(e.ids.end(), request.ids.begin(), request.ids.end());
  hidden_.insert(hidden_.end(), request.hidden.begin(), request.hidden.end());
  e.type_ids.insert(e.type_ids.end(), request.type_ids.begin(), request.type_ids.end());
  e.type_ids.resize(e.ids.size(), 0);
  append_range(e.positions, 0, row.source());
  if (info_.has_decoder)
    for (int i = 0; i < row.source(); ++i) e.cross_slots.push_back(pool.slot(row.cross_blocks, i));
  if (request.rows == SequenceRequest::Wanted::all) append_range(e.rows, begin, row.source());
  if (request.rows == SequenceRequest::Wanted::listed)
    for (const int32_t position : request.listed) e.rows.push_back(begin + position);
  if (request.pooled) e.pooled.push_back(sequence);
  e.offsets.push_back(static_cast<int32_t>(e.ids.size()));
}

void StepBuilder::gather_decoder(const Plan& plan, const KvPool& pool) {
  DecoderLane& lane = step_.batch.decoder;
  DecoderArrays& d = decoder_;
  lane.sequences = static_cast<int>(plan.decode.size());
  d.offsets.push_back(0);
  for (const Plan::Chunk& chunk : plan.decode) {
    const Sequence& row = *chunk.sequence;
    append_range(d.positions, chunk.begin, chunk.count);
    d.history_slots.resize(d.positions.size(), row.slot_of(chunk.beam));
    const Ints& blocks = row.blocks_of(chunk.beam);
    for (int i = 0; i < chunk.count; ++i) d.slots.push_back(pool.slot(blocks, chunk.begin + i));
    d.offsets.push_back(static_cast<int32_t>(d.positions.size()));
    d.context_lengths.push_back(chunk.begin + chunk.count);
    lane.max_query = std::max(lane.max_query, chunk.count);
    lane.max_context = std::max(lane.max_context, chunk.begin + chunk.count);
    if (row.phase != Sequence::Phase::decode) step_.prompt_tokens += chunk.count;
    if (!info_.has_encoder) continue;
    d.cross_lengths.push_back(row.source());
    lane.max_cross_context = std::max(lane.max_cross_context, row.source());
  }
  lane.tokens = static_cast<int>(d.positions.size());
}

void StepBuilder::gather_tables(const Plan& plan, const KvPool& pool) {
  const int width = blocks_for(step_.batch.decoder.max_context, pool.block_tokens());
  const int cross_width = blocks_for(step_.batch.decoder.max_cross_context, pool.block_tokens());
  for (const Plan::Chunk& chunk : plan.decode) {
    const Sequence& row = *chunk.sequence;
    const int used = blocks_for(chunk.begin + chunk.count, pool.block_tokens());
    append_table(decoder_.block_tables, row.blocks_of(chunk.beam), used, width);
    if (!info_.has_encoder) continue;
    append_table(decoder_.cross_tables, row.cross_blocks, static_cast<int>(row.cross_blocks.size()), cross_width);
  }
  const int sequences = step_.batch.decoder.sequences;
  pad(decoder_.block_tables, sequences * width, 0);
  if (info_.has_encoder) pad(decoder_.cross_tables, sequences * cross_width, 0);
}

void StepBuilder::gather_selection(const Plan& plan) {
  DecoderArrays& d = decoder_;
  for (size_t i = 0; i < plan.decode.size(); ++i) {
    const Plan::Chunk& chunk = plan.decode[i];
    if (!chunk.selects()) continue;
    Sequence& row = *chunk.sequence;
    const int ban_begin = static_cast<int>(bans_.size());
    append_bans(row, info_.vocab, bans_, chunk.beam);
    selection_.push_back(selection_row(row, ban_begin, static_cast<int>(bans_.size()), chunk.beam));
    step_.selecting.push_back(&row);
    step_.top_tokens = std::max(step_.top_tokens, wanted_alternatives(row));
    d.rows.push_back(d.offsets[i + 1] - 1);
  }
  for (size_t i = 0; i < plan.decode.size(); ++i) {
    const Plan::Chunk& chunk = plan.decode[i];
    const Sequence& row = *chunk.sequence;
    if (!row.request.generation.prompt_logprobs || row.phase == Sequence::Phase::decode) continue;
    const int known =
        std::min(chunk.begin + chunk.count, row.prompt - 1);  // the last id's successor is what is selected
    for (int position = chunk.begin; position < known; ++position) {
      d.rows.push_back(d.offsets[i] + position - chunk.begin);
      targets_.push_back(row.history[static_cast<size_t>(position) + 1]);
    }
  }
}

/// In the element type that the model computes in.
Tensor StepBuilder::place_hidden(DType compute_dtype) {
  const Shape shape{step_.batch.encoder.tokens, info_.hidden};
  if (compute_dtype == DType::f32) return upload_.place(hidden_, DType::f32, shape);
  hidden_halves_.resize(hidden_.size());
  for (size_t i = 0; i < hidden_.size(); ++i)
    hidden_halves_[i] = compute_dtype == DType::f16 ? to_half(hidden_[i]).bits : to_bfloat16(hidden_[i]).bits;
  return upload_.place(hidden_halves_, compute_dtype, shape);
}

void StepBuilder::place_encoder(const Plan& plan, DType compute_dtype) {
  if (plan.encode.empty()) return;
  EncoderLane& lane = step_.batch.encoder;
  const EncoderArrays& e = encoder_;
  lane.ids = upload_.place(e.ids, DType::i32, flat(e.ids));
  if (info_.vocab == 0) lane.inputs = place_hidden(compute_dtype);
  lane.type_ids = upload_.place(e.type_ids, DType::i32, flat(e.type_ids));
  lane.positions = upload_.place(e.positions, DType::i32, flat(e.positions));
  lane.offsets = upload_.place(e.offsets, DType::i32, flat(e.offsets));
  lane.cross_slots = upload_.place(e.cross_slots, DType::i32, flat(e.cross_slots));
  lane.rows = upload_.place(e.rows, DType::i32, flat(e.rows));
  lane.pooled = upload_.place(e.pooled, DType::i32, flat(e.pooled));
}

void StepBuilder::place_decoder(const Plan& plan) {
  if (plan.decode.empty()) return;
  DecoderLane& lane = step_.batch.decoder;
  const DecoderArrays& d = decoder_;
  const int64_t sequences = lane.sequences;
  const auto table = [&](const Ints& blocks) {
    return upload_.place(blocks, DType::i32, Shape{sequences, static_cast<int64_t>(blocks.size()) / sequences});
  };
  step_.history_slots = upload_.place(d.history_slots, DType::i32, flat(d.history_slots));
  lane.positions = upload_.place(d.positions, DType::i32, flat(d.positions));
  lane.offsets = upload_.place(d.offsets, DType::i32, flat(d.offsets));
  lane.slots = upload_.place(d.slots, DType::i32, flat(d.slots));
  lane.context_lengths = upload_.place(d.context_lengths, DType::i32, flat(d.context_lengths));
  lane.block_tables = table(d.block_tables);
  lane.cross_context_lengths = upload_.place(d.cross_lengths, DType::i32, flat(d.cross_lengths));
  lane.cross_block_tables = table(d.cross_tables);
  lane.rows = upload_.place(d.rows, DType::i32, flat(d.rows));
}

void StepBuilder::place_selection() {
  const Shape shape{static_cast<int64_t>(selection_.size()), static_cast<int64_t>(sizeof(SelectionRow))};
  step_.selection = upload_.place(selection_, DType::u8, shape);
  step_.bans = upload_.place(bans_, DType::i32, flat(bans_));
  step_.targets = upload_.place(targets_, DType::i32, flat(targets_));
}

}  // namespace inazuma
