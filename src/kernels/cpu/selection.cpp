#include "kernels/cpu/selection.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/philox.h"

namespace inazuma {

namespace {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();
constexpr float kLowest = std::numeric_limits<float>::lowest();

class Selector {
 public:
  Selector(const Kernels& kernels, std::span<float> logits, const SelectionScratch& scratch)
      : kernels_(kernels), logits_(logits), scratch_(scratch), count_(static_cast<int64_t>(logits.size())) {}

  SelectionResult choose(const SelectionRow& row, std::span<const int32_t> history, std::span<const int32_t> bans);
  void best(std::span<int32_t> ids, std::span<float> logprobs);

 private:
  void best_candidates(std::span<int32_t> ids, std::span<float> logprobs);
  bool known(int32_t id) const { return id >= 0 && id < count_; }
  float& score(int32_t id) { return logits_[static_cast<size_t>(id)]; }
  bool process(const SelectionRow& row, std::span<const int32_t> history, std::span<const int32_t> bans);
  void penalise_repetition(std::span<const int32_t> history, float penalty);
  void penalise_frequency(std::span<const int32_t> generated, float frequency, float presence);
  float edge_of_largest(int64_t k);
  void gather(const SelectionRow& row);
  void keep_top_p(double top_p);
  void keep_min_p(double min_p);
  void keep_typical(double mass);
  void normalize();
  void weigh();
  template <class Before>
  size_t reaching(double mass, Before before);
  int32_t draw_from_all(double uniform);
  int32_t draw_from_candidates(double uniform);
  /// From now on logprob() gives the score itself.
  void reported_as_scores() {
    largest_ = 0.0f;
    total_ = 1.0;
  }
  float logprob(float value) const {
    return static_cast<float>(static_cast<double>(value) - largest_ - std::log(total_));
  }

  const Kernels& kernels_;
  std::span<float> logits_;
  const SelectionScratch& scratch_;
  int64_t count_;
  std::span<Candidate> candidates_;
  float largest_ = kRemoved;
  double total_ = std::numeric_limits<double>::quiet_NaN();
};

void Selector::penalise_repetition(std::span<const int32_t> history, float penalty) {
  for (size_t i = 0; i < history.size(); ++i) {  // all from the old scores, so that an id met twice is penalised once
    const float old = known(history[i]) ? score(history[i]) : 0.0f;
    scratch_.weights[i] = old < 0.0f ? old * penalty : old / penalty;
  }
  for (size_t i = 0; i < history.size(); ++i)
    if (known(history[i])) score(history[i]) = scratch_.weights[i];
}

void Selector::penalise_frequency(std::span<const int32_t> generated, float frequency, float presence) {
  const auto sorted = scratch_.ids.first(generated.size());
  std::ranges::copy(generated, sorted.begin());
  std::ranges::sort(sorted);
  for (size_t begin = 0, end; begin < sorted.size(); begin = end) {
    for (end = begin + 1; end < sorted.size() && sorted[end] == sorted[begin];) ++end;
    if (!known(sorted[begin])) continue;
    score(sorted[begin]) -= static_cast<float>(end - begin) * frequency;
    score(sorted[begin]) -= presence;
  }
}

// True if any score was touched.
bool Selector::process(const SelectionRow& row, std::span<const int32_t> history, std::span<const int32_t> bans) {
  const bool repetition = row.repetition_penalty != 1.0f;
  const bool frequency = row.frequency_penalty != 0.0f || row.presence_penalty != 0.0f;
  const bool no_eos = row.generated < row.min_new_tokens;
  if (repetition) penalise_repetition(history, row.repetition_penalty);
  if (frequency)
    penalise_frequency(history.last(static_cast<size_t>(row.generated)), row.frequency_penalty, row.presence_penalty);
  for (int32_t id : bans)
    if (known(id)) score(id) = kRemoved;
  if (no_eos)
    for (int32_t id : std::span(row.eos, static_cast<size_t>(row.eos_count)))
      if (known(id)) score(id) = kRemoved;
  return repetition || frequency || no_eos || !bans.empty();
}

// The k-th largest score. Passes over the scores once, keeping those that may be among the k largest so far.
float Selector::edge_of_largest(int64_t k) {
  if (k >= count_) return kRemoved;
  const int64_t room = std::min(std::max<int64_t>(4 * k, 1024), count_) + kernels_.width;
  int32_t* ids = scratch_.ids.data();
  const auto higher = [&](int32_t a, int32_t b) { return score(a) > score(b); };
  float edge = kRemoved;
  for (int64_t next = 0, found = 0; next < count_;) {
    next = kernels_.collect(logits_.data(), edge, next, count_, ids, room, found);
    if (found < k) continue;
    std::nth_element(ids, ids + k - 1, ids + found, higher);
    edge = score(ids[k - 1]);
    found = k;
  }
  return edge;
}

// Scores become log-probabilities.
void Selector::normalize() {
  if (!(largest_ > kRemoved)) return;
  total_ = kernels_.exp_sum(logits_.data(), largest_, nullptr, count_);
  const double largest = largest_, log_total = std::log(total_);
  for (float& score : logits_) score = static_cast<float>(static_cast<double>(score) - largest - log_total);
}

void Selector::weigh() {
  largest_ = kRemoved;
  total_ = 0.0;
  for (const Candidate& c : candidates_) largest_ = std::max(largest_, c.score);
  for (Candidate& c : candidates_) total_ += c.weight = std::exp(static_cast<double>(c.score) - largest_);
}

// Candidates in order of id, and the weights of all that were possible before (which top-p's shares refer to).
void Selector::gather(const SelectionRow& row) {
  float edge = kLowest;
  if (row.top_k > 0 && row.top_k < count_) {
    edge = std::max(edge, edge_of_largest(row.top_k));
  } else if (row.top_p < 1.0f) {
    // Ids whose shares are below (1 - p) / vocab make up less than 1 - p together: none of them survives.
    total_ = kernels_.exp_sum(logits_.data(), largest_, nullptr, count_);
    const double share = 0.5 * (1.0 - row.top_p) * total_ / static_cast<double>(count_);
    edge = std::max(edge, static_cast<float>(largest_ + std::log(share)));
  }
  int64_t found = 0;
  kernels_.collect(logits_.data(), edge, 0, count_, scratch_.ids.data(), count_ + kernels_.width, found);
  candidates_ = scratch_.candidates.first(static_cast<size_t>(found));
  for (size_t i = 0; i < candidates_.size(); ++i)
    candidates_[i] = {.score = score(scratch_.ids[i]), .id = scratch_.ids[i]};
  const double everything = total_;
  weigh();
  if (!(row.top_k > 0 && row.top_k < count_) && row.top_p < 1.0f) total_ = everything;
}

// Puts the least number of candidates whose weights reach `mass` of the total in front, in some order; returns that
// number (at least 1). `before` says which comes first.
template <class Before>
size_t Selector::reaching(double mass, Before before) {
  const double target = mass * total_;
  size_t low = 0, high = candidates_.size();
  double sum = 0.0;  // of candidates before `low`
  while (high - low > 1) {
    const size_t middle = low + (high - low) / 2;
    const auto at = [&](size_t i) { return candidates_.begin() + static_cast<std::ptrdiff_t>(i); };
    std::nth_element(at(low), at(middle), at(high), before);
    double half = 0.0;
    for (size_t i = low; i < middle; ++i) half += candidates_[i].weight;
    if (sum + half >= target) {
      high = middle;
    } else {
      sum += half;
      low = middle;
    }
  }
  return low + 1;
}

void Selector::keep_top_p(double top_p) {
  const size_t kept = reaching(top_p, [](const Candidate& a, const Candidate& b) {
    return a.score > b.score || (a.score == b.score && a.id < b.id);
  });
  candidates_ = candidates_.first(kept);
}

void Selector::keep_min_p(double min_p) {
  // Not std::ranges::remove_if: clang 14, which builds the fuzzers, cannot compile the library's subrange.
  const auto end =
      std::remove_if(candidates_.begin(), candidates_.end(), [&](const Candidate& c) { return c.weight < min_p; });
  candidates_ = candidates_.first(static_cast<size_t>(end - candidates_.begin()));
}

void Selector::keep_typical(double mass) {
  double entropy = 0.0;
  for (const Candidate& c : candidates_) {
    const double p = c.weight / total_;
    if (p > 0.0) entropy -= p * std::log(p);
  }
  for (Candidate& c : candidates_)
    c.key = std::abs(std::log(total_) - (static_cast<double>(c.score) - largest_) - entropy);
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.key < b.key || (a.key == b.key && a.id < b.id);
  };
  const size_t kept = reaching(mass, before);
  const double edge = std::ranges::max_element(candidates_.first(kept), {}, &Candidate::key)->key;
  const auto end =
      std::remove_if(candidates_.begin(), candidates_.end(), [&](const Candidate& c) { return c.key > edge; });
  candidates_ = candidates_.first(static_cast<size_t>(end - candidates_.begin()));
}

int32_t Selector::draw_from_all(double uniform) {
  const float* weights = scratch_.weights.data();
  const double target = uniform * total_;
  double sum = 0.0;
  int64_t last = 0;
  for (int64_t i = 0; i < count_; ++i) {
    if (weights[i] <= 0.0f) continue;
    last = i;
    sum += weights[i];
    if (sum > target) break;
  }
  return static_cast<int32_t>(last);
}

int32_t Selector::draw_from_candidates(double uniform) {
  const double target = uniform * total_;
  double sum = 0.0;
  int32_t last = 0;
  for (const Candidate& c : candidates_) {
    if (c.weight <= 0.0) continue;
    last = c.id;
    sum += c.weight;
    if (sum > target) break;
  }
  return last;
}

SelectionResult Selector::choose(const SelectionRow& row, std::span<const int32_t> history,
                                 std::span<const int32_t> bans) {
  largest_ = kernels_.clean(logits_.data(), 1.0f, count_);
  if (row.log_softmax_first != 0) normalize();
  if (process(row, history, bans) || row.temperature != 1.0f || row.log_softmax_first != 0)
    largest_ = kernels_.clean(logits_.data(), row.temperature, count_);
  if (!(largest_ > kRemoved)) {
    total_ = std::numeric_limits<double>::quiet_NaN();
    return {0, std::numeric_limits<float>::quiet_NaN()};
  }
  if (row.sample == 0) {
    const int32_t best = static_cast<int32_t>(kernels_.find(logits_.data(), largest_, count_));
    if (row.log_softmax_first != 0) {
      reported_as_scores();
      return {best, score(best)};
    }
    total_ = kernels_.exp_sum(logits_.data(), largest_, nullptr, count_);
    return {best, logprob(largest_)};
  }
  const double uniform = philox_uniform(row.seed, static_cast<uint32_t>(row.generated));
  const bool filtered = row.top_k > 0 || row.top_p < 1.0f || row.min_p > 0.0f || row.typical_p < 1.0f;
  if (!filtered) {
    total_ = kernels_.exp_sum(logits_.data(), largest_, scratch_.weights.data(), count_);
    const int32_t token = draw_from_all(uniform);
    return {token, logprob(score(token))};
  }
  gather(row);
  if (row.top_p < 1.0f) keep_top_p(row.top_p);
  if (row.min_p > 0.0f) keep_min_p(row.min_p);
  weigh();
  if (row.typical_p < 1.0f) keep_typical(row.typical_p);
  std::ranges::sort(candidates_, {}, &Candidate::id);
  weigh();
  const int32_t token = draw_from_candidates(uniform);
  return {token, logprob(score(token))};
}

// Candidates are in order of id here: those that lead, then the lowest of the ids that are no candidates.
void Selector::best_candidates(std::span<int32_t> ids, std::span<float> logprobs) {
  const size_t leading = std::min(ids.size(), candidates_.size());
  if (leading < ids.size()) {
    size_t i = leading, next = 0;
    for (int32_t id = 0; i < ids.size(); ++id) {
      const bool candidate = next < candidates_.size() && candidates_[next].id == id;
      if (candidate) {
        ++next;
      } else {
        ids[i++] = id;
      }
    }
  }
  std::ranges::partial_sort(
      candidates_, candidates_.begin() + static_cast<std::ptrdiff_t>(leading),
      [](const Candidate& a, const Candidate& b) { return a.score > b.score || (a.score == b.score && a.id < b.id); });
  for (size_t i = 0; i < leading; ++i) ids[i] = candidates_[i].id;
  for (size_t i = 0; i < ids.size(); ++i) logprobs[i] = i < leading ? logprob(candidates_[i].score) : kRemoved;
}

void Selector::best(std::span<int32_t> ids, std::span<float> logprobs) {
  if (!candidates_.empty()) return best_candidates(ids, logprobs);
  const auto wanted = static_cast<int64_t>(ids.size());
  const float edge = std::max(kLowest, edge_of_largest(wanted));
  int64_t found = 0;
  kernels_.collect(logits_.data(), edge, 0, count_, scratch_.ids.data(), count_ + kernels_.width, found);
  const auto ranked = scratch_.ids.first(static_cast<size_t>(found));
  std::ranges::sort(ranked,
                    [&](int32_t a, int32_t b) { return score(a) > score(b) || (score(a) == score(b) && a < b); });
  size_t i = 0;
  for (; i < std::min(ids.size(), ranked.size()); ++i) ids[i] = ranked[i];
  for (int32_t id = 0; i < ids.size(); ++id)
    if (score(id) == kRemoved) ids[i++] = id;
  for (i = 0; i < ids.size(); ++i) logprobs[i] = logprob(score(ids[i]));
}

}  // namespace

size_t SelectionScratch::floats(int64_t vocab, int64_t capacity) {
  const auto longest = static_cast<size_t>(std::max(vocab, capacity)) + 64;
  return 2 * longest + static_cast<size_t>(vocab) * sizeof(Candidate) / sizeof(float) + 64;
}

SelectionScratch SelectionScratch::in(float* memory, int64_t vocab, int64_t capacity) {
  const size_t longest = (static_cast<size_t>(std::max(vocab, capacity)) + 64 + 15) / 16 * 16 - 16;
  const size_t room = longest + 16;
  auto* ids = reinterpret_cast<int32_t*>(memory);
  auto* candidates = reinterpret_cast<Candidate*>(memory + 2 * room);
  return {{memory + room, longest}, {ids, room}, {candidates, static_cast<size_t>(vocab)}};
}

SelectionResult select_token(const Kernels& kernels, const SelectionRow& row, std::span<float> logits,
                             std::span<const int32_t> history, std::span<const int32_t> bans,
                             std::span<int32_t> top_ids, std::span<float> top_logprobs,
                             const SelectionScratch& scratch) {
  Selector selector(kernels, logits, scratch);
  const SelectionResult result = selector.choose(row, history, bans);
  if (!top_ids.empty()) selector.best(top_ids, top_logprobs);
  return result;
}

}  // namespace inazuma
