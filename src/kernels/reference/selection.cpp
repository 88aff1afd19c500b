// Choosing the next token, step by step as transformers 4.57's logits processors and warpers do; softmax sums in
// double.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include "kernels/host_checks.h"
#include "kernels/philox.h"
#include "kernels/reference/reference_ops.h"

namespace inazuma {

namespace {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();

// NaN is never chosen and +inf counts as the largest finite score (see SelectionArgs).
float cleaned(float score) {
  if (std::isnan(score)) return kRemoved;
  return std::min(score, std::numeric_limits<float>::max());
}

struct Softmax {
  std::vector<double> p;      ///< 0 where removed
  std::vector<double> log_p;  ///< -inf where removed
};

Softmax softmax(const std::vector<float>& scores) {
  Softmax out;
  const double largest = *std::ranges::max_element(scores);
  double total = 0.0;
  for (float score : scores) total += std::exp(score - largest);
  for (float score : scores) {
    out.log_p.push_back(score - largest - std::log(total));
    out.p.push_back(std::exp(out.log_p.back()));
  }
  return out;
}

// Ids in the order of `key`, smallest first; equal keys keep id order.
template <class Key>
std::vector<size_t> ascending(const std::vector<Key>& key) {
  std::vector<size_t> ids(key.size());
  std::iota(ids.begin(), ids.end(), size_t{0});
  std::ranges::stable_sort(ids, [&](size_t a, size_t b) { return key[a] < key[b]; });
  return ids;
}

void process(std::vector<float>& scores, const SelectionRow& row, std::span<const int32_t> history,
             std::span<const int32_t> bans) {
  const auto known = [&](int32_t id) { return id >= 0 && static_cast<size_t>(id) < scores.size(); };
  std::map<int32_t, int> counts;
  for (int32_t id : history)
    if (known(id)) counts.try_emplace(id, 0);
  for (int32_t id : history.last(static_cast<size_t>(row.generated)))
    if (known(id)) ++counts[id];
  for (const auto& [id, count] : counts) {
    float& score = scores[static_cast<size_t>(id)];
    score = score < 0.0f ? score * row.repetition_penalty : score / row.repetition_penalty;
    score -= static_cast<float>(count) * row.frequency_penalty;
    if (count > 0) score -= row.presence_penalty;
  }
  for (int32_t id : bans)
    if (known(id)) scores[static_cast<size_t>(id)] = kRemoved;
  if (row.generated < row.min_new_tokens)
    for (int32_t id : std::span(row.eos, static_cast<size_t>(row.eos_count)))
      if (known(id)) scores[static_cast<size_t>(id)] = kRemoved;
}

void keep_top_k(std::vector<float>& scores, int32_t k) {
  std::vector<float> sorted = scores;
  std::ranges::sort(sorted, std::greater());
  const float edge = sorted[std::min(static_cast<size_t>(k), sorted.size()) - 1];
  for (float& score : scores)
    if (score < edge) score = kRemoved;
}

// The library's sort leaves open which of equal scores are cut at the edge; here the lowest ids stay.
void keep_top_p(std::vector<float>& scores, double top_p) {
  const Softmax before = softmax(scores);
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, [&](size_t a, size_t b) { return scores[a] == scores[b] ? a > b : scores[a] < scores[b]; });
  double cumulative = 0.0;
  for (size_t i = 0; i + 1 < order.size(); ++i) {
    cumulative += before.p[order[i]];
    if (cumulative <= 1.0 - top_p) scores[order[i]] = kRemoved;
  }
}

void keep_min_p(std::vector<float>& scores, double min_p) {
  const Softmax before = softmax(scores);
  const double edge = min_p * *std::ranges::max_element(before.p);
  for (size_t id = 0; id < scores.size(); ++id)
    if (before.p[id] < edge) scores[id] = kRemoved;
}

void keep_typical(std::vector<float>& scores, double mass) {
  const Softmax before = softmax(scores);
  double entropy = 0.0;
  for (size_t id = 0; id < scores.size(); ++id)
    if (before.p[id] > 0.0) entropy -= before.p[id] * before.log_p[id];
  std::vector<double> surprise;
  for (double log_p : before.log_p) surprise.push_back(std::abs(-log_p - entropy));
  const std::vector<size_t> order = ascending(surprise);
  double cumulative = 0.0;
  size_t last = 0;
  while (last + 1 < order.size() && (cumulative += before.p[order[last]]) < mass) ++last;
  const double edge = surprise[order[last]];
  for (size_t i = 1; i < order.size(); ++i)
    if (surprise[order[i]] > edge) scores[order[i]] = kRemoved;
}

void warp(std::vector<float>& scores, const SelectionRow& row) {
  if (row.top_k > 0) keep_top_k(scores, row.top_k);
  if (row.top_p < 1.0f) keep_top_p(scores, row.top_p);
  if (row.min_p > 0.0f) keep_min_p(scores, row.min_p);
  if (row.typical_p < 1.0f) keep_typical(scores, row.typical_p);
}

size_t draw(const std::vector<double>& p, double uniform) {
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  double cumulative = 0.0;
  size_t last = 0;
  for (size_t id = 0; id < p.size(); ++id) {
    if (p[id] <= 0.0) continue;
    last = id;
    cumulative += p[id];
    if (cumulative > uniform * total) return id;
  }
  return last;
}

}  // namespace

void ReferenceOps::do_select_tokens(const SelectionArgs& args) {
  check_selection(args);
  for (int64_t r = 0; r < args.logits.rows(); ++r) {
    SelectionRow row;
    std::memcpy(&row, args.rows.as<uint8_t>() + r * int64_t{sizeof row}, sizeof row);
    float* logits = args.logits.as<float>() + r * args.logits.stride(0);
    int32_t* history = args.history.as<int32_t>() + row.slot * args.history.stride(0);
    std::vector<float> scores(logits, logits + args.logits.cols());
    std::ranges::transform(scores, scores.begin(), cleaned);
    const auto bans = args.bans.defined() ? std::span<const int32_t>(args.bans.as<int32_t>() + row.ban_begin,
                                                                     args.bans.as<int32_t>() + row.ban_end)
                                          : std::span<const int32_t>();
    if (row.log_softmax_first != 0) {
      const Softmax before = softmax(scores);
      for (size_t id = 0; id < scores.size(); ++id) scores[id] = cleaned(static_cast<float>(before.log_p[id]));
    }
    process(scores, row, {history, static_cast<size_t>(row.length)}, bans);
    std::ranges::transform(scores, scores.begin(), cleaned);
    if (row.temperature != 1.0f)
      for (float& score : scores) score = cleaned(score / row.temperature);
    if (row.sample != 0) warp(scores, row);

    const size_t best = static_cast<size_t>(std::ranges::max_element(scores) - scores.begin());
    const bool possible = scores[best] > kRemoved;
    Softmax after = softmax(scores);  // NaN everywhere when nothing is possible
    if (row.log_softmax_first != 0 && possible) after.log_p.assign(scores.begin(), scores.end());
    const size_t token = !possible ? 0
                         : row.sample != 0
                             ? draw(after.p, philox_uniform(row.seed, static_cast<uint32_t>(row.generated)))
                             : best;
    args.tokens.as<int32_t>()[r] = history[row.length] = static_cast<int32_t>(token);
    args.logprobs.as<float>()[r] = static_cast<float>(after.log_p[token]);
    if (!args.top_ids.defined()) continue;
    std::vector<float> negated(scores.size());
    std::ranges::transform(scores, negated.begin(), std::negate());
    const std::vector<size_t> order = ascending(negated);
    for (int64_t i = 0; i < args.top_ids.cols(); ++i) {
      const size_t id = order[static_cast<size_t>(i)];
      args.top_ids.as<int32_t>()[r * args.top_ids.cols() + i] = static_cast<int32_t>(id);
      args.top_logprobs.as<float>()[r * args.top_ids.cols() + i] = static_cast<float>(after.log_p[id]);
    }
  }
}

void ReferenceOps::do_token_logprobs(const Tensor& out, const Tensor& logits, const Tensor& targets) {
  check_ids("token_logprobs: targets", targets, logits.cols());
  for (int64_t r = 0; r < logits.rows(); ++r) {
    const float* row = logits.as<float>() + r * logits.stride(0);
    const double largest = *std::max_element(row, row + logits.cols());
    double total = 0.0;
    for (int64_t v = 0; v < logits.cols(); ++v) total += std::exp(row[v] - largest);
    out.as<float>()[r] = static_cast<float>(row[targets.as<int32_t>()[r]] - largest - std::log(total));
  }
}

}  // namespace inazuma
