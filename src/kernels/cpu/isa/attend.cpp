// Attention of one head: scores of a few query rows with all their keys, softmax, weighted sum of values.
//
// Every query row has its own sums, always in the same order, so that neither its neighbours in the block nor how a
// prompt was cut into steps changes its bits: a score is summed lane by lane over head_dim and then over lanes in one
// tree; exponentials by lanes over keys; values key after key.

#include "kernels/cpu/isa/functions.h"
#include "kernels/cpu/isa/math.h"

namespace inazuma::INAZUMA_ISA {

namespace {

constexpr int kRows = 4;  // query rows that share a reading of the keys
constexpr float kInfinity = __builtin_huge_valf();

const float* run_of(const KeyRows& rows, int64_t run) {
  return rows.base + (rows.table == nullptr ? run : int64_t{rows.table[run]}) * rows.run_stride;
}

// Query rows of a block, side by side in the job's scratch: scores [kRows][pitch], sums of values [kRows][head_dim].
struct Block {
  const AttendJob& job;
  int64_t first;  ///< row of the job
  int64_t pitch;
  float* scores;
  float* sums;

  const float* q(int64_t r) const { return job.q + (first + r) * job.q_stride; }
  float* score(int64_t r) const { return scores + r * pitch; }
  float* sum_of(int64_t r) const { return sums + r * job.head_dim; }
  /// Keys that row r sees.
  int64_t sees(int64_t r) const { return job.causal ? smaller(job.keys, job.position + first + r + 1) : job.keys; }
};

// Scores of Rows query rows with up to W / Rows keys at `key`, written from score(·)[j] on.
template <int Rows>
void score_group(const Block& block, const float* key, int64_t stride, int64_t count, int64_t j) {
  constexpr int kKeys = W / Rows;
  Vec partial[W];
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i) partial[i] = Vec::zero();
  const float* keys[kKeys];
#pragma GCC unroll 16
  for (int g = 0; g < kKeys; ++g) keys[g] = key + smaller(g, count - 1) * stride;
  const int64_t width = block.job.head_dim;
  for (int64_t d = 0; d < width; d += W) {
    Vec q[Rows];
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) q[r] = load_lanes(block.q(r) + d, width - d);
#pragma GCC unroll 16
    for (int g = 0; g < kKeys; ++g) {
      const Vec k = load_lanes(keys[g] + d, width - d);
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) partial[r * kKeys + g] = fma(q[r], k, partial[r * kKeys + g]);
    }
  }
  alignas(64) float totals[W];
  sums(partial).store(totals);
  for (int r = 0; r < Rows; ++r) {
    float* out = block.score(r) + j;
    for (int64_t g = 0; g < count; ++g) out[g] = totals[r * kKeys + g];
  }
}

template <int Rows>
void scores(const Block& block, int64_t keys) {
  constexpr int64_t kKeys = W / Rows;
  const KeyRows& rows = block.job.key;
  for (int64_t begin = 0, run = 0; begin < keys; begin += rows.run, ++run) {
    const float* key = run_of(rows, run);
    const int64_t count = smaller(rows.run, keys - begin);
    for (int64_t g = 0; g < count; g += kKeys)
      score_group<Rows>(block, key + g * rows.row_stride, rows.row_stride, smaller(kKeys, count - g), begin + g);
  }
}

// scale · score + bias over the keys that the row sees.
void scale_and_bias(const Block& block, int64_t r, int64_t keys) {
  const AttendJob& job = block.job;
  float* score = block.score(r);
  const Vec scale = Vec::all(job.scale);
  if (job.bias == nullptr) {
    for (int64_t j = 0; j < keys; j += W) (Vec::load(score + j) * scale).store(score + j);
    return;
  }
  const int64_t position = job.position + block.first + r, reach = job.bias_reach;
  const float* middle = job.bias + reach;
  for (int64_t j = 0; j < keys; ++j) {
    const int64_t distance = j - position;
    const float bias = middle[distance < -reach ? -reach : distance > reach ? reach : distance];
    score[j] = score[j] * job.scale + bias;
  }
}

// Scores to exponentials of their distance from the largest; returns their sum.
float exponentials(const Block& block, int64_t r, int64_t keys) {
  float* score = block.score(r);
  const int64_t padded = round_up(keys, W);
  for (int64_t j = keys; j < padded; ++j) score[j] = -kInfinity;
  Vec high = Vec::all(-kInfinity);
  for (int64_t j = 0; j < padded; j += W) high = max(Vec::load(score + j), high);
  const Vec shift = Vec::all(largest(high));
  Vec total = Vec::zero();
  for (int64_t j = 0; j < padded; j += W) {
    const Vec e = exp(Vec::load(score + j) - shift);
    e.store(score + j);
    total = total + e;
  }
  return sum(total);
}

// Adds weight · value for keys [begin, end) to columns [d, d + Vectors · W) of the sums of Rows rows from `first` on.
template <int Rows, int Vectors>
void add_values(const Block& block, int64_t first, int64_t begin, int64_t end, int64_t d) {
  const KeyRows& rows = block.job.value;
  const int64_t lanes = block.job.head_dim - d - (Vectors - 1) * W;  // of the last vector
  Vec total[Rows][Vectors];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v)
      total[r][v] = load_lanes(block.sum_of(first + r) + d + v * W, v + 1 < Vectors ? W : lanes);
  for (int64_t run = begin / rows.run; run * rows.run < end; ++run) {
    const int64_t from = run * rows.run < begin ? begin : run * rows.run, to = smaller(end, (run + 1) * rows.run);
    const float* value = run_of(rows, run) + (from - run * rows.run) * rows.row_stride + d;
    for (int64_t j = from; j < to; ++j, value += rows.row_stride) {
      Vec x[Vectors];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) x[v] = load_lanes(value + v * W, v + 1 < Vectors ? W : lanes);
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) {
        const Vec weight = broadcast(block.score(first + r) + j);
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) total[r][v] = fma(weight, x[v], total[r][v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v)
      store_lanes(block.sum_of(first + r) + d + v * W, total[r][v], v + 1 < Vectors ? W : lanes);
}

template <int Rows>
void add_values(const Block& block, int64_t first, int64_t begin, int64_t end) {
  const int64_t width = block.job.head_dim;
  int64_t d = 0;
  for (; d + 4 * W <= width; d += 4 * W) add_values<Rows, 4>(block, first, begin, end, d);
  for (; d < width; d += W) add_values<Rows, 1>(block, first, begin, end, d);
}

template <int Rows>
void attend_block(const Block& block) {
  const int64_t width = block.job.head_dim;
  // Causal rows see one key more each: what all see is done together, the rest row by row (a later token's NaN stays
  // out).
  const int64_t common = block.sees(0), most = block.sees(Rows - 1);
  scores<Rows>(block, most);
  float totals[Rows];
  for (int64_t r = 0; r < Rows; ++r) {
    scale_and_bias(block, r, block.sees(r));
    totals[r] = exponentials(block, r, block.sees(r));
    for (int64_t d = 0; d < width; ++d) block.sum_of(r)[d] = 0.0f;
  }
  add_values<Rows>(block, 0, 0, common);
  for (int64_t r = 1; r < Rows; ++r)
    if (block.sees(r) > common) add_values<1>(block, r, common, block.sees(r));
  for (int64_t r = 0; r < Rows; ++r) {
    float* out = block.job.out + (block.first + r) * block.job.out_stride;
    const Vec total = Vec::all(block.sees(r) > 0 ? totals[r] : 1.0f);
    for (int64_t d = 0; d < width; d += W)
      store_lanes(out + d, load_lanes(block.sum_of(r) + d, width - d) / total, width - d);
  }
}

}  // namespace

int64_t attend_scratch(int64_t keys, int64_t head_dim) {
  return kRows * (round_up(keys, W) + W + round_up(head_dim, W)) + W;
}

void attend(const AttendJob& job) {
  const int64_t pitch = round_up(job.keys, W) + W;
  Block block{job, 0, pitch, job.scratch, job.scratch + kRows * pitch};
  for (; block.first + kRows <= job.rows; block.first += kRows) attend_block<kRows>(block);
  for (; block.first < job.rows; ++block.first) attend_block<1>(block);
}

}  // namespace inazuma::INAZUMA_ISA
