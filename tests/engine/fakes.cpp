#include "fakes.h"

#include <gtest/gtest.h>
#include <cstdlib>

#include <chrono>

namespace inazuma::test {

namespace {

constexpr auto kPatience = std::chrono::seconds(90);  // only a hang reaches it, also under a sanitizer

uint64_t mix(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15ULL + (hash << 6) + (hash >> 2);
  hash *= 0xff51afd7ed558ccdULL;
  return hash ^ (hash >> 33);
}

uint64_t text_hash(const int32_t* ids, const int32_t* types, int count) {
  uint64_t hash = 1;
  for (int i = 0; i < count; ++i) hash = mix(mix(hash, static_cast<uint64_t>(ids[i])), static_cast<uint64_t>(types[i]));
  return hash;
}

float number(uint64_t hash) {
  return static_cast<float>(hash % 2048) / 128.0f;
}

void fill_row(float* out, uint64_t text, int position) {
  for (int i = 0; i < FakeModel::kRowWidth; ++i)
    out[i] = number(mix(mix(text, static_cast<uint64_t>(position)), static_cast<uint64_t>(i)));
}

void fill_pooled(float* out, uint64_t text) {
  for (int i = 0; i < FakeModel::kPooledWidth; ++i) out[i] = number(mix(text, static_cast<uint64_t>(1000 + i)));
}

void fill_logits(float* out, uint64_t hash) {
  for (int id = 0; id < FakeModel::kVocab; ++id) out[id] = number(mix(hash, static_cast<uint64_t>(id)));
}

constexpr int kHeads = 2, kDim = 2;

/// Element (slot, head, dim) of one layer of the pool.
float& cell(const Tensor& layer, int slot, int head, int dim) {
  const int64_t tokens = layer.shape()[2];
  const int64_t block = slot / tokens, place = slot % tokens;
  return layer.as<float>()[((block * kHeads + head) * tokens + place) * kDim + dim];
}

/// Keys hold the id, values the id and the position, in every head.
void keep(KvView& kv, int slot, int id, int position) {
  for (size_t layer = 0; layer < kv.keys.size(); ++layer)
    for (int head = 0; head < kHeads; ++head) {
      cell(kv.keys[layer], slot, head, 0) = static_cast<float>(id);
      cell(kv.keys[layer], slot, head, 1) = static_cast<float>(position);
      cell(kv.values[layer], slot, head, 0) = static_cast<float>(id);
      cell(kv.values[layer], slot, head, 1) = static_cast<float>(position);
    }
}

// A warm-up's rows have contexts that nobody wrote: any float can lie there, and not every one is a whole number.
uint64_t whole(float x) {
  constexpr float kMost = 1 << 24;
  return x >= 0.0f && x <= kMost ? static_cast<uint64_t>(x) : ~uint64_t{0};
}

uint64_t recall(uint64_t hash, const KvView& kv, const int32_t* table, int length) {
  for (int j = 0; j < length; ++j) {
    const int slot = table[j / kv.block_tokens] * kv.block_tokens + j % kv.block_tokens;
    hash = mix(mix(hash, whole(cell(kv.keys[0], slot, 0, 0))), whole(cell(kv.values[1], slot, 1, 1)));
  }
  return hash;
}

uint64_t remembered(uint64_t hash, const std::vector<int32_t>& ids) {
  for (size_t j = 0; j < ids.size(); ++j) hash = mix(mix(hash, static_cast<uint64_t>(ids[j])), j);
  return hash;
}

}  // namespace

FakeModel::FakeModel(Family family, int max_positions) {
  info_.architecture = "Fake";
  info_.vocab = kVocab;
  info_.hidden = 4;
  info_.max_positions = max_positions;
  info_.type_vocab = kTypes;
  info_.has_encoder = family != Family::decoder;
  info_.has_decoder = family != Family::encoder;
  if (family == Family::encoder) {
    info_.row_width = kRowWidth;
    info_.pooled_width = kPooledWidth;
    return;
  }
  info_.kv_layers = 2;
  info_.kv_heads = kHeads;
  info_.kv_head_dim = kDim;
  info_.decoder_start = family == Family::encoder_decoder ? kStart : -1;
}

Output FakeModel::forward(Ops&, const Batch& batch, KvView& kv, Arena& arena) const {
  if (before) before(batch);
  Output out;
  if (batch.encoder.tokens > 0) encode(batch.encoder, kv, arena, out);
  if (batch.decoder.tokens > 0) decode(batch.decoder, kv, arena, out);
  if (after) after(batch, out);
  return out;
}

void FakeModel::encode(const EncoderLane& lane, KvView& kv, Arena& arena, Output& out) const {
  const int32_t* ids = lane.ids.as<int32_t>();
  const int32_t* types = lane.type_ids.as<int32_t>();
  const int32_t* offsets = lane.offsets.as<int32_t>();
  const auto hash_of = [&](int s) {
    return text_hash(ids + offsets[s], types + offsets[s], offsets[s + 1] - offsets[s]);
  };
  if (lane.cross_slots.defined())
    for (int t = 0; t < lane.tokens; ++t)
      keep(kv, lane.cross_slots.as<int32_t>()[t], ids[t], lane.positions.as<int32_t>()[t]);
  if (lane.rows.defined()) {
    out.rows = arena.tensor(DType::f32, Shape{lane.rows.rows(), kRowWidth});
    for (int64_t i = 0; i < lane.rows.rows(); ++i) {
      const int token = lane.rows.as<int32_t>()[i];
      int s = 0;
      while (offsets[s + 1] <= token) ++s;
      fill_row(out.rows.as<float>() + i * kRowWidth, hash_of(s), lane.positions.as<int32_t>()[token]);
    }
  }
  if (lane.pooled.defined()) {
    out.pooled = arena.tensor(DType::f32, Shape{lane.pooled.rows(), kPooledWidth});
    for (int64_t i = 0; i < lane.pooled.rows(); ++i)
      fill_pooled(out.pooled.as<float>() + i * kPooledWidth, hash_of(lane.pooled.as<int32_t>()[i]));
  }
}

void FakeModel::decode(const DecoderLane& lane, KvView& kv, Arena& arena, Output& out) const {
  const int32_t* offsets = lane.offsets.as<int32_t>();
  const int32_t* positions = lane.positions.as<int32_t>();
  for (int t = 0; t < lane.tokens; ++t) keep(kv, lane.slots.as<int32_t>()[t], lane.ids.as<int32_t>()[t], positions[t]);
  if (!lane.rows.defined()) return;
  out.logits = arena.tensor(DType::f32, Shape{lane.rows.rows(), kVocab});
  for (int64_t i = 0; i < lane.rows.rows(); ++i) {
    const int token = lane.rows.as<int32_t>()[i];
    int s = 0;
    while (offsets[s + 1] <= token) ++s;
    uint64_t hash = 7;
    if (info_.has_encoder)
      hash = recall(hash, kv, lane.cross_block_tables.as<int32_t>() + s * lane.cross_block_tables.stride(0),
                    lane.cross_context_lengths.as<int32_t>()[s]);
    const int position = lane.context_lengths.as<int32_t>()[s] - (offsets[s + 1] - token);
    if (position != positions[token]) throw fail(StatusCode::internal, "positions disagree with the context");
    hash = recall(hash, kv, lane.block_tables.as<int32_t>() + s * lane.block_tables.stride(0), position + 1);
    fill_logits(out.logits.as<float>() + i * kVocab, hash);
  }
}

std::vector<float> expected_rows(const std::vector<int32_t>& ids, const std::vector<int32_t>& types) {
  std::vector<int32_t> all = types;
  all.resize(ids.size(), 0);
  const int count = static_cast<int>(ids.size());
  std::vector<float> out(ids.size() * FakeModel::kRowWidth);
  for (int i = 0; i < count; ++i)
    fill_row(out.data() + i * FakeModel::kRowWidth, text_hash(ids.data(), all.data(), count), i);
  return out;
}

std::vector<float> expected_pooled(const std::vector<int32_t>& ids, const std::vector<int32_t>& types) {
  std::vector<int32_t> all = types;
  all.resize(ids.size(), 0);
  std::vector<float> out(FakeModel::kPooledWidth);
  fill_pooled(out.data(), text_hash(ids.data(), all.data(), static_cast<int>(ids.size())));
  return out;
}

std::vector<float> expected_logits(const std::vector<int32_t>& source, const std::vector<int32_t>& history) {
  std::vector<float> logits(FakeModel::kVocab);
  fill_logits(logits.data(), remembered(remembered(7, source), history));
  return logits;
}

std::vector<int32_t> expected_greedy(const std::vector<int32_t>& source, std::vector<int32_t> history, int count) {
  const size_t prompt = history.size();
  for (int i = 0; i < count; ++i) {
    const std::vector<float> logits = expected_logits(source, history);
    history.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
  }
  return {history.begin() + static_cast<std::ptrdiff_t>(prompt), history.end()};
}

thread_local bool WatchedOps::paused = false;

template <class Work>
auto WatchedOps::pass(const char* name, Work&& work) {
  if (on_call_) on_call_(name);
  struct Pause {
    bool before = std::exchange(paused, true);
    ~Pause() { paused = before; }
  } pause;
  return work();
}

Buffer WatchedOps::allocate(size_t bytes) {
  return pass("allocate", [&] { return inner_->allocate(bytes); });
}
Matrix WatchedOps::do_pack(std::span<const Tensor> weights, WeightLayout layout) {
  return inner_->pack(weights, layout);
}
Parameter WatchedOps::do_parameter(std::span<const Tensor> parts, DType dtype) {
  return inner_->parameter(parts, dtype);
}
void WatchedOps::do_upload(const Tensor& destination, const void* source) {
  pass("upload", [&] { inner_->upload(destination, source); });
}
void WatchedOps::do_download(void* destination, const Tensor& source) {
  pass("download", [&] { inner_->download(destination, source); });
}
void WatchedOps::do_embed(const Tensor& out, std::span<const EmbeddingTerm> terms) {
  pass("embed", [&] { inner_->embed(out, terms); });
}
void WatchedOps::do_linear(const LinearArgs& args) {
  pass("linear", [&] { inner_->linear(args); });
}
void WatchedOps::do_norm(const NormArgs& args) {
  pass("norm", [&] { inner_->norm(args); });
}
void WatchedOps::do_attention(const AttentionArgs& args) {
  pass("attention", [&] { inner_->attention(args); });
}
void WatchedOps::do_paged_attention(const PagedAttentionArgs& args) {
  pass("paged_attention", [&] { inner_->paged_attention(args); });
}
void WatchedOps::do_store_kv(const StoreKvArgs& args) {
  pass("store_kv", [&] { inner_->store_kv(args); });
}
void WatchedOps::do_gather_rows(const Tensor& out, const Tensor& x, const Tensor& rows) {
  pass("gather_rows", [&] { inner_->gather_rows(out, x, rows); });
}
void WatchedOps::do_copy_rows(const Tensor& x, const Tensor& from, const Tensor& to) {
  pass("copy_rows", [&] { inner_->copy_rows(x, from, to); });
}
void WatchedOps::do_pool(const Tensor& out, const Tensor& x, const Tensor& offsets, const Tensor& which,
                         Pooling pooling) {
  pass("pool", [&] { inner_->pool(out, x, offsets, which, pooling); });
}
void WatchedOps::do_read_history(const Tensor& ids, const Tensor& history, const Tensor& slots,
                                 const Tensor& positions) {
  pass("read_history", [&] { inner_->read_history(ids, history, slots, positions); });
}
void WatchedOps::do_select_tokens(const SelectionArgs& args) {
  pass("select_tokens", [&] { inner_->select_tokens(args); });
}
void WatchedOps::do_token_logprobs(const Tensor& out, const Tensor& logits, const Tensor& targets) {
  pass("token_logprobs", [&] { inner_->token_logprobs(out, logits, targets); });
}

void Collector::on_event(SequenceEvent event) {
  if (also) also(event);
  const std::lock_guard lock(mutex_);
  Told& row = rows_[event.index];
  if (row.ends > 0) row.broken = "an event after the end";
  switch (event.kind) {
    case SequenceEvent::Kind::prompt:
      if (!row.tokens.empty() || !row.prompt.empty()) row.broken = "prompt out of order";
      row.prompt = std::move(event.prompt);
      break;
    case SequenceEvent::Kind::token:
      row.tokens.push_back(event.token.id);
      row.logprobs.push_back(event.token.logprob);
      row.top.push_back(std::move(event.top));
      break;
    case SequenceEvent::Kind::finished:
      row.reason = event.reason;
      row.generated = event.generated;
      row.hypotheses = std::move(event.hypotheses);
      row.rows = std::move(event.rows);
      row.pooled = std::move(event.pooled);
      row.times = event.times;
      break;
    case SequenceEvent::Kind::failed:
      row.failed = std::move(event.status);
      if (row.failed.ok()) row.broken = "failed with status ok";
      break;
  }
  if (event.kind == SequenceEvent::Kind::finished || event.kind == SequenceEvent::Kind::failed) {
    ++row.ends;
    ended_.push_back(event.index);
  }
  changed_.notify_all();
}

bool Collector::wait(int count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return static_cast<int>(ended_.size()) >= count; });
}

bool Collector::wait_tokens(int index, size_t tokens) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return rows_[index].tokens.size() >= tokens; });
}

Told Collector::row(int index) const {
  const std::lock_guard lock(mutex_);
  const auto found = rows_.find(index);
  return found == rows_.end() ? Told{} : found->second;
}

int Collector::ended() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(ended_.size());
}

std::vector<int> Collector::order_of_ends() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

SequenceRequest encode_row(std::vector<int32_t> ids, int index, std::shared_ptr<SequenceSink> sink) {
  SequenceRequest row;
  row.ids = std::move(ids);
  row.rows = SequenceRequest::Wanted::all;
  row.pooled = true;
  row.index = index;
  row.sink = std::move(sink);
  return row;
}

SequenceRequest generate_row(std::vector<int32_t> ids, int max_new, int index, std::shared_ptr<SequenceSink> sink) {
  SequenceRequest row;
  row.ids = std::move(ids);
  row.generation.max_new_tokens = max_new;
  row.index = index;
  row.sink = std::move(sink);
  return row;
}

std::unique_ptr<Engine> start(std::shared_ptr<const Model> model, const EngineOptions& options) {
  EngineOptions chosen = options;
  const char* const steps = std::getenv("INAZUMA_TEST_STEPS_IN_FLIGHT");  // CMakeLists.txt
  if (steps != nullptr && chosen.steps_in_flight == 0) chosen.steps_in_flight = std::stoi(steps);
  return Engine::start(std::move(model), make_reference_ops(), chosen).value();
}

void accept(Engine& engine, SequenceRequest row) {
  std::vector<SequenceRequest> rows;
  rows.push_back(std::move(row));
  const Status status = engine.submit(std::move(rows));
  EXPECT_TRUE(status.ok()) << status.message();
}

}  // namespace inazuma::test
