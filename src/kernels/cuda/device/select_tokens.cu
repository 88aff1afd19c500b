// Choosing the next token of each row: a block per row, no sort of the vocabulary, no answer that depends on timing.
// Greedy rows are one pass; filters are walks (select_walk.cuh).

#include "kernels/cuda/check.h"
#include "kernels/cuda/device/chain.cuh"
#include "kernels/cuda/device/select_walk.cuh"
#include "kernels/cuda/launch.h"

namespace inazuma::cuda {

namespace {

// Philox4x32-10 as in kernels/philox.h, which says what it draws; std::array is not for device code.
__device__ double philox_uniform_of(uint64_t seed, uint32_t generated) {
  uint32_t c0 = generated, c1 = 0, c2 = 0, c3 = 0;
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint32_t a_low = 0xD2511F53u * c0, a_high = __umulhi(0xD2511F53u, c0);
    const uint32_t b_low = 0xCD9E8D57u * c2, b_high = __umulhi(0xCD9E8D57u, c2);
    c0 = b_high ^ c1 ^ k0;
    c1 = b_low;
    c2 = a_high ^ c3 ^ k1;
    c3 = a_low;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const uint64_t bits = (static_cast<uint64_t>(c0) >> 5 << 26) | (c1 >> 6);
  return static_cast<double>(bits) * 0x1p-53;
}

// Penalties, bans and minimum lengths, written into the logits.
__device__ void process(Shared& shared, float* logits, int vocab, const SelectionRow& row, const int32_t* history,
                        const int32_t* bans) {
  const bool counted = row.frequency_penalty != 0.0f || row.presence_penalty != 0.0f;
  if (row.repetition_penalty != 1.0f || counted)
    for (int from = 0; from < vocab; from += 32 * kWindowWords) {
      for (int i = threadIdx.x; i < kWindowWords; i += kBlockThreads) shared.window[i] = 0;
      __syncthreads();
      for (int i = threadIdx.x; i < row.length; i += kBlockThreads) {
        const int32_t id = history[i];
        if (id < from || id >= vocab || id - from >= 32 * kWindowWords) continue;
        const unsigned bit = 1u << (id - from) % 32;
        if (atomicOr(&shared.window[(id - from) / 32], bit) & bit) continue;  // another thread has this id
        float score = cleaned(logits[id]);
        score = score < 0.0f ? __fmul_rn(score, row.repetition_penalty) : __fdiv_rn(score, row.repetition_penalty);
        if (counted) {
          int count = 0;
          for (int j = row.length - row.generated; j < row.length; ++j) count += history[j] == id ? 1 : 0;
          score = __fsub_rn(score, __fmul_rn(static_cast<float>(count), row.frequency_penalty));
          if (count > 0) score = __fsub_rn(score, row.presence_penalty);
        }
        logits[id] = cleaned(score);
      }
      __syncthreads();
    }
  for (int i = row.ban_begin + threadIdx.x; i < row.ban_end; i += kBlockThreads) {
    const int32_t id = bans[i];
    if (id >= 0 && id < vocab) logits[id] = kRemoved;
  }
  if (row.generated < row.min_new_tokens && threadIdx.x < row.eos_count) {
    const int32_t id = row.eos[threadIdx.x];
    if (id >= 0 && id < vocab) logits[id] = kRemoved;
  }
  __syncthreads();
}

// Smallest score whose probability is at least `min_p` times the largest one.
__device__ float min_p_edge(float largest, double min_p) {
  const auto enough = [&](float score) { return exp(static_cast<double>(score) - largest) >= min_p; };
  float edge = static_cast<float>(static_cast<double>(largest) + log(min_p));
  while (!enough(edge)) edge = nextafterf(edge, INFINITY);
  while (enough(nextafterf(edge, -INFINITY))) edge = nextafterf(edge, -INFINITY);
  return edge;
}

__device__ void filter(Shared& shared, Scores& scores, Kept& kept, const SelectionRow& row, float largest) {
  const auto share_of = [](double share) {
    return [share](uint64_t total) {
      const double target = ceil(share * static_cast<double>(total));
      return target < 1.0 ? uint64_t{1} : static_cast<uint64_t>(target);
    };
  };
  if (row.top_k > 0 && row.top_k < scores.vocab) {
    const uint64_t k = row.top_k;
    const End end = walk<Order::count>(shared, scores, kept, largest, [k](uint64_t) { return k; });
    if (end.found) kept.edge = end.score;
    shorten(shared, scores, kept);
  }
  if (row.top_p < 1.0f) {
    const End end = walk<Order::probability>(shared, scores, kept, largest, share_of(row.top_p));
    if (end.found) {
      kept.edge = end.score;
      kept.cut = end.id;
    }
    shorten(shared, scores, kept);
  }
  if (row.min_p > 0.0f) {
    const float edge = min_p_edge(largest, row.min_p);
    if (edge > kept.edge) {
      kept.edge = edge;
      kept.cut = INT_MAX;
    }
    shorten(shared, scores, kept);
  }
  if (row.typical_p < 1.0f) {
    double mine = 0.0;
    scores.each(shared.list, kept, [&](int, float score) { mine += exp(static_cast<double>(score) - largest); });
    Kept typical = kept;
    typical.largest = largest;
    typical.log_total = log(block_sum(shared.scratch, mine));
    mine = 0.0;
    scores.each(shared.list, kept, [&](int, float score) {
      const double log_p = static_cast<double>(score) - largest - typical.log_total;
      const double p = exp(log_p);
      if (p > 0.0) mine -= p * log_p;
    });
    typical.entropy = block_sum(shared.scratch, mine);
    const End end = walk<Order::surprise>(shared, scores, typical, largest, share_of(row.typical_p));
    if (end.found) {
      typical.typical = true;
      typical.most_surprise = __longlong_as_double(static_cast<long long>(end.key));
      kept = typical;
    }
    shorten(shared, scores, kept);
  }
}

/// The chosen id, and what log-probabilities refer to.
struct Chosen {
  int id = 0;
  float score = kRemoved;
  double largest = 0.0, log_total = 0.0;
  bool possible = false;

  __device__ __forceinline__ float logprob(float other) const {
    if (!possible) return NAN;
    return static_cast<float>(static_cast<double>(other) - largest - log_total);
  }
};

// The first of the block's ids (one per thread, in order) at which base + the weights so far pass the target; if
// rounding leaves none, the last that has weight.
__device__ Best first_passing(Shared& shared, double weight, float score, int id, double base, double target) {
  const double reached = base + block_scan(shared.scratch, weight);
  const int passing =
      block_min(shared.scratch, weight > 0.0 && reached > target ? static_cast<int>(threadIdx.x) : INT_MAX);
  const int last = block_max(shared.scratch, weight > 0.0 ? static_cast<int>(threadIdx.x) : -1);
  const int owner = passing != INT_MAX ? passing : last;
  __syncthreads();
  if (static_cast<int>(threadIdx.x) == owner) {
    shared.chosen_id = id;
    shared.chosen_score = score;
  }
  __syncthreads();
  return {shared.chosen_score, shared.chosen_id};
}

__device__ Chosen draw(Shared& shared, const Scores& scores, const Kept& kept, double uniform) {
  Chosen chosen;
  float most = kRemoved;
  scores.each(shared.list, kept, [&](int, float score) { most = fmaxf(most, score); });
  const float largest = block_max(shared.scratch, most);
  if (!(largest > kRemoved)) return chosen;
  chosen.possible = true;
  chosen.largest = largest;
  const auto weight_of = [&](float score, int id) {
    return kept.holds(score, id) ? exp(static_cast<double>(score) - static_cast<double>(largest)) : 0.0;
  };
  if (scores.listed >= 0) {
    const int i = threadIdx.x;
    const bool mine = i < scores.listed;
    const float score = mine ? shared.list.score[i] : kRemoved;
    const int id = mine ? shared.list.id[i] : -1;
    const double weight = mine ? weight_of(score, id) : 0.0;
    const double total = block_sum(shared.scratch, weight);
    chosen.log_total = log(total);
    const Best found = first_passing(shared, weight, score, id, 0.0, uniform * total);
    chosen.id = found.id;
    chosen.score = found.score;
    return chosen;
  }
  // Ids in 32 runs, a warp each: which run passes the target? Until a run is no longer than the block.
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  double* sums = reinterpret_cast<double*>(shared.scratch.words);
  int low = 0, high = scores.vocab;
  double base = 0.0, target = -1.0;
  while (target < 0.0 || high - low > kBlockThreads) {
    const auto bound = [&](int w) {
      return low + static_cast<int>(static_cast<int64_t>(high - low) * w / kBlockWarps);
    };
    double mine = 0.0;
#pragma unroll 4
    for (int id = bound(warp) + lane; id < bound(warp + 1); id += 32) mine += weight_of(scores.at(id), id);
#pragma unroll
    for (int step = 16; step > 0; step /= 2) mine += __shfl_xor_sync(0xFFFFFFFFu, mine, step);
    __syncthreads();
    if (lane == 0) sums[warp] = mine;
    __syncthreads();
    if (target < 0.0) {
      double total = 0.0;
      for (int w = 0; w < kBlockWarps; ++w) total += sums[w];
      chosen.log_total = log(total);
      target = uniform * total;
    }
    int run = -1;
    double start = base, run_start = base;
    for (int w = 0; w < kBlockWarps; ++w) {
      if (sums[w] <= 0.0) continue;
      run = w;
      run_start = start;
      start += sums[w];
      if (start > target) break;
    }
    const int from = bound(run), to = bound(run + 1);
    low = from;
    high = to;
    base = run_start;
    __syncthreads();
  }
  const int id = low + static_cast<int>(threadIdx.x);
  const float score = id < high ? scores.at(id) : kRemoved;
  const Best found = first_passing(shared, id < high ? weight_of(score, id) : 0.0, score, id, base, target);
  chosen.id = found.id;
  chosen.score = found.score;
  return chosen;
}

constexpr int kAhead = 16;  ///< scores that a thread has on the way in passes over all

// One pass: the best, and the sum of exp(score - best).
__device__ Chosen choose_best(Shared& shared, const Scores& scores) {
  float most = kRemoved;
  int at = 0;
  double sum = 0.0;
#pragma unroll 1
  for (int first = threadIdx.x; first < scores.vocab; first += kAhead * kBlockThreads) {
    float score[kAhead];
    scores.load(first, score);
    float top = score[0];
    int place = 0;
#pragma unroll
    for (int k = 1; k < kAhead; ++k)
      if (score[k] > top) {
        top = score[k];
        place = k;
      }
    if (top > most) {
      sum *= static_cast<double>(__expf(most - top));
      most = top;
      at = first + place * kBlockThreads;
    }
    if (!(most > kRemoved)) continue;
    float part = 0.0f;
#pragma unroll
    for (int k = 0; k < kAhead; ++k) part += __expf(score[k] - most);
    sum += static_cast<double>(part);
  }
  const Best best = best_of(shared.scratch, most, at);
  Chosen chosen;
  chosen.possible = best.score > kRemoved;
  if (!chosen.possible) return chosen;
  const double total =
      block_sum(shared.scratch, most > kRemoved ? sum * static_cast<double>(__expf(most - best.score)) : 0.0);
  chosen.id = best.id;
  chosen.score = chosen.largest = best.score;
  chosen.log_total = log(total);
  return chosen;
}

// Divides by the temperature, in place, and returns the best.
__device__ Best prepare(Shared& shared, float* logits, const Scores& scores, float temperature) {
  float most = kRemoved;
  int at = 0;
#pragma unroll 1
  for (int first = threadIdx.x; first < scores.vocab; first += kAhead * kBlockThreads) {
    float score[kAhead];
    scores.load(first, score);
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      const int id = first + k * kBlockThreads;
      if (id >= scores.vocab) continue;
      if (temperature != 1.0f) logits[id] = score[k] = cleaned(__fdiv_rn(score[k], temperature));
      if (score[k] > most) {
        most = score[k];
        at = id;
      }
    }
  }
  const Best best = best_of(shared.scratch, most, at);  // its barriers make the scores visible
  return best;
}

// The best ids that are left, then the lowest of those that are not.
__device__ void list_best(Shared& shared, Scores& scores, Kept kept, const Chosen& chosen, int wanted, int32_t* ids,
                          float* logprobs) {
  unsigned mine = 0;
  scores.each(shared.list, kept, [&](int, float) { ++mine; });
  const int alive = static_cast<int>(block_sum(shared.scratch, mine)), leading = min(alive, wanted);
  const auto put = [&](int place, int id, float score) {
    ids[place] = id;
    logprobs[place] = chosen.logprob(score);
  };
  const Kept all = kept;
  if (leading > 0 && leading <= kList) {
    if (leading < alive) {
      const uint64_t target = leading;
      const End end = walk<Order::count>(shared, scores, kept, chosen.largest, [target](uint64_t) { return target; });
      kept.edge = end.score;
      kept.cut = end.id;
    }
    shorten(shared, scores, kept);
    __syncthreads();
    const int i = threadIdx.x;
    if (i < scores.listed && kept.holds(shared.list.score[i], shared.list.id[i])) {
      const float score = shared.list.score[i];
      int place = 0;
      for (int j = 0; j < scores.listed; ++j) {
        const float other = shared.list.score[j];
        if (kept.holds(other, shared.list.id[j]) && (other > score || (other == score && j < i))) ++place;
      }
      if (place < leading) put(place, shared.list.id[i], score);
    }
  } else {  // more than a list holds: one after another
    Best previous{FLT_MAX, -1};
    for (int place = 0; place < leading; ++place) {
      float most = kRemoved;
      int at = INT_MAX;
      scores.each(shared.list, kept, [&](int id, float score) {
        const bool later = score < previous.score || (score == previous.score && id > previous.id);
        if (later && (score > most || (score == most && id < at))) {
          most = score;
          at = id;
        }
      });
      previous = best_of(shared.scratch, most, at);
      if (threadIdx.x == 0) put(place, previous.id, previous.score);
    }
  }
  if (threadIdx.x / 32 != 0) return;
  const int lane = threadIdx.x % 32;
  for (int from = 0, place = leading; place < wanted && from < scores.vocab; from += 32) {
    const int id = from + lane;
    const bool removed = id < scores.vocab && !all.holds(scores.at(id), id);
    const unsigned votes = __ballot_sync(0xFFFFFFFFu, removed);
    const int at = place + __popc(votes & ((1u << lane) - 1));
    if (removed && at < wanted) put(at, id, kRemoved);
    place += __popc(votes);
  }
}

__global__ void __launch_bounds__(kBlockThreads) select_row(const Selection args) {
  __shared__ Shared shared;
  after_predecessors();
  constexpr int kWords = sizeof(SelectionRow) / sizeof(int32_t);
  __shared__ alignas(SelectionRow) int32_t words[kWords];
  const int at = blockIdx.x;
  if (threadIdx.x < kWords) words[threadIdx.x] = reinterpret_cast<const int32_t*>(args.row + at)[threadIdx.x];
  __syncthreads();
  const SelectionRow& row = *reinterpret_cast<const SelectionRow*>(words);
  if (row.slot < 0) return;  // room in a recorded graph that this step does not use
  float* logits = args.logits + at * args.logits_stride;
  int32_t* history = args.history + row.slot * args.history_stride;
  Scores scores{logits, args.vocab};
  if (row.log_softmax_first != 0) {
    const Chosen before = choose_best(shared, scores);
    for (int id = threadIdx.x; before.possible && id < args.vocab; id += kBlockThreads)
      logits[id] = before.logprob(scores.at(id));
    __syncthreads();
  }
  process(shared, logits, args.vocab, row, history, args.bans);

  Kept kept;
  Chosen chosen;
  if (row.sample == 0) {
    if (row.temperature != 1.0f) prepare(shared, logits, scores, row.temperature);
    chosen = choose_best(shared, scores);
    if (row.log_softmax_first != 0) chosen.log_total = -static_cast<double>(chosen.largest);  // reported as they are
  } else {
    const Best best = prepare(shared, logits, scores, row.temperature);
    if (best.score > kRemoved) {
      filter(shared, scores, kept, row, best.score);
      chosen = draw(shared, scores, kept, philox_uniform_of(row.seed, static_cast<uint32_t>(row.generated)));
    }
  }
  if (threadIdx.x == 0) {
    args.tokens[at] = chosen.id;
    args.logprobs[at] = chosen.logprob(chosen.score);
    if (row.length < args.capacity) history[row.length] = chosen.id;
  }
  if (args.top > 0)
    list_best(shared, scores, kept, chosen, args.top, args.top_ids + static_cast<int64_t>(at) * args.top,
              args.top_logprobs + static_cast<int64_t>(at) * args.top);
}

}  // namespace

size_t select_tokens_scratch(const Selection&) {
  return 0;
}

void select_tokens(const Selection& args, cudaStream_t stream) {
  if (args.rows == 0) return;
  launch(select_row, static_cast<unsigned>(args.rows), kBlockThreads, 0, stream, args);
}

}  // namespace inazuma::cuda
