#include "engine/beams/beam_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace inazuma {

namespace {

/// What transformers adds to the score of what must not be chosen: beams that do not exist yet, texts that have ended.
constexpr float kFarBehind = -1.0e9f;
constexpr float kImpossible = -std::numeric_limits<float>::infinity();

}  // namespace

void BeamSearch::Candidate::fall_behind() {
  score += kFarBehind;
  rank += kFarBehind;
}

BeamSearch::BeamSearch(const GenerationOptions& options, HypothesisEnd end, std::vector<int32_t> prompt, int vocab)
    : options_(options),
      end_(std::move(end)),
      width_(options.num_beams),
      kept_(std::max(2, 1 + (options.ignore_eos ? 0 : static_cast<int>(options.eos.size()))) * options.num_beams),
      candidates_(std::min(kept_, vocab)),
      prompt_(static_cast<int>(prompt.size())) {
  Beam first{.ids = std::move(prompt), .logprobs = {}};
  first.ids.reserve(first.ids.size() + static_cast<size_t>(options.max_new_tokens));
  beams_.assign(static_cast<size_t>(width_), first);
  for (size_t i = 1; i < beams_.size(); ++i) beams_[i].score = kFarBehind;
}

float BeamSearch::length_divisor(int generated) const {
  return static_cast<float>(std::pow(static_cast<double>(generated), static_cast<double>(options_.length_penalty)));
}

/// The best `kept_` continuations of all beams, in order.
void BeamSearch::collect(std::span<const int32_t> ids, std::span<const float> logprobs, int stride) {
  best_.clear();
  const float divisor = options_.beam_diversity != 0.0f ? length_divisor(generated_ + 1) : 1.0f;
  const size_t given = logprobs.size() / static_cast<size_t>(stride);
  for (size_t b = 0; b < beams_.size(); ++b) {
    const size_t row = given == 1 ? 0 : b * static_cast<size_t>(stride);
    for (size_t i = 0; i < static_cast<size_t>(candidates_); ++i) {
      const float logprob = std::isnan(logprobs[row + i]) ? kImpossible : logprobs[row + i];
      const float score = logprob + beams_[b].score;
      Candidate c{.score = score, .rank = score, .logprob = logprob, .beam = static_cast<int>(b), .id = ids[row + i]};
      if (options_.beam_diversity != 0.0f)
        c.rank = c.score / divisor + options_.beam_diversity * static_cast<float>(i % static_cast<size_t>(width_));
      best_.push_back(c);
    }
  }
  const size_t kept = std::min(best_.size(), static_cast<size_t>(kept_));
  std::partial_sort(best_.begin(), best_.begin() + static_cast<std::ptrdiff_t>(kept), best_.end(),
                    [](const Candidate& a, const Candidate& b) {
                      if (a.rank != b.rank) return a.rank > b.rank;
                      return a.beam != b.beam ? a.beam < b.beam : a.id < b.id;
                    });
  best_.resize(kept);
}

std::optional<FinishReason> BeamSearch::end_of(const Candidate& candidate) {
  if (!options_.ignore_eos && std::find(options_.eos.begin(), options_.eos.end(), candidate.id) != options_.eos.end())
    return FinishReason::eos;
  if (end_) {
    tried_ = beams_[static_cast<size_t>(candidate.beam)].ids;
    tried_.push_back(candidate.id);
    if (end_(tried_, prompt_)) return FinishReason::stopped;
  }
  if (generated_ + 1 >= options_.max_new_tokens) return FinishReason::length;
  return std::nullopt;
}

/// Among the finished if it is better than the worst of them; behind those as good, which came earlier.
void BeamSearch::finish(const Candidate& candidate, FinishReason reason) {
  const float score = candidate.score / length_divisor(generated_ + 1);
  const auto at =
      std::find_if(finished_.begin(), finished_.end(), [&](const Hypothesis& h) { return h.score < score; });
  if (at == finished_.end() && finished_.size() == static_cast<size_t>(width_)) return;
  const Beam& beam = beams_[static_cast<size_t>(candidate.beam)];
  Hypothesis out{.ids = {beam.ids.begin() + prompt_, beam.ids.end()},
                 .logprobs = beam.logprobs,
                 .sum = candidate.score,
                 .score = score,
                 .reason = reason};
  out.ids.push_back(candidate.id);
  out.logprobs.push_back(candidate.logprob);
  finished_.insert(at, std::move(out));
  if (finished_.size() > static_cast<size_t>(width_)) finished_.pop_back();
}

/// What is left of the candidates are the running beams.
void BeamSearch::run_on() {
  std::vector<Beam> next;
  next.reserve(best_.size());
  for (const Candidate& c : best_) {
    const Beam& parent = beams_[static_cast<size_t>(c.beam)];
    Beam& beam = next.emplace_back();
    beam.ids.reserve(static_cast<size_t>(prompt_ + options_.max_new_tokens));
    beam.ids.assign(parent.ids.begin(), parent.ids.end());
    beam.ids.push_back(c.id);
    beam.logprobs.reserve(static_cast<size_t>(options_.max_new_tokens));
    beam.logprobs.assign(parent.logprobs.begin(), parent.logprobs.end());
    beam.logprobs.push_back(c.logprob);
    beam.score = c.score;
    beam.parent = generated_ == 0 ? 0 : c.beam;  // at first only beam 0 has been computed
  }
  beams_ = std::move(next);
}

/// transformers' _check_early_stop_heuristic, after the step has been counted.
bool BeamSearch::can_improve() const {
  const bool may_grow = options_.early_stopping == EarlyStopping::never && options_.length_penalty > 0.0f;
  const float best = beams_[0].score / length_divisor(may_grow ? options_.max_new_tokens : generated_);
  const bool full = finished_.size() == static_cast<size_t>(width_);
  return best > (full ? finished_.back().score : kFarBehind);
}

/// Marks the candidates that end; those of them among the best K are finished. True if all end.
bool BeamSearch::end_among_best() {
  bool all_end = true;
  for (size_t i = 0; i < best_.size(); ++i) {
    const std::optional<FinishReason> end = end_of(best_[i]);
    all_end = all_end && end.has_value();
    if (!end) continue;
    if (i < static_cast<size_t>(width_)) finish(best_[i], *end);
    best_[i].fall_behind();
  }
  return all_end;
}

/// The step's candidates and what has ended before, walked together in order: the best K remain, ended or running.
void BeamSearch::keep_best_with_ended() {
  std::vector<Hypothesis> before = std::exchange(finished_, {});
  auto ended = before.begin();
  size_t left = static_cast<size_t>(width_);
  for (Candidate& candidate : best_) {
    for (; left > 0 && ended != before.end() && ended->sum >= candidate.rank; ++ended, --left)
      finished_.push_back(std::move(*ended));
    const std::optional<FinishReason> end = end_of(candidate);
    if (left > 0) {
      --left;
      if (!end) continue;
      finish(candidate, *end);
    }
    candidate.fall_behind();
  }
  for (; left > 0 && ended != before.end(); ++ended, --left) finished_.push_back(std::move(*ended));
}

bool BeamSearch::advance(std::span<const int32_t> ids, std::span<const float> logprobs, int stride) {
  collect(ids, logprobs, stride);
  if (best_.front().score == kImpossible) return false;
  bool all_end = false;
  if (options_.beams_keep_ended) {
    keep_best_with_ended();
  } else {
    all_end = end_among_best();
  }
  std::stable_sort(best_.begin(), best_.end(), [](const Candidate& a, const Candidate& b) { return a.rank > b.rank; });
  best_.resize(static_cast<size_t>(width_));
  run_on();
  ++generated_;
  const bool full = finished_.size() == static_cast<size_t>(width_);
  const bool until_full = options_.beams_keep_ended || options_.early_stopping == EarlyStopping::full;
  ended_ = all_end || (full && until_full) || !(options_.beams_keep_ended || can_improve());
  return true;
}

std::vector<Hypothesis> BeamSearch::take_hypotheses() {
  if (finished_.size() > static_cast<size_t>(options_.num_return_sequences))
    finished_.resize(static_cast<size_t>(options_.num_return_sequences));
  return std::move(finished_);
}

}  // namespace inazuma
