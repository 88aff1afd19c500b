#pragma once
// The scores of one row, what filters leave of them, and the question that every filter asks: going through the ids in
// some order, best first, which is the first at which the mass so far reaches a target?
//
// `walk` answers it with a histogram of the distance from the best (two levels), then exactly among the few ids of one
// bin. Masses are whole numbers (2^-42 of the largest probability), so that sums do not depend on timing. What survives
// is described by an edge, and once it is few enough, kept as a list in shared memory.

#include <cfloat>
#include <climits>
#include <cmath>

#include "kernels/cuda/device/block.cuh"

namespace inazuma::cuda {

constexpr int kList = kBlockThreads;   ///< ids that fit into a list: one per thread
constexpr int kBins = kBlockThreads;   ///< of a histogram: one per thread
constexpr float kBinsPerUnit = 32.0f;  ///< bins of the first level are 1/32 wide, of the second 1/32768
constexpr float kSubBins = 1024.0f;
constexpr int kWindowWords = 8192;              ///< ids whose penalties are worked on together: 32 · this
constexpr double kMassOfOne = 4398046511104.0;  ///< 2^42
constexpr float kRemoved = -INFINITY;

/// The list of ids that may still be chosen, in order of id.
struct List {
  float score[kList];
  int id[kList];
};
/// Ids of one bin, in no order.
struct Gathered {
  uint64_t key[kList];
  uint64_t mass[kList];
  float score[kList];
  int id[kList];
};
/// Per bin: how many ids, and their mass in three parts of 14 bits, so that 32-bit sums of 2^18 parts do not overflow.
struct Histogram {
  unsigned count[kBins];
  unsigned part[3][kBins];
};
struct Shared {
  union {
    unsigned window[kWindowWords];
    struct {
      union {
        Gathered gathered;
        Histogram histogram;
      };
      List list;
    };
  };
  BlockScratch scratch;
  int count;
  int chosen_id;
  float chosen_score;
  uint64_t chosen_key;
};

// NaN is never chosen, +inf counts as the largest finite score, and -0 is 0.
__device__ __forceinline__ float cleaned(float score) {
  return score != score ? kRemoved : fminf(score, FLT_MAX) + 0.0f;
}

/// Larger scores have larger keys.
__device__ __forceinline__ uint32_t ordered(float score) {
  const uint32_t bits = __float_as_uint(score);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// What survives so far: scores above an edge; of scores at the edge, ids up to `cut`; and after typical-p surprises
/// up to `most_surprise`.
struct Kept {
  float edge = -FLT_MAX;
  int cut = INT_MAX;
  bool typical = false;
  double most_surprise = 0.0;
  double largest = 0.0, log_total = 0.0, entropy = 0.0;  ///< what a surprise refers to

  __device__ __forceinline__ double surprise(float score) const {
    return fabs(-(static_cast<double>(score) - largest - log_total) - entropy);
  }
  __device__ __forceinline__ bool in_front(float score, int id) const {
    return score > edge || (score == edge && id <= cut);
  }
  __device__ __forceinline__ bool holds(float score, int id) const {
    return in_front(score, id) && (!typical || surprise(score) <= most_surprise);
  }
};

/// The scores of one row: the vocabulary, or (`listed` >= 0) the list in shared memory.
struct Scores {
  const float* logits;
  int vocab;
  int listed = -1;

  __device__ __forceinline__ float at(int id) const { return cleaned(logits[id]); }
  /// Scores of ids first, first + kBlockThreads, ...; -inf beyond the vocabulary. A warp reads neighbours whatever the
  /// row's alignment, and all loads are under way before the first is looked at.
  template <int N>
  __device__ __forceinline__ void load(int first, float (&to)[N]) const {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const int id = first + k * kBlockThreads;
      to[k] = id < vocab ? logits[id] : kRemoved;
    }
#pragma unroll
    for (int k = 0; k < N; ++k) to[k] = cleaned(to[k]);
  }
  /// visit(id, score) for this thread's share of what `kept` holds.
  template <class Visit>
  __device__ __forceinline__ void each(const List& list, const Kept& kept, Visit visit) const {
    if (listed >= 0) {
      const int i = threadIdx.x;
      if (i < listed && kept.holds(list.score[i], list.id[i])) visit(list.id[i], list.score[i]);
      return;
    }
#pragma unroll 1
    for (int first = threadIdx.x; first < vocab; first += 4 * kBlockThreads) {
      float score[4];
      load(first, score);
#pragma unroll
      for (int k = 0; k < 4; ++k)
        if (kept.holds(score[k], first + k * kBlockThreads)) visit(first + k * kBlockThreads, score[k]);
    }
  }
};

struct Best {
  float score;
  int id;
};
/// The largest score and the lowest id that has it, as one number; larger is better.
__device__ __forceinline__ uint64_t rank_of(float score, int id) {
  return static_cast<uint64_t>(ordered(score)) << 32 | (0xFFFFFFFFu - static_cast<uint32_t>(id));
}
__device__ __forceinline__ Best best_of(BlockScratch& scratch, float score, int id) {
  const uint64_t best = block_max(scratch, rank_of(score, id));
  const uint32_t key = static_cast<uint32_t>(best >> 32);
  return {__uint_as_float(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key),
          static_cast<int>(0xFFFFFFFFu - static_cast<uint32_t>(best))};
}

/// What a walk counts, and in which order it goes.
enum class Order { count, probability, surprise };

struct Walk {
  const Scores& scores;
  const Kept& kept;
  double largest;  ///< score of mass one

  template <Order order>
  __device__ __forceinline__ uint64_t mass(float score) const {
    if (order == Order::count) return 1;
    return static_cast<uint64_t>(__double2ll_rn(exp(static_cast<double>(score) - largest) * kMassOfOne));
  }
  /// Never falls along the order.
  template <Order order>
  __device__ __forceinline__ float distance(float score) const {
    if (order == Order::surprise) return static_cast<float>(kept.surprise(score));
    return static_cast<float>(largest - static_cast<double>(score));
  }
  /// Smaller comes first; of equal keys the lower id.
  template <Order order>
  __device__ __forceinline__ uint64_t key(float score) const {
    if (order == Order::surprise) return static_cast<uint64_t>(__double_as_longlong(kept.surprise(score)));
    return ~ordered(score);
  }
};
__device__ __forceinline__ int bin_of(float distance) {
  return static_cast<int>(fminf(distance * kBinsPerUnit, kBins - 1.0f));
}
__device__ __forceinline__ int sub_bin_of(float distance, int bin) {
  return static_cast<int>(fminf((distance * kBinsPerUnit - static_cast<float>(bin)) * kSubBins, kBins - 1.0f));
}

/// Where a walk ended; `found` is false when all that is left does not reach the target.
struct End {
  bool found;
  float score;
  int id;
  uint64_t key;
};

/// The first id, in order, at which the mass reaches `target_of(total)` (at least 1).
template <Order order, class TargetOf>
__device__ End walk(Shared& shared, const Scores& scores, const Kept& kept, double largest, TargetOf target_of) {
  const Walk in{scores, kept, largest};
  const int thread = threadIdx.x;
  uint64_t before = 0, target = 0;
  int bin = -1, sub_bin = -1;
  bool few = scores.listed >= 0;
  if (few) {
    uint64_t mine = 0;
    scores.each(shared.list, kept, [&](int, float score) { mine += in.template mass<order>(score); });
    const uint64_t total = block_sum(shared.scratch, mine);
    target = target_of(total);
    if (total < target) return {false};
  }
  for (int level = 0; level < 2 && !few; ++level) {
    Histogram& histogram = shared.histogram;
    __syncthreads();
    histogram.count[thread] = histogram.part[0][thread] = histogram.part[1][thread] = histogram.part[2][thread] = 0;
    __syncthreads();
    scores.each(shared.list, kept, [&](int, float score) {
      const float distance = in.template distance<order>(score);
      int at = bin_of(distance);
      if (level == 1) {
        if (at != bin) return;
        at = sub_bin_of(distance, bin);
      }
      atomicAdd(&histogram.count[at], 1u);
      if (order == Order::count) return;
      const uint64_t mass = in.template mass<order>(score);
      atomicAdd(&histogram.part[0][at], static_cast<unsigned>(mass & 0x3FFFu));
      atomicAdd(&histogram.part[1][at], static_cast<unsigned>(mass >> 14 & 0x3FFFu));
      atomicAdd(&histogram.part[2][at], static_cast<unsigned>(mass >> 28));
    });
    __syncthreads();
    const uint64_t mine = order == Order::count
                              ? histogram.count[thread]
                              : histogram.part[0][thread] + (static_cast<uint64_t>(histogram.part[1][thread]) << 14) +
                                    (static_cast<uint64_t>(histogram.part[2][thread]) << 28);
    const uint64_t reached = block_scan(shared.scratch, mine);
    if (level == 0) {
      const uint64_t total = block_max(shared.scratch, reached);
      target = target_of(total);
      if (total < target) return {false};
    }
    if (before + reached >= target && before + reached - mine < target) {  // one thread's bin
      shared.chosen_id = thread;
      shared.chosen_key = before + reached - mine;
      shared.count = static_cast<int>(histogram.count[thread]);
    }
    __syncthreads();
    (level == 0 ? bin : sub_bin) = shared.chosen_id;
    before = shared.chosen_key;
    few = shared.count <= kList;
  }

  const auto inside = [&](float score) {
    if (bin < 0) return true;
    const float distance = in.template distance<order>(score);
    return bin_of(distance) == bin && (sub_bin < 0 || sub_bin_of(distance, bin) == sub_bin);
  };
  if (few) {
    Gathered& gathered = shared.gathered;
    __syncthreads();
    if (thread == 0) shared.count = 0;
    __syncthreads();
    scores.each(shared.list, kept, [&](int id, float score) {
      if (!inside(score)) return;
      const int at = atomicAdd(&shared.count, 1);
      gathered.key[at] = in.template key<order>(score);
      gathered.mass[at] = in.template mass<order>(score);
      gathered.score[at] = score;
      gathered.id[at] = id;
    });
    __syncthreads();
    const int count = shared.count;
    if (thread < count) {
      const uint64_t key = gathered.key[thread];
      const int id = gathered.id[thread];
      uint64_t first = before;
      for (int i = 0; i < count; ++i)
        if (gathered.key[i] < key || (gathered.key[i] == key && gathered.id[i] < id)) first += gathered.mass[i];
      if (first < target && first + gathered.mass[thread] >= target) {
        shared.chosen_id = id;
        shared.chosen_score = gathered.score[thread];
        shared.chosen_key = key;
      }
    }
    __syncthreads();
    return {true, shared.chosen_score, shared.chosen_id, shared.chosen_key};
  }

  // More ids than a list holds within 1/32768 of each other: halve the range of keys, then of ids.
  const auto mass_up_to = [&](uint64_t key, int id) {
    uint64_t mine = 0;
    scores.each(shared.list, kept, [&](int other, float score) {
      if (!inside(score)) return;
      const uint64_t its = in.template key<order>(score);
      if (its < key || (its == key && other <= id)) mine += in.template mass<order>(score);
    });
    return before + block_sum(shared.scratch, mine);
  };
  uint64_t low = 0, high = order == Order::surprise ? UINT64_MAX : UINT32_MAX;
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    if (mass_up_to(middle, INT_MAX) >= target)
      high = middle;
    else
      low = middle + 1;
  }
  int low_id = 0, high_id = scores.vocab - 1;
  while (low_id < high_id) {
    const int middle = low_id + (high_id - low_id) / 2;
    if (mass_up_to(low, middle) >= target)
      high_id = middle;
    else
      low_id = middle + 1;
  }
  return {true, scores.at(low_id), low_id, low};
}

/// Switches to a list when what `kept` holds fits into one.
__device__ inline void shorten(Shared& shared, Scores& scores, const Kept& kept) {
  if (scores.listed >= 0) return;
  Gathered& gathered = shared.gathered;
  __syncthreads();
  if (threadIdx.x == 0) shared.count = 0;
  __syncthreads();
  scores.each(shared.list, kept, [&](int id, float score) {
    const int at = atomicAdd(&shared.count, 1);
    if (at >= kList) return;
    gathered.score[at] = score;
    gathered.id[at] = id;
  });
  __syncthreads();
  const int count = shared.count;
  if (count > kList) return;
  if (threadIdx.x < count) {
    const int id = gathered.id[threadIdx.x];
    int place = 0;
    for (int i = 0; i < count; ++i) place += gathered.id[i] < id ? 1 : 0;
    shared.list.score[place] = gathered.score[threadIdx.x];
    shared.list.id[place] = id;
  }
  __syncthreads();
  scores.listed = count;
}

}  // namespace inazuma::cuda
