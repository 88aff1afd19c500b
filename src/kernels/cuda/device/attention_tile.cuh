#pragma once
// Attention of one warp on tensor cores: a tile of up to 16 query rows of one head against an atom of up to 64 keys.
//
// What a row's answer is made of never changes with the batch, the chunk or the kernel: atoms begin at multiples of 64
// keys of the sequence; each gives (largest score, sum of weights, weighted values) from zero; atoms are merged in
// order of their keys by `merge`. Encoder, prompt and decoding kernels share this file, so they agree to the bit.
// Scores are kept times log2 e, so that weights are powers of two.

#include "kernels/cuda/device/mma.cuh"

namespace inazuma::cuda {

constexpr int kAtomKeys = 64;
constexpr int kTileRows = 16;
constexpr unsigned kWarp = 0xFFFFFFFFu;

/// What is known of a launch when its kernel is compiled; none of it changes a bit.
template <int DP, bool Full, bool Causal, bool Biased, bool Early, int Steps>
struct Plan {
  static constexpr int kWidth = DP;    ///< columns worked on, 64 or 128: head_dim or more
  static constexpr bool kFull = Full;  ///< head_dim is that
  static constexpr bool kCausal = Causal;
  static constexpr bool kBiased = Biased;  ///< there may be a relative bias
  static constexpr bool kEarly = Early;    ///< an atom's values are in flight together with its keys
  static constexpr int kSteps = Steps;     ///< an atom has at most 16 times as many keys
};

/// How scores are made of products.
struct ScoreRule {
  float scale;        ///< times log2 e
  const float* bias;  ///< this head's row of the relative bias table, or null
  int reach;          ///< its max_distance
};

/// Weighted values of a tile: lane (g, c) holds rows g and g + 8; value[8 G + j][0 and 1] of row g (2 and 3 of row
/// g + 8) are columns 64 G + 16 c + j and 64 G + 16 c + 8 + j.
template <int DP>
struct Weighted {
  float value[DP / 8][4];
  float largest[2];
  float sum[2];
};

template <int DP>
__device__ __forceinline__ void clear(Weighted<DP>& w) {
#pragma unroll
  for (int i = 0; i < DP / 8; ++i)
#pragma unroll
    for (int e = 0; e < 4; ++e) w.value[i][e] = 0.0f;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    w.largest[r] = -INFINITY;
    w.sum[r] = 0.0f;
  }
}

/// Factors that bring two partial results to a common largest score. Neither is seen as more than 2^-inf = 0 when no
/// score was above -inf.
struct Factors {
  float largest, old_part, new_part;
};
__device__ __forceinline__ Factors merge_factors(float old_largest, float new_largest) {
  Factors f;
  f.largest = fmaxf(old_largest, new_largest);
  const float shift = f.largest == -INFINITY ? 0.0f : f.largest;
  f.old_part = exp2_fast(old_largest - shift);
  f.new_part = exp2_fast(new_largest - shift);
  return f;
}
__device__ __forceinline__ float merge_value(const Factors& f, float old_value, float new_value) {
  return __fmaf_rn(old_value, f.old_part, __fmul_rn(new_value, f.new_part));
}

template <int DP>
__device__ __forceinline__ void merge(Weighted<DP>& into, const Weighted<DP>& next) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const Factors f = merge_factors(into.largest[r], next.largest[r]);
    into.largest[r] = f.largest;
    into.sum[r] = merge_value(f, into.sum[r], next.sum[r]);
#pragma unroll
    for (int i = 0; i < DP / 8; ++i)
#pragma unroll
      for (int e = 2 * r; e < 2 * r + 2; ++e) into.value[i][e] = merge_value(f, into.value[i][e], next.value[i][e]);
  }
}

/// Query rows as A operand: words [chunk of 32 columns][row g, row g + 8].
template <int DP>
struct QueryTile {
  uint4 word[DP / 32][2];
};

/// `rows` rows from `q` on, `stride` elements apart.
template <class T, int DP>
__device__ __forceinline__ void load_query(QueryTile<DP>& tile, const T* q, int64_t stride, int rows, int head_dim) {
  const int lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
#pragma unroll
  for (int chunk = 0; chunk < DP / 32; ++chunk)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = g + 8 * half, column = 32 * chunk + 8 * c;
      tile.word[chunk][half] = load16(q + row * stride + column, row < rows && column < head_dim);
    }
}

/// Keys and values of one sequence and head that lie `stride` elements apart.
template <class T>
struct ContiguousKeys {
  const T* keys;
  const T* values;
  uint32_t key_stride, value_stride;  ///< a sequence has fewer than 2^32 elements

  int last;  ///< key of the present atom: what lies behind it is not read

  __device__ __forceinline__ void begin(int first, int count) { last = first + count - 1; }
  /// Key first + group + within; `group` is a constant, within < 16 and not across a multiple of 32.
  __device__ __forceinline__ const T* key(int first, int group, int within) const {
    return keys + static_cast<uint32_t>(min(first + group + within, last)) * key_stride;
  }
  __device__ __forceinline__ const T* value(int first, int group, int within) const {
    return values + static_cast<uint32_t>(min(first + group + within, last)) * value_stride;
  }
};

/// Keys and values in blocks of the pool; `keys` and `values` point at the head's part of block 0.
template <class T>
struct PagedKeys {
  const T* keys;
  const T* values;
  const int32_t* table;  ///< this sequence's blocks
  int64_t block_stride;  ///< elements from block to block
  int block_tokens;
  int block_shift;  ///< log2 of block_tokens, or -1
  int head_dim;
  int begun;         ///< the present atom's first key, or -1
  int64_t place[2];  ///< of keys first + lane and first + 32 + lane; behind the last, that of any key

  __device__ __forceinline__ void begin(int first, int count) {
    if (first == begun) return;
    begun = first;
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int key = first + 32 * i + lane;
      const int block = block_shift >= 0 ? key >> block_shift : key / block_tokens;
      place[i] = 0;
      if (32 * i + lane < count)
        place[i] = __ldg(table + block) * block_stride + static_cast<int64_t>(key - block * block_tokens) * head_dim;
    }
  }
  __device__ __forceinline__ int64_t at(int group, int within) const {
    return __shfl_sync(kWarp, place[group / 32], group % 32 + within);
  }
  __device__ __forceinline__ const T* key(int, int group, int within) const {
    return keys + at(group, within);
  }
  __device__ __forceinline__ const T* value(int, int group, int within) const {
    return values + at(group, within);
  }
};

/// Values of keys 16 step + {2c, 2c + 1, 2c + 8, 2c + 9} of an atom: words of columns 64 part + 8 g on.
template <int DP>
struct ValueStep {
  uint4 line[DP / 64][4];
};
template <class T, class Plan, class Keys>
__device__ __forceinline__ void load_values(ValueStep<Plan::kWidth>& values, const Keys& keys, int first, int step,
                                            int head_dim) {
  const int lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
#pragma unroll
  for (int which = 0; which < 4; ++which) {
    const T* value = keys.value(first, 16 * step, 2 * c + (which & 1) + 8 * (which >> 1));
#pragma unroll
    for (int part = 0; part < Plan::kWidth / 64; ++part) {
      const int column = 64 * part + 8 * g;
      values.line[part][which] = Plan::kFull ? load16(value + column) : load16(value + column, column < head_dim);
    }
  }
}
/// Zeros in place of keys from `count` on: a weight of 0 times what was loaded there need not be 0.
template <int DP>
__device__ __forceinline__ void cut(ValueStep<DP>& values, int step, int count) {
  if (16 * step + 16 <= count) return;  // the same for the whole warp
  const int c = threadIdx.x % 4;
#pragma unroll
  for (int which = 0; which < 4; ++which)
    if (16 * step + 2 * c + (which & 1) + 8 * (which >> 1) >= count)
#pragma unroll
      for (int part = 0; part < DP / 64; ++part) values.line[part][which] = make_uint4(0, 0, 0, 0);
}

/// out += weights (A operand) of 16 keys times columns 64 part .. 64 part + 63 of their values.
template <class T>
__device__ __forceinline__ void weigh(float (*out)[4], const uint32_t (&weight)[4], const uint4 (&line)[4]) {
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const unsigned pick = j % 2 == 0 ? 0x5410u : 0x7632u;
    Packed<T>::multiply(out[j], weight[0], weight[1], weight[2], weight[3],
                        __byte_perm(word(line[0], j / 2), word(line[1], j / 2), pick),
                        __byte_perm(word(line[2], j / 2), word(line[3], j / 2), pick));
  }
}

// The same for a whole atom where a key that some row may not see is not finite: its 0 times NaN would reach that row.
// Row by row, with the values that it does not see replaced by zeros. Rare, so small rather than fast.
template <class T, class Plan, class Keys>
__device__ __forceinline__ void weigh_carefully(float (&out)[Plan::kWidth / 8][4],
                                                const uint32_t (&weight)[Plan::kSteps][4], const Keys& keys, int first,
                                                int head_dim, const int (&visible)[2]) {
  constexpr int DP = Plan::kWidth;
  const int lane = threadIdx.x % 32, g = lane / 4;
#pragma unroll
  for (int part = 0; part < DP / 64; ++part)
#pragma unroll 1
    for (int row = 0; row < kTileRows; ++row) {
      const int seen = __shfl_sync(kWarp, row < 8 ? visible[0] : visible[1], 4 * (row % 8));
      float sums[8][4] = {};
#pragma unroll
      for (int step = 0; step < Plan::kSteps; ++step) {
        ValueStep<DP> values;
        load_values<T, Plan>(values, keys, first, step, head_dim);
        cut(values, step, seen);
        uint32_t own[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) own[i] = row == g + 8 * (i & 1) ? weight[step][i] : 0;
        weigh<T>(sums, own, values.line[part]);
      }
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          if (row == g + 8 * (e >> 1)) out[8 * part + i][e] = sums[i][e];
    }
}

/// `out` = the tile's rows over keys [first, first + count), 1 <= count <= 16 kSteps. Row r stands at `position` + r;
/// rows from `rows` on are not real and get anything.
template <class T, class Plan, class Keys>
__device__ __forceinline__ void attend_atom(Weighted<Plan::kWidth>& out, const QueryTile<Plan::kWidth>& query,
                                            Keys& keys, int first, int count, int position, int rows, int head_dim,
                                            const ScoreRule& rule) {
  constexpr int DP = Plan::kWidth, kSteps = Plan::kSteps, kTiles = 2 * kSteps;
  constexpr bool kEarly = Plan::kEarly;
  const int lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  keys.begin(first, count);

  float score[kTiles][4];
  constexpr int kBatch = kEarly ? kTiles : DP <= 64 ? 4 : 2;  // groups of 8 keys whose loads are in flight together
  ValueStep<DP> values[kEarly ? kSteps : 1];
#pragma unroll
  for (int batch = 0; batch < kTiles; batch += kBatch) {
    uint4 loaded[kBatch][DP / 32];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const T* key = keys.key(first, 8 * (batch + i), g);
#pragma unroll
      for (int chunk = 0; chunk < DP / 32; ++chunk) {
        const int column = 32 * chunk + 8 * c;
        loaded[i][chunk] = Plan::kFull ? load16(key + column) : load16(key + column, column < head_dim);
      }
    }
    uint32_t mixed = 0;
    if (kEarly) {
#pragma unroll
      for (int step = 0; step < (kEarly ? kSteps : 0); ++step) {
        load_values<T, Plan>(values[step], keys, first, step, head_dim);
#pragma unroll
        for (int part = 0; part < DP / 64; ++part)
#pragma unroll
          for (int which = 0; which < 4; ++which) mixed ^= values[step].line[part][which].x;
      }
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i)
#pragma unroll
      for (int chunk = 0; chunk < DP / 32; ++chunk) mixed ^= loaded[i][chunk].x;
    const float zero = __uint_as_float(zero_after(mixed, head_dim));
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      float(&s)[4] = score[batch + i];
#pragma unroll
      for (int e = 0; e < 4; ++e) s[e] = zero;
      if (8 * (batch + i) >= count) continue;  // the same for the whole warp
#pragma unroll
      for (int chunk = 0; chunk < DP / 32; ++chunk)
#pragma unroll
        for (int step = 0; step < 2; ++step)
          Packed<T>::multiply(s, word(query.word[chunk][0], 2 * step), word(query.word[chunk][1], 2 * step),
                              word(query.word[chunk][0], 2 * step + 1), word(query.word[chunk][1], 2 * step + 1),
                              word(loaded[i][chunk], 2 * step), word(loaded[i][chunk], 2 * step + 1));
    }
  }

  // How many of the atom's keys rows g and g + 8 see.
  int visible[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) visible[r] = Plan::kCausal ? min(count, position + g + 8 * r + 1 - first) : count;
#pragma unroll
  for (int j = 0; j < kTiles; ++j)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int key = 8 * j + 2 * c + (e & 1), r = e >> 1;
      float added = 0.0f;
      if (Plan::kBiased && rule.bias != nullptr) {
        const int distance = first + key - (position + g + 8 * r);
        added = kLog2e * __ldg(rule.bias + min(max(distance, -rule.reach), rule.reach) + rule.reach);
      }
      score[j][e] = key < visible[r] ? __fmaf_rn(score[j][e], rule.scale, added) : -INFINITY;
    }

#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float largest = -INFINITY;
#pragma unroll
    for (int j = 0; j < kTiles; ++j) largest = fmaxf(largest, fmaxf(score[j][2 * r], score[j][2 * r + 1]));
    largest = fmaxf(largest, __shfl_xor_sync(kWarp, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(kWarp, largest, 2));
    const float shift = largest == -INFINITY ? 0.0f : largest;
    float sum = 0.0f;
#pragma unroll
    for (int j = 0; j < kTiles; ++j)
#pragma unroll
      for (int e = 2 * r; e < 2 * r + 2; ++e) {
        score[j][e] = exp2_fast(score[j][e] - shift);
        sum += score[j][e];
      }
    sum += __shfl_xor_sync(kWarp, sum, 1);
    sum += __shfl_xor_sync(kWarp, sum, 2);
    out.largest[r] = largest;
    out.sum[r] = sum;
  }

  uint32_t weight[kSteps][4];
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    weight[step][0] = Packed<T>::pack(score[2 * step][0], score[2 * step][1]);
    weight[step][1] = Packed<T>::pack(score[2 * step][2], score[2 * step][3]);
    weight[step][2] = Packed<T>::pack(score[2 * step + 1][0], score[2 * step + 1][1]);
    weight[step][3] = Packed<T>::pack(score[2 * step + 1][2], score[2 * step + 1][3]);
  }
#pragma unroll
  for (int i = 0; i < DP / 8; ++i)
#pragma unroll
    for (int e = 0; e < 4; ++e) out.value[i][e] = 0.0f;

  if (Plan::kCausal && rows > 1 && position + 1 - first < count) {  // the first row does not see all
    uint32_t bad = 0;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      ValueStep<DP>& now = values[kEarly ? step : 0];
      if (!kEarly) load_values<T, Plan>(now, keys, first, step, head_dim);
      cut(now, step, count);
#pragma unroll
      for (int part = 0; part < DP / 64; ++part)
#pragma unroll
        for (int which = 0; which < 4; ++which)
#pragma unroll
          for (int i = 0; i < 4; ++i) bad |= not_finite<T>(word(now.line[part][which], i));
    }
    if (__any_sync(kWarp, bad != 0)) {
      weigh_carefully<T, Plan>(out.value, weight, keys, first, head_dim, visible);
      return;
    }
  }
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    if (16 * step >= count) break;  // the same for the whole warp
    ValueStep<DP>& now = values[kEarly ? step : 0];
    if (!kEarly) load_values<T, Plan>(now, keys, first, step, head_dim);
    cut(now, step, count);
#pragma unroll
    for (int part = 0; part < DP / 64; ++part) weigh<T>(out.value + 8 * part, weight[step], now.line[part]);
  }
}

/// Rows g and g + 8 of the tile, divided by their sums; `keys` = 0 writes zeros.
template <class T, int DP>
__device__ __forceinline__ void store_rows(const Weighted<DP>& w, T* out, int64_t stride, int rows, int head_dim,
                                           int keys) {
  const int lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    if (g + 8 * r >= rows) continue;
    const float share = keys == 0 ? 0.0f : __frcp_rn(w.sum[r]);
    T* line = out + (g + 8 * r) * stride;
#pragma unroll
    for (int part = 0; part < DP / 64; ++part)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int column = 64 * part + 16 * c + 8 * half;
        if (column >= head_dim) continue;
        uint32_t packed[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const auto of = [&](int j) { return __fmul_rn(w.value[8 * part + j][2 * r + half], share); };
          packed[i] = Packed<T>::pack(of(2 * i), of(2 * i + 1));
        }
        store16(line + column, make_uint4(packed[0], packed[1], packed[2], packed[3]));
      }
  }
}

/// All atoms that a tile sees, in order. `keys_end`: keys of the sequence that the last row may see. `kShort`: at most
/// one atom (merging it into nothing would change no bit).
template <class T, class Plan, bool kShort, class Keys>
__device__ __forceinline__ void attend_tile(Weighted<Plan::kWidth>& all, const QueryTile<Plan::kWidth>& query,
                                            Keys& keys, int keys_end, int position, int rows, int head_dim,
                                            const ScoreRule& rule) {
  if (kShort) return attend_atom<T, Plan>(all, query, keys, 0, keys_end, position, rows, head_dim, rule);
  clear(all);
#pragma unroll 1
  for (int first = 0; first < keys_end; first += kAtomKeys) {
    Weighted<Plan::kWidth> next;
    attend_atom<T, Plan>(next, query, keys, first, min(kAtomKeys, keys_end - first), position, rows, head_dim, rule);
    merge(all, next);
  }
}

}  // namespace inazuma::cuda
