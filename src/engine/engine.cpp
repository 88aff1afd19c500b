#include "engine/engine.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <condition_variable>
#include <future>
#include <limits>
#include <mutex>
#include <numeric>
#include <thread>

#include "base/log.h"
#include "engine/limits.h"
#include "engine/runner.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"

namespace inazuma {

namespace {

using Row = std::unique_ptr<Sequence>;

/// On the CPU the largest plan costs seconds to compute and proves little, as memory there is virtual: a small one
/// pages the weights in, and a step that runs short fails alone.
constexpr int kCpuWarmUpTokens = 16;

/// Tokens of an encoder's step that fill a GPU well.
constexpr int kFullStep = 2048;

/// How long an engine on a GPU looks for new rows before it sleeps: waking up takes a good part of a short step.
constexpr auto kWatchful = std::chrono::microseconds(100);

/// How long an idle engine sleeps before it shows that it lives.
constexpr auto kHeartbeat = std::chrono::seconds(1);

/// Everything that can be done on the caller's thread is done here: the engine's thread only moves the pointer.
Row make_sequence(SequenceRequest&& request, const ModelInfo& info, const EngineOptions& options,
                  Clock::time_point now) {
  auto row = std::make_unique<Sequence>();
  row->request = std::move(request);
  row->submitted = now;
  if (info.vocab == 0)
    row->request.ids.assign(row->request.hidden.size() / static_cast<size_t>(info.hidden), 0);  // counted, not read
  row->phase = info.has_encoder ? Sequence::Phase::encode : Sequence::Phase::prefill;
  if (!info.has_decoder) return row;
  if (info.has_encoder) {
    row->history = std::move(row->request.decoder_ids);
    if (row->history.empty()) row->history.push_back(info.decoder_start);
    row->cross_blocks_needed = blocks_for(row->source(), options.block_tokens);
  } else {
    row->history = std::move(row->request.ids);
  }
  const GenerationOptions& generation = row->request.generation;
  row->prompt = static_cast<int>(row->history.size());
  if (generation.num_beams > 1) {
    BeamSearch search(generation, std::move(row->request.hypothesis_end), row->history, info.vocab);
    std::vector<BeamGroup::Holding> holdings(static_cast<size_t>(generation.num_beams));
    row->looks_back = true;
    row->beams = std::make_unique<BeamGroup>(BeamGroup{std::move(search), std::move(holdings), {}});
    row->blocks_needed =
        beam_blocks(row->prompt, generation.max_new_tokens, generation.num_beams, options.block_tokens);
    return row;
  }
  row->blocks_needed = blocks_for(row->prompt + generation.max_new_tokens, options.block_tokens);
  row->looks_back = needs_history(generation);
  if (row->looks_back) row->history.reserve(row->history.size() + static_cast<size_t>(generation.max_new_tokens));
  return row;
}

class EngineLoop final : public Engine {
 public:
  EngineLoop(std::shared_ptr<const Model> model, std::unique_ptr<Ops> ops, const EngineOptions& options)
      : model_(std::move(model)), ops_(std::move(ops)), options_(options), description_(ops_->description()) {
    waiting_.reserve(static_cast<size_t>(options_.max_queue));
    running_.reserve(static_cast<size_t>(options_.max_sequences));
    ended_rows_.reserve(static_cast<size_t>(options_.max_sequences));
  }

  /// Returns once memory is allocated and the warm-up has run on the engine's own thread.
  Status launch() {
    std::promise<Status> ready;
    std::future<Status> started = ready.get_future();
    thread_ = std::thread([this, &ready] { run(ready); });
    return started.get();
  }

  ~EngineLoop() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

  Status submit(std::vector<SequenceRequest> rows) override;
  bool drain(Clock::time_point until) override;
  const ModelInfo& info() const override { return model_->info(); }
  const EngineOptions& options() const override { return options_; }
  EngineStats stats() const override;
  std::string device_description() const override { return description_; }

 private:
  void run(std::promise<Status>& ready);
  bool take_inbox();
  void turn();
  bool begin_step();
  bool oldest_is_over();
  void finish_step();
  void advance(const Plan& plan);
  void drop_rows(const Plan& plan);
  void admit_rows(const Plan& plan);
  void deliver(const Plan& plan, const StepResult& result, Clock::time_point now);
  void deliver_encoded(const Plan& plan, const StepResult& result, Clock::time_point now);
  void deliver_decoded(const Plan& plan, const StepResult& result, Clock::time_point now);
  size_t deliver_prompt(const Plan::Chunk& chunk, const StepResult& result, size_t begin);
  void deliver_token(Sequence& row, const StepResult& result, size_t index, Clock::time_point now);
  void deliver_beams(Sequence& row, const StepResult& result, size_t index, Clock::time_point now);
  void fail_step(const Plan& plan, const Status& status);
  void fail_begin(const Plan& plan, const Status& status);
  void look_after_failure();
  void finish(Sequence& row, SequenceEvent&& event);
  void finish_generated(Sequence& row, FinishReason reason);
  void fail_row(Sequence& row, const Status& status);
  void tell(Sequence& row, SequenceEvent&& event);
  void sweep();

  const std::shared_ptr<const Model> model_;
  const std::unique_ptr<Ops> ops_;
  const EngineOptions options_;
  const std::string description_;
  const bool watchful_ = !ops_->stream().device.is_cpu();

  // Shared with callers, under mutex_.
  mutable std::mutex mutex_;
  std::condition_variable wake_;   // for the engine: rows in the inbox, or stop
  std::condition_variable ended_;  // for drain: a row has ended
  std::vector<Row> inbox_;
  int queued_ = 0;  // rows in the inbox or waiting
  int64_t accepted_ = 0;
  int64_t told_ = 0;                 // rows whose end has been told
  std::atomic<bool> called_{false};  // rows in the inbox, for a look without the mutex
  Status lost_;                      // Ops::health once it is not ok
  bool draining_ = false;
  bool stopping_ = false;
  EngineStats shared_;

  // The engine's thread only.
  std::unique_ptr<Runner> runner_;
  std::vector<Row> arrivals_;                  // the inbox's other half: swapped, so that both keep their memory
  std::vector<Row> waiting_;                   // by rank
  std::vector<Row> running_;                   // by admission
  std::vector<Row> ended_rows_;                // ended, but named by a step in flight
  std::array<Plan, Runner::kInFlight> plans_;  // of the steps in flight, and of the next
  size_t begun_ = 0, finished_ = 0;            // steps
  EngineStats stats_;
  int64_t arrival_ = 0;
  int64_t told_now_ = 0;

  std::thread thread_;  // last: starts when all else is there
};

Status EngineLoop::submit(std::vector<SequenceRequest> rows) {
  return capture([&] {
    if (rows.empty()) throw fail(StatusCode::empty, "no rows to work on");
    if (rows.size() > static_cast<size_t>(options_.max_queue))
      throw fail(StatusCode::too_large, "{} rows at once, the queue holds {} (send fewer rows, or raise max_queue)",
                 rows.size(), options_.max_queue);
    const Clock::time_point now = Clock::now();
    std::vector<Row> sequences;
    sequences.reserve(rows.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      const Status checked = capture([&] { check_request(rows[i], info(), options_); });
      if (!checked.ok()) throw Error(rows.size() == 1 ? checked : checked.in(fmt::format("row {}", i)));
      sequences.push_back(make_sequence(std::move(rows[i]), info(), options_, now));
    }
    const std::lock_guard lock(mutex_);
    if (!lost_.ok()) throw Error(lost_);
    if (draining_ || stopping_) throw fail(StatusCode::unavailable, "the engine is draining and takes no new rows");
    if (queued_ + static_cast<int>(sequences.size()) > options_.max_queue)
      throw fail(StatusCode::overloaded, "{} rows are waiting and the queue holds {}: try again later", queued_,
                 options_.max_queue);
    inbox_.reserve(inbox_.size() + sequences.size());
    for (Row& row : sequences) inbox_.push_back(std::move(row));
    queued_ += static_cast<int>(sequences.size());
    accepted_ += static_cast<int64_t>(sequences.size());
    called_.store(true, std::memory_order_relaxed);
    wake_.notify_one();
  });
}

bool EngineLoop::drain(Clock::time_point until) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  return ended_.wait_until(lock, until, [&] { return told_ == accepted_; });
}

EngineStats EngineLoop::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats out = shared_;
  out.waiting = queued_;
  return out;
}

void EngineLoop::run(std::promise<Status>& ready) {
  const Status status = capture([&] {
    runner_ = std::make_unique<Runner>(*model_, *ops_, options_);
    runner_->warm_up(ops_->stream().device.is_cpu() ? kCpuWarmUpTokens : Runner::kWholePlan);
    stats_.kv_blocks_total = runner_->pool().total();
    stats_.heartbeat = Clock::now();
    const std::lock_guard lock(mutex_);
    shared_ = stats_;
  });
  ready.set_value(status);  // `ready` belongs to launch, which returns now
  if (!status.ok()) return;
  while (take_inbox()) turn();
  const Status stopped(StatusCode::unavailable, "the engine was stopped before this row ended");
  for (const Row& row : running_) fail_row(*row, stopped);
  for (const Row& row : waiting_) fail_row(*row, stopped);
  while (finished_ < begun_) (void)capture([&] { finish_step(); });  // nobody listens any more
  sweep();
  runner_.reset();  // device memory goes back on the thread that took it
}

/// Sleeps while there is nothing to do; sorts new rows in among the waiting. False when the engine is to stop.
bool EngineLoop::take_inbox() {
  if (watchful_ && waiting_.empty() && running_.empty() && begun_ == finished_) {
    const Clock::time_point until = Clock::now() + kWatchful;
    while (!called_.load(std::memory_order_relaxed) && Clock::now() < until) {
    }
  }
  {
    std::unique_lock lock(mutex_);
    if (waiting_.empty() && running_.empty() && begun_ == finished_)
      wake_.wait_for(lock, kHeartbeat, [&] { return stopping_ || !inbox_.empty(); });
    arrivals_.swap(inbox_);
    called_.store(false, std::memory_order_relaxed);
    shared_.heartbeat = stats_.heartbeat = Clock::now();
    if (stopping_) {
      for (Row& row : arrivals_) waiting_.push_back(std::move(row));
      arrivals_.clear();
      return false;
    }
  }
  for (Row& row : arrivals_) {
    row->arrival = arrival_++;
    const auto after = std::upper_bound(waiting_.begin(), waiting_.end(), row->rank(),
                                        [](int64_t rank, const Row& other) { return rank < other->rank(); });
    waiting_.insert(after, std::move(row));
  }
  arrivals_.clear();
  return true;
}

/// Begins a step, if there is work, and finishes the oldest once as many are in flight as may be, or it is over before
/// new rows come. Whatever fails in a step is told to its rows; the engine goes on.
void EngineLoop::turn() {
  if (waiting_.empty() && running_.empty() && begun_ == finished_) return;
  bool began = false;
  const Status status = capture([&] { began = begin_step(); });
  if (!status.ok()) {
    while (finished_ < begun_) finish_step();
    look_after_failure();
    fail_begin(plans_[begun_ % plans_.size()], status);
  } else if (finished_ < begun_) {
    const bool full = begun_ - finished_ >= static_cast<size_t>(options_.steps_in_flight);
    if (full || (!began && oldest_is_over())) finish_step();
  }
  sweep();
}

/// Waits for the oldest step, but no longer than until new rows come: they may begin beside it.
bool EngineLoop::oldest_is_over() {
  while (options_.steps_in_flight > 1 && !runner_->over())
    if (called_.load(std::memory_order_relaxed)) return false;
  return true;
}

bool EngineLoop::begin_step() {
  const auto sample = [](const Row& row) {
    const CancelFlag& flag = row->request.cancelled;
    row->cancelled = row->deaf || (flag && flag->load(std::memory_order_relaxed));
  };
  std::for_each(running_.begin(), running_.end(), sample);
  std::for_each(waiting_.begin(), waiting_.end(), sample);
  Plan& plan = plans_[begun_ % plans_.size()];
  const Budgets budgets{options_.max_sequences, options_.max_batch_tokens, runner_->pool().free()};
  plan_step(waiting_, running_, budgets, Clock::now(), plan);
  drop_rows(plan);
  const bool beside = begun_ > finished_;
  if (beside && !info().has_decoder) {
    // Texts that come while a step is at work are better read together than as they come, unless they fill a step.
    const auto tokens = [](int sum, const Sequence* row) { return sum + row->source(); };
    if (std::accumulate(plan.encode.begin(), plan.encode.end(), 0, tokens) < kFullStep) return false;
  }
  admit_rows(plan);
  if (!plan.has_work()) {
    // Cannot be: the first row always has something to do, or waits for a step in flight. If it is, an answer is better
    // than a loop without end.
    if (plan.dropped.empty() && !beside)
      throw fail(StatusCode::internal, "the scheduler found no work for {} rows", running_.size() + waiting_.size());
    return false;
  }
  runner_->begin(plan);
  advance(plan);
  ++begun_;
  return true;
}

/// What a step that has begun will have done.
void EngineLoop::advance(const Plan& plan) {
  for (Sequence* row : plan.encode) {
    ++row->in_flight;
    row->phase = info().has_decoder ? Sequence::Phase::prefill : Sequence::Phase::leaving;
  }
  for (const Plan::Chunk& chunk : plan.decode) {
    if (chunk.beam > 0) continue;  // moves with the first
    Sequence& row = *chunk.sequence;
    ++row.in_flight;
    row.computed += chunk.count;
    if (chunk.selects()) ++row.generated;
    if (row.computed < row.prompt) continue;
    row.phase =
        row.generated < row.request.generation.max_new_tokens ? Sequence::Phase::decode : Sequence::Phase::leaving;
  }
}

void EngineLoop::finish_step() {
  const Plan& plan = plans_[finished_++ % plans_.size()];
  const Status status = capture([&] { deliver(plan, runner_->finish(), Clock::now()); });
  if (!status.ok()) {
    look_after_failure();
    fail_step(plan, status);
  }
  for (Sequence* row : plan.encode) --row->in_flight;
  for (const Plan::Chunk& chunk : plan.decode)
    if (chunk.beam == 0) --chunk.sequence->in_flight;
}

void EngineLoop::drop_rows(const Plan& plan) {
  for (const auto& [row, why] : plan.dropped) {
    if (why == StatusCode::deadline_exceeded) {
      fail_row(*row, Status(why, "the deadline passed before the row ended"));
    } else if (row->told > 0 && !row->beams) {
      finish_generated(*row, FinishReason::cancelled);
    } else {
      fail_row(*row, Status(why, "cancelled by the caller"));
    }
  }
  if (!plan.dropped.empty()) sweep();
}

void EngineLoop::admit_rows(const Plan& plan) {
  if (plan.admitted.empty()) return;
  // They are the first of the waiting: those dropped are gone, and nobody overtakes.
  const Clock::time_point now = Clock::now();
  const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(plan.admitted.size());
  std::for_each(waiting_.begin(), end, [&](Row& row) {
    row->admitted = now;
    running_.push_back(std::move(row));
  });
  waiting_.erase(waiting_.begin(), end);
  {
    const std::lock_guard lock(mutex_);
    queued_ -= static_cast<int>(plan.admitted.size());
  }
  for (Sequence* row : plan.admitted) runner_->admit(*row);
}

void EngineLoop::deliver(const Plan& plan, const StepResult& result, Clock::time_point now) {
  ++stats_.steps_total;
  stats_.rows_total += result.worked;
  stats_.step_rows.add(static_cast<int64_t>(plan.encode.size() + plan.decode.size()));
  stats_.step_tokens.add(result.worked);
  stats_.prompt_tokens_total += result.prompt_rows;
  deliver_encoded(plan, result, now);
  deliver_decoded(plan, result, now);
}

/// The next `count` rows of a matrix that lies in the order of the plan.
Rows take_rows(std::span<const float>& values, size_t count, int width) {
  const auto part = values.first(count * static_cast<size_t>(width));
  values = values.subspan(part.size());
  return {static_cast<int32_t>(count), width, {part.begin(), part.end()}};
}

void EngineLoop::deliver_encoded(const Plan& plan, const StepResult& result, Clock::time_point now) {
  using Wanted = SequenceRequest::Wanted;
  if (info().has_decoder) return;
  std::span<const float> rows = result.rows, pooled = result.pooled;
  for (Sequence* row : plan.encode) {
    const SequenceRequest& request = row->request;
    SequenceEvent event{.kind = SequenceEvent::Kind::finished, .reason = FinishReason::encoded};
    if (request.rows != Wanted::none) {
      const size_t count = request.rows == Wanted::all ? request.ids.size() : request.listed.size();
      event.rows = take_rows(rows, count, info().row_width);
    }
    if (request.pooled) event.pooled = take_rows(pooled, 1, info().pooled_width);
    if (row->phase == Sequence::Phase::ended) continue;  // cancelled meanwhile
    event.times = {.queued = row->admitted - row->submitted, .prefill = now - row->admitted};
    finish(*row, std::move(event));
  }
}

/// A row that ended after this step had begun has a place in it, but hears nothing more.
void EngineLoop::deliver_decoded(const Plan& plan, const StepResult& result, Clock::time_point now) {
  size_t selected = 0, scored = 0;
  for (const Plan::Chunk& chunk : plan.decode) {
    Sequence& row = *chunk.sequence;
    if (chunk.beam > 0) continue;  // told with the first
    const bool over = row.phase == Sequence::Phase::ended;
    if (chunk.reads() && row.request.generation.prompt_logprobs) scored += deliver_prompt(chunk, result, scored);
    if (chunk.selects()) {
      if (!over && row.beams) deliver_beams(row, result, selected, now);
      if (!over && !row.beams) deliver_token(row, result, selected, now);
      selected += chunk.reads() ? 1 : static_cast<size_t>(row.width());  // a prompt is read as one beam
    } else if (chunk.ends_prompt() && !over) {
      finish_generated(row, FinishReason::length);  // scoring only
    }
  }
}

/// Collects the chunk's share of the prompt's log-probabilities, told when complete; returns how many were taken.
size_t EngineLoop::deliver_prompt(const Plan::Chunk& chunk, const StepResult& result, size_t begin) {
  Sequence& row = *chunk.sequence;
  std::vector<TokenLogprob>& out = row.prompt_logprobs;
  if (out.empty()) out.push_back({row.history[0], std::numeric_limits<float>::quiet_NaN()});
  const size_t known = static_cast<size_t>(std::min(chunk.begin + chunk.count, row.prompt - 1) - chunk.begin);
  for (size_t i = 0; i < known; ++i) out.push_back({row.history[out.size()], result.prompt_logprobs[begin + i]});
  if (chunk.ends_prompt() && row.phase != Sequence::Phase::ended) {
    SequenceEvent event{.kind = SequenceEvent::Kind::prompt};
    event.prompt = std::move(out);
    tell(row, std::move(event));
  }
  return known;
}

Status nothing_to_choose(const Sequence& row) {
  return {StatusCode::internal, fmt::format("generated token {} cannot be chosen: each score is not a number, or its "
                                            "token is forbidden; check the weights, or compute in float32",
                                            row.told + 1)};
}

/// The step's rows of one group, from `index` on.
void EngineLoop::deliver_beams(Sequence& row, const StepResult& result, size_t index, Clock::time_point now) {
  BeamSearch& search = row.beams->search;
  const auto stride = static_cast<size_t>(result.alternatives);
  const size_t rows = row.told == 0 ? 1 : static_cast<size_t>(row.width());
  const auto part = [&](auto span) { return span.subspan(index * stride, rows * stride); };
  if (!search.advance(part(result.top_ids), part(result.top_logprobs), static_cast<int>(stride)))
    return fail_row(row, nothing_to_choose(row));
  if (row.told++ == 0) row.first_token = now;
  row.last_token = now;
  if (!search.ended()) return runner_->follow(row);
  SequenceEvent event{.kind = SequenceEvent::Kind::finished};
  event.hypotheses = search.take_hypotheses();
  if (event.hypotheses.empty()) return fail_row(row, nothing_to_choose(row));
  event.reason = event.hypotheses[0].reason;
  for (const Hypothesis& hypothesis : event.hypotheses) event.generated += static_cast<int>(hypothesis.ids.size());
  stats_.generated_tokens_total += event.generated;
  event.times = {row.admitted - row.submitted, row.first_token - row.admitted, row.last_token - row.first_token};
  finish(row, std::move(event));
}

void EngineLoop::deliver_token(Sequence& row, const StepResult& result, size_t index, Clock::time_point now) {
  // Ops::select_tokens says so of a row in which nothing can be chosen: scores that are all NaN or all forbidden.
  if (std::isnan(result.logprobs[index])) return fail_row(row, nothing_to_choose(row));
  SequenceEvent event{.kind = SequenceEvent::Kind::token};
  event.token = {result.tokens[index], result.logprobs[index]};
  const size_t stride = static_cast<size_t>(result.alternatives);
  for (size_t i = 0; i < static_cast<size_t>(row.request.generation.top_tokens); ++i)
    event.top.push_back({result.top_ids[index * stride + i], result.top_logprobs[index * stride + i]});
  const int32_t token = event.token.id;
  if (row.told++ == 0) row.first_token = now;
  row.last_token = now;
  if (row.looks_back) row.history.push_back(token);
  ++stats_.generated_tokens_total;
  tell(row, std::move(event));
  if (const std::optional<FinishReason> reason = finish_reason(row, token)) finish_generated(row, *reason);
}

void EngineLoop::finish_generated(Sequence& row, FinishReason reason) {
  SequenceEvent event{.kind = SequenceEvent::Kind::finished, .reason = reason, .generated = row.told};
  const Clock::time_point read = row.told > 0 ? row.first_token : Clock::now();
  event.times = {row.admitted - row.submitted, read - row.admitted, row.last_token - row.first_token};
  finish(row, std::move(event));
}

void EngineLoop::finish(Sequence& row, SequenceEvent&& event) {
  ++(event.reason == FinishReason::cancelled ? stats_.cancelled_total : stats_.finished_total);
  row.phase = Sequence::Phase::ended;
  ++told_now_;
  tell(row, std::move(event));
}

void EngineLoop::fail_row(Sequence& row, const Status& status) {
  SequenceEvent event{.kind = SequenceEvent::Kind::failed};
  event.status = status;
  if (status.code() == StatusCode::cancelled) {
    ++stats_.cancelled_total;
  } else if (status.code() == StatusCode::deadline_exceeded) {
    ++stats_.deadline_total;
  } else {
    ++stats_.failed_total;
  }
  row.phase = Sequence::Phase::ended;
  ++told_now_;
  tell(row, std::move(event));
}

/// A step that failed has moved nobody. Its rows are told; others stay as they are.
void EngineLoop::fail_step(const Plan& plan, const Status& status) {
  const auto tell_failed = [&](Sequence* row) {
    if (row->phase != Sequence::Phase::ended) fail_row(*row, status);
  };
  for (Sequence* row : plan.encode) tell_failed(row);
  for (const Plan::Chunk& chunk : plan.decode) tell_failed(chunk.sequence);
  if (plan.has_work()) return;
  for (const Row& row : running_) tell_failed(row.get());
  for (const Row& row : waiting_) tell_failed(row.get());
}

/// A step that could not begin. Where memory ran short, those who read in it asked for more than there is, most of all
/// those who want the log-probabilities of a prompt: they are told. What others need was there a step ago: they go on.
void EngineLoop::fail_begin(const Plan& plan, const Status& status) {
  if (status.code() != StatusCode::out_of_memory || stats_.lost) return fail_step(plan, status);
  bool told = false;
  const auto tell_readers = [&](bool all) {
    const auto tell_reader = [&](Sequence& row) {
      if (!row.reads() || (!all && !row.request.generation.prompt_logprobs)) return;
      fail_row(row, status);
      told = true;
    };
    for (Sequence* row : plan.encode) tell_reader(*row);
    for (const Plan::Chunk& chunk : plan.decode) tell_reader(*chunk.sequence);
  };
  tell_readers(false);
  if (!told) tell_readers(true);
  if (!told) fail_step(plan, status);
}

/// A step may fail alone. When the home is lost, so is every row, and the model takes no more: marked before the first
/// row hears of it.
void EngineLoop::look_after_failure() {
  const Status health = ops_->health();
  if (health.ok() || stats_.lost) return;
  stats_.lost = true;
  log::error("a model's device is lost", {{"device", description_}, {"why", health.message()}});
  std::vector<Row> never_begun;
  {
    const std::lock_guard lock(mutex_);
    lost_ = health;
    shared_.lost = true;  // before the first row hears of it
    never_begun.swap(inbox_);
  }
  for (Row& row : never_begun) waiting_.push_back(std::move(row));
  for (const std::vector<Row>* rows : {&running_, &waiting_})
    for (const Row& row : *rows)
      if (row->phase != Sequence::Phase::ended) fail_row(*row, health);
}

void EngineLoop::tell(Sequence& row, SequenceEvent&& event) {
  event.index = row.request.index;
  try {
    row.request.sink->on_event(std::move(event));
  } catch (const std::exception& error) {  // against the contract of sinks; no reason to take the others down
    log::error("a sink threw; its row is cancelled", {{"row", row.request.index}, {"what", error.what()}});
    row.deaf = true;
  }
}

/// Takes ended rows out of the lists, gives their memory back, and shows callers where things stand.
void EngineLoop::sweep() {
  const auto ended = [](const Row& row) { return row->phase == Sequence::Phase::ended; };
  for (Row& row : running_) {
    if (!ended(row)) continue;
    runner_->release(*row);  // a step in flight may still write there: before any that begins later
    if (row->in_flight > 0) ended_rows_.push_back(std::move(row));
  }
  std::erase_if(running_, [&](const Row& row) { return !row || ended(row); });
  std::erase_if(ended_rows_, [](const Row& row) { return row->in_flight == 0; });
  const size_t left = std::erase_if(waiting_, ended);
  stats_.running = static_cast<int>(running_.size());
  stats_.kv_blocks_used = runner_->pool().used();
  {
    const std::lock_guard lock(mutex_);
    queued_ -= static_cast<int>(left);
    told_ += told_now_;
    shared_ = stats_;
  }
  if (told_now_ > 0) ended_.notify_all();
  told_now_ = 0;
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::start(std::shared_ptr<const Model> model, std::unique_ptr<Ops> ops,
                                              const EngineOptions& options) {
  return capture([&]() -> std::unique_ptr<Engine> {
    if (!model || !ops) throw fail(StatusCode::invalid, "an engine needs a model and a home to run it on");
    const ModelInfo& info = model->info();
    if (!info.has_encoder && !info.has_decoder)
      throw fail(StatusCode::invalid, "{} has neither encoder nor decoder", info.architecture);
    if (info.has_encoder && info.has_decoder && (info.decoder_start < 0 || info.decoder_start >= info.vocab))
      throw fail(StatusCode::invalid, "{} has decoder_start {}, must be in [0, {})", info.architecture,
                 info.decoder_start, info.vocab);
    const EngineOptions resolved = resolve_options(options, info, ops->stream().device, ops->compute_dtype());
    auto engine = std::make_unique<EngineLoop>(std::move(model), std::move(ops), resolved);
    if (const Status status = engine->launch(); !status.ok()) throw Error(status);
    return engine;
  });
}

}  // namespace inazuma
