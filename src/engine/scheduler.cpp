#include "engine/scheduler.h"

#include <algorithm>

namespace inazuma {

void Plan::clear() {
  dropped.clear();
  admitted.clear();
  encode.clear();
  decode.clear();
}

namespace {

/// The step while it is being filled.
struct Filling {
  Plan& plan;
  int tokens;  // left of max_batch_tokens; below zero beside a source that exceeds it
  int logprob_rows;
  int sequences;  // rows that may still be admitted
  int blocks;
  bool reading = false;  // somebody reads in this step
};

bool drop_if_over(Sequence& row, Clock::time_point now, Plan& plan) {
  if (row.cancelled) {
    plan.dropped.push_back({&row, StatusCode::cancelled});
    return true;
  }
  if (row.request.deadline <= now) {
    plan.dropped.push_back({&row, StatusCode::deadline_exceeded});
    return true;
  }
  return false;
}

bool is_dropped(const Sequence& row, const Plan& plan) {
  return std::any_of(plan.dropped.begin(), plan.dropped.end(), [&](const auto& d) { return d.sequence == &row; });
}

bool give_source(Sequence& row, Filling& step) {
  if (row.source() > step.tokens && step.reading) return false;
  step.plan.encode.push_back(&row);
  step.tokens -= row.source();
  step.reading = true;
  return true;
}

bool give_prompt(Sequence& row, Filling& step) {
  int count = std::min(row.prompt - row.computed, step.tokens);
  if (row.request.generation.prompt_logprobs) count = std::min(count, step.logprob_rows);
  if (count <= 0) return false;
  if (row.request.generation.prompt_logprobs) step.logprob_rows -= count;
  step.plan.decode.push_back({&row, row.computed, count});
  step.tokens -= count;
  step.reading = true;
  return true;
}

/// Gives a reading row what it can use; false when it got nothing.
bool give(Sequence& row, Filling& step) {
  if (row.phase == Sequence::Phase::prefill) return give_prompt(row, step);
  if (!give_source(row, step)) return false;
  if (row.prompt > 0) give_prompt(row, step);  // the decoder may begin in the same step; if not, then in the next
  return true;
}

bool admit(Sequence& row, Filling& step) {
  const int blocks = row.blocks_needed + row.cross_blocks_needed;
  if (step.sequences < row.width() || blocks > step.blocks || !give(row, step)) return false;
  step.plan.admitted.push_back(&row);
  step.sequences -= row.width();
  step.blocks -= blocks;
  return true;
}

}  // namespace

void plan_step(std::span<const std::unique_ptr<Sequence>> waiting, std::span<const std::unique_ptr<Sequence>> running,
               const Budgets& budgets, Clock::time_point now, Plan& plan) {
  plan.clear();
  Filling step{plan, budgets.max_batch_tokens, budgets.logprob_rows, budgets.max_sequences, budgets.free_blocks};
  for (const auto& row : running) {
    if (drop_if_over(*row, now, plan)) {
      step.blocks += static_cast<int>(row->blocks.size() + row->cross_blocks.size());
      continue;
    }
    step.sequences -= row->width();
    if (!row->decodes()) continue;
    for (int beam = 0; beam < row->width(); ++beam) plan.decode.push_back({row.get(), row->computed, 1, beam});
    step.tokens -= row->width();
  }
  bool open = true;  // nobody has been refused yet
  for (const auto& row : running)
    if (open && row->reads() && !is_dropped(*row, plan)) open = give(*row, step);
  for (const auto& row : waiting) {
    if (drop_if_over(*row, now, plan)) continue;
    if (open) open = admit(*row, step);
  }
}

}  // namespace inazuma
