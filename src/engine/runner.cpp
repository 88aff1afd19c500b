#include "engine/runner.h"

#include <algorithm>

#include "base/log.h"
#include "engine/limits.h"

namespace inazuma {

namespace {

constexpr size_t kMostRecorded = 256;

KvPoolShape pool_shape(const ModelInfo& info, const EngineOptions& options) {
  if (!info.has_decoder) return {.block_tokens = options.block_tokens};
  return {info.kv_layers, blocks_for(options.kv_tokens, options.block_tokens), info.kv_heads, options.block_tokens,
          info.kv_head_dim};
}

}  // namespace

Runner::Runner(const Model& model, Ops& ops, const EngineOptions& options)
    : model_(model),
      ops_(ops),
      options_(options),
      pool_(ops, pool_shape(model.info(), options)),
      history_(ops, options.max_sequences, model.info().has_decoder ? options.max_context : 0),
      arena_([&ops](size_t bytes) { return ops.allocate(bytes); }),
      builder_(model.info(), options_, ops.records()),
      records_(ops.records()) {
  if (model.info().has_decoder)
    copies_ = ops.allocate(4 * static_cast<size_t>(options_.max_sequences) * sizeof(int32_t));
}

void Runner::admit(Sequence& row) {
  pool_.allocate(row.blocks_needed, row.blocks);
  pool_.allocate(row.cross_blocks_needed, row.cross_blocks);
  if (row.prompt == 0) return;
  if (row.beams) {
    for (BeamGroup::Holding& holding : row.beams->holdings) holding.slot = history_.take();
    row.beams->begin(pool_, row.blocks, row.prompt);
  } else {
    row.slot = history_.take();
  }
  history_.write(ops_, row.slot_of(0), 0, row.history);
}

void Runner::release(Sequence& row) {
  if (row.beams) {
    row.beams->end(pool_);
    for (BeamGroup::Holding& holding : row.beams->holdings) history_.give_back(holding.slot);
  }
  pool_.release(row.blocks);
  pool_.release(row.cross_blocks);
  history_.give_back(row.slot);
}

void Runner::follow(Sequence& row) {
  const BeamGroup::Moves moves = row.beams->follow(pool_, row.computed);
  const std::vector<Beam>& beams = row.beams->search.beams();
  for (size_t i = 0; i < beams.size(); ++i) {  // the newest id; the device wrote what was best for the row alone
    const auto newest = static_cast<int>(beams[i].ids.size()) - 1;
    history_.write(ops_, row.slot_of(static_cast<int>(i)), newest, std::span(beams[i].ids).last(1));
  }
  for (const int i : moves.rewrite) history_.write(ops_, row.slot_of(i), 0, beams[static_cast<size_t>(i)].ids);
  const size_t count = moves.copy_from.size();
  if (count == 0) return;
  copy_words_.clear();
  for (const std::vector<int32_t>* blocks : {&moves.copy_from, &moves.copy_to})
    for (const int32_t values : {0, pool_.total()})
      for (const int32_t block : *blocks) copy_words_.push_back(block + values);
  const auto half = static_cast<int64_t>(2 * count);
  ops_.upload(copies_.tensor(DType::i32, Shape{2 * half}), copy_words_.data());
  pool_.copy(ops_, copies_.tensor(DType::i32, Shape{half}),
             copies_.tensor(DType::i32, Shape{half}, 2 * count * sizeof(int32_t)));
}

void Runner::begin(const Plan& plan) {
  if (begun_ - finished_ == kInFlight) throw fail(StatusCode::internal, "{} steps are in flight already", kInFlight);
  arena_.reset();
  const StepInputs& step = builder_.build(plan, pool_, history_, ops_, arena_);
  const Output output = records_ && step.rounded ? recorded_work(step) : work(step);
  fetch(step, output, landings_[begun_ % kInFlight]);
  ++begun_;
}

const StepResult& Runner::finish() {
  const Landing& landing = landings_[finished_++ % kInFlight];
  ops_.wait(landing.mark);
  return landing.result;
}

const StepResult& Runner::run(const Plan& plan) {
  begin(plan);
  return finish();
}

Output Runner::work(const StepInputs& step) {
  const DecoderLane& lane = step.batch.decoder;
  if (lane.tokens > 0) ops_.read_history(lane.ids, history_.tensor(), step.history_slots, lane.positions);
  const Output output = model_.forward(ops_, step.batch, pool_.view(), arena_);
  select(step, output.logits);
  return output;
}

Runner::Shapes Runner::shapes_of(const StepInputs& step) {
  const EncoderLane& e = step.batch.encoder;
  const DecoderLane& d = step.batch.decoder;
  const auto rows = [](const Tensor& t) { return t.defined() ? t.rows() : 0; };
  const Tensor& first = e.tokens > 0 ? e.ids : step.history_slots;  // all arrays of a step lie behind its first
  return {e.tokens,
          e.sequences,
          e.max_length,
          rows(e.rows),
          rows(e.pooled),
          rows(e.cross_slots),
          d.tokens,
          d.sequences,
          d.max_query,
          d.max_context,
          d.max_cross_context,
          rows(d.rows),
          rows(step.selection),
          rows(step.bans),
          step.top_tokens,
          static_cast<int64_t>(reinterpret_cast<uintptr_t>(first.data()))};
}

Output Runner::recorded_work(const StepInputs& step) {
  const auto [found, is_new] = recorded_.try_emplace(shapes_of(step));
  Recorded& entry = found->second;
  entry.used = ++steps_;
  if (is_new) {
    const Output output = work(step);  // first, so that nothing grows or is searched for while recording
    if (recorded_.size() > kMostRecorded) forget_oldest();
    return output;
  }
  if (!entry.recording) {
    if (arena_.chunks() > 1) return work(step);  // addresses change with the next step
    try {
      entry.recording = ops_.record([&] { entry.output = work(step); });
      entry.selected = selected_;
    } catch (const Error& error) {
      log::warn("a step could not be recorded; steps are started one operation at a time from now on",
                {{"why", error.status().message()}});
      records_ = false;
      return work(step);
    }
  }
  ops_.replay(*entry.recording);
  selected_ = entry.selected;
  return entry.output;
}

void Runner::forget_oldest() {
  ops_.synchronize();  // the oldest may still be at work
  const auto oldest = std::min_element(recorded_.begin(), recorded_.end(),
                                       [](const auto& a, const auto& b) { return a.second.used < b.second.used; });
  recorded_.erase(oldest);
}

void Runner::select(const StepInputs& step, const Tensor& logits) {
  const int64_t rows = step.selection.defined() ? step.selection.rows() : 0;
  const int64_t top = rows * step.top_tokens;
  const int64_t targets = step.targets.defined() ? step.targets.rows() : 0;
  selected_ = {};
  if (rows + targets == 0) return;
  if (!logits.defined() || logits.rows() != rows + targets)
    throw fail(StatusCode::internal, "the model gave logits {}, asked for {} rows", to_string(logits.shape()),
               rows + targets);
  selected_ = arena_.tensor(DType::i32, Shape{2 * rows + 2 * top + targets});
  int32_t* words = static_cast<int32_t*>(selected_.data());
  const Device device = selected_.device();
  if (targets > 0)
    ops_.token_logprobs(Tensor(words + 2 * rows + 2 * top, DType::f32, Shape{targets}, device),
                        logits.rows(rows, rows + targets), step.targets);
  if (rows == 0) return;
  SelectionArgs args;
  args.logits = logits.rows(0, rows);
  args.rows = step.selection;
  args.bans = step.bans;
  args.history = history_.tensor();
  args.tokens = Tensor(words, DType::i32, Shape{rows}, device);
  args.logprobs = Tensor(words + rows, DType::f32, Shape{rows}, device);
  if (top > 0) {
    args.top_ids = Tensor(words + 2 * rows, DType::i32, Shape{rows, step.top_tokens}, device);
    args.top_logprobs = Tensor(words + 2 * rows + top, DType::f32, Shape{rows, step.top_tokens}, device);
  }
  ops_.select_tokens(args);
}

void Runner::fetch(const StepInputs& step, const Output& output, Landing& landing) {
  const Tensor rows = output.rows.defined() ? output.rows.rows(0, step.rows) : Tensor();
  const Tensor pooled = output.pooled.defined() ? output.pooled.rows(0, step.pooled) : Tensor();
  const auto count = [](const Tensor& t) { return t.defined() ? static_cast<size_t>(t.elements()) : 0; };
  const size_t row_floats = count(rows), pooled_floats = count(pooled), words = count(selected_);
  const size_t bytes = (row_floats + pooled_floats + words) * sizeof(float);
  // Grows to the most that was asked for at once.
  if (landing.memory.bytes() < bytes) landing.memory = ops_.allocate_host(std::max(bytes, 2 * landing.memory.bytes()));
  float* const to_rows = static_cast<float*>(landing.memory.data());
  float* const to_pooled = to_rows + row_floats;
  float* const to_words = to_pooled + pooled_floats;
  if (row_floats > 0) ops_.download_later(to_rows, rows);
  if (pooled_floats > 0) ops_.download_later(to_pooled, pooled);
  if (words > 0) ops_.download_later(to_words, selected_);
  landing.mark = ops_.mark();
  StepResult& result = landing.result;
  result = {.worked = step.tokens, .prompt_rows = step.prompt_tokens, .alternatives = step.top_tokens};
  result.rows = {to_rows, row_floats};
  result.pooled = {to_pooled, pooled_floats};
  if (words == 0) return;
  // Words: tokens, log-probabilities, alternatives and theirs, the prompt's log-probabilities.
  static_assert(sizeof(float) == sizeof(int32_t));
  const auto* const ids = reinterpret_cast<const int32_t*>(to_words);
  const size_t selections = step.selection.defined() ? static_cast<size_t>(step.selection.rows()) : 0;
  const size_t asked = step.selecting.size(), best = static_cast<size_t>(step.top_tokens), top = selections * best;
  result.tokens = {ids, asked};
  result.logprobs = {to_words + selections, asked};
  result.top_ids = {ids + 2 * selections, asked * best};
  result.top_logprobs = {to_words + 2 * selections + top, asked * best};
  result.prompt_logprobs = {to_words + 2 * selections + 2 * top, words - 2 * selections - 2 * top};
}

void Runner::warm_up(int tokens) {
  // A home that searches for its fastest products does it now, for all sizes of a step.
  const int most = std::min(tokens, options_.max_batch_tokens);
  for (int power = 1; records_ && power < most; power *= 2) {
    for (const int size : {power, power + power / 2}) {
      if (size >= most) continue;
      if (model_.info().has_encoder) warm_up_encoder(size);
      if (model_.info().has_decoder) warm_up_decoder(size);
      arena_.reset();
    }
  }
  if (model_.info().has_encoder) warm_up_encoder(tokens);
  if (model_.info().has_decoder) warm_up_decoder(tokens);
  ops_.synchronize();
  arena_.reset();  // joins what the plans took, so that the first real step allocates nothing
}

/// The budget full of the longest sources, each wanting all it can get. One source longer than the budget runs alone.
void Runner::warm_up_encoder(int tokens) {
  const ModelInfo& info = model_.info();
  const int longest = source_limit(info, options_);
  std::vector<Sequence> rows;
  int left = std::min(std::max(options_.max_batch_tokens, longest), tokens);
  int blocks = pool_.free();
  while (left > 0 && static_cast<int>(rows.size()) < options_.max_sequences) {
    Sequence row;
    row.request.ids.assign(static_cast<size_t>(std::min(left, longest)), 0);
    if (info.vocab == 0) row.request.hidden.assign(row.request.ids.size() * static_cast<size_t>(info.hidden), 0.0f);
    row.request.rows =
        info.row_width > 0 && !info.has_decoder ? SequenceRequest::Wanted::all : SequenceRequest::Wanted::none;
    row.request.pooled = info.pooled_width > 0 && !info.has_decoder;
    row.cross_blocks_needed = info.has_decoder ? blocks_for(row.source(), options_.block_tokens) : 0;
    if (row.cross_blocks_needed > blocks) break;
    blocks -= row.cross_blocks_needed;
    left -= row.source();
    rows.push_back(std::move(row));
  }
  Plan plan;
  for (Sequence& row : rows) {
    admit(row);
    plan.encode.push_back(&row);
  }
  run(plan);
  for (Sequence& row : rows) release(row);
}

/// The end of the longest prompt in the largest chunk, beside as many other rows as may run, all of which select.
void Runner::warm_up_decoder(int tokens) {
  const ModelInfo& info = model_.info();
  const int count = std::min(options_.max_sequences, tokens);
  const int chunk = std::min(options_.max_batch_tokens, tokens) - (count - 1);
  const int longest = std::min(std::max(options_.max_context - 1, 1), tokens);
  std::vector<Sequence> rows(static_cast<size_t>(count));
  Plan plan;
  for (Sequence& row : rows) {
    const bool first = &row == rows.data();
    const int length = first ? longest : 1;
    const int source = !info.has_encoder ? 0 : first ? std::min(source_limit(info, options_), tokens) : 1;
    row.blocks_needed = blocks_for(length, options_.block_tokens);
    row.cross_blocks_needed = blocks_for(source, options_.block_tokens);
    if (row.blocks_needed + row.cross_blocks_needed > pool_.free()) break;
    row.request.ids.assign(static_cast<size_t>(source), 0);
    row.history.assign(static_cast<size_t>(length), 0);
    row.prompt = length;
    row.phase = Sequence::Phase::prefill;
    const int part = first ? std::min(length, chunk) : 1;
    admit(row);
    plan.decode.push_back({&row, length - part, part});
  }
  run(plan);
  for (Sequence& row : rows) release(row);
}

}  // namespace inazuma
