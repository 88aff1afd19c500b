// Attention of the oracle: every score is computed, shifted by the largest, exponentiated and summed in double.

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "kernels/host_checks.h"
#include "kernels/reference/reference_ops.h"

namespace inazuma {

namespace {

// One head of one query row: how many keys it sees, where key j and value j are, and what is added to score j.
struct HeadQuery {
  float* out;
  const float* q;
  int64_t keys;
  std::function<const float*(int64_t)> key;
  std::function<const float*(int64_t)> value;
  std::function<double(int64_t)> bias;
};

void attend(const HeadQuery& query, int head_dim, double scale) {
  std::vector<double> weights(static_cast<size_t>(query.keys));
  double largest = -std::numeric_limits<double>::infinity();
  for (int64_t j = 0; j < query.keys; ++j) {
    double score = 0.0;
    for (int d = 0; d < head_dim; ++d) score += static_cast<double>(query.q[d]) * query.key(j)[d];
    weights[static_cast<size_t>(j)] = score * scale + query.bias(j);
    largest = std::max(largest, weights[static_cast<size_t>(j)]);
  }
  double total = 0.0;
  for (double& weight : weights) total += weight = std::exp(weight - largest);
  for (int d = 0; d < head_dim; ++d) {
    double sum = 0.0;
    for (int64_t j = 0; j < query.keys; ++j) sum += weights[static_cast<size_t>(j)] * query.value(j)[d];
    query.out[d] = query.keys == 0 ? 0.0f : static_cast<float>(sum / total);
  }
}

double bias_of(const RelativeBias& bias, int head, int64_t distance) {
  if (!bias.table.defined()) return 0.0;
  const int64_t reach = bias.max_distance;
  return bias.table.as<float>()[head * bias.table.stride(0) + std::clamp(distance, -reach, reach) + reach];
}

}  // namespace

void ReferenceOps::do_attention(const AttentionArgs& args) {
  check_offsets("attention", args.offsets, args.q.rows(), args.max_length);
  const int32_t* offsets = args.offsets.as<int32_t>();
  const auto at = [&](const Tensor& t, int64_t row, int head) {
    return t.as<float>() + row * t.stride(0) + int64_t{head} * args.head_dim;
  };
  for (int64_t s = 0; s + 1 < args.offsets.rows(); ++s)
    for (int64_t i = offsets[s]; i < offsets[s + 1]; ++i)
      for (int h = 0; h < args.heads; ++h) {
        HeadQuery query{.out = at(args.out, i, h), .q = at(args.q, i, h)};
        query.keys = (args.causal ? i + 1 : offsets[s + 1]) - offsets[s];
        query.key = [&, s](int64_t j) { return at(args.k, offsets[s] + j, h); };
        query.value = [&, s](int64_t j) { return at(args.v, offsets[s] + j, h); };
        query.bias = [&, s](int64_t j) { return bias_of(args.bias, h, offsets[s] + j - i); };
        attend(query, args.head_dim, args.scale);
      }
}

void ReferenceOps::do_paged_attention(const PagedAttentionArgs& args) {
  check_paged(args);
  const int32_t* offsets = args.offsets.as<int32_t>();
  const int64_t block_tokens = args.keys.shape()[2];
  for (int64_t s = 0; s + 1 < args.offsets.rows(); ++s) {
    const int64_t rows = offsets[s + 1] - offsets[s], context = args.context_lengths.as<int32_t>()[s];
    const int32_t* table = args.block_tables.as<int32_t>() + s * args.block_tables.stride(0);
    for (int64_t i = 0; i < rows; ++i)
      for (int h = 0; h < args.heads; ++h) {
        const auto stored = [&](const Tensor& pool, int64_t j) {
          const int64_t place = (table[j / block_tokens] * int64_t{args.heads} + h) * block_tokens + j % block_tokens;
          return pool.as<const float>() + place * args.head_dim;
        };
        const int64_t position = context - rows + i;
        const int64_t row = offsets[s] + i, column = int64_t{h} * args.head_dim;
        HeadQuery query{.out = args.out.as<float>() + row * args.out.stride(0) + column,
                        .q = args.q.as<float>() + row * args.q.stride(0) + column};
        query.keys = args.causal ? position + 1 : context;
        query.key = [&](int64_t j) { return stored(args.keys, j); };
        query.value = [&](int64_t j) { return stored(args.values, j); };
        query.bias = [&](int64_t j) { return bias_of(args.bias, h, j - position); };
        attend(query, args.head_dim, args.scale);
      }
  }
}

}  // namespace inazuma
