// Dense products on AMX tiles: bf16 in, f32 sums, and yet as exact as f32.
//
// Every f32 is the sum of three bf16, exactly, of 8 bits of its 24 each. Of the nine products of parts the six largest
// are summed. Weights are cut off (below 2^-7 and 2^-15 of w stay behind), x is rounded to the nearest (2^-8, 2^-17):
// so what is left out is at most 3 · 2^-24 of x w, and of either sign. (Rounding weights too would make it 2^-24, and a
// single row a third slower; sums of hundreds err by less than the f32 chain's either way.) Processors multiply bf16
// tiles sixteen times as fast as f32 registers, so six products still take less than half the time. (The splitting:
// Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision
// Computations", 2019, arXiv 1904.06376.)
//
// Rows of x are split once; weights lie in f32 panels as everywhere and are split on the way, a step ahead of the
// tiles: this hides behind them, and reading 4 bytes a weight instead of 6 is what few rows wait for.
//
// Order of every sum, whatever the shape of the step: one chain over all inputs, 32 at a time, the six products in the
// order of `step`. So a row's bits do not depend on how many rows there are.
//
// Tiles flush what is below the smallest normal float to zero, and infinity less infinity would appear between the
// parts: rows that hold something infinite or NaN go through `linear`, and so do all rows where a weight does.

#include <immintrin.h>

#include "kernels/cpu/isa/finish.h"
#include "kernels/cpu/isa/functions.h"

namespace inazuma::INAZUMA_ISA {

namespace {

constexpr int64_t kStep = 32;  // inputs of one tile product
constexpr int64_t kPairs = kStep / 2;
constexpr int64_t kTileRows = 16;
constexpr int64_t kTileStride = 64;  // bytes of a tile's row
constexpr int64_t kTile = kTileRows * kTileStride;
constexpr int64_t kParts = 3;
// A tile of rows for one step: [part][row][input] bf16. A panel for one step: [part][half][pair of inputs][column][2].
constexpr int64_t kRowsStep = kParts * kTile;
constexpr int64_t kPanelStep = kParts * 2 * kTile;
constexpr int kRowsTile = 6, kPanelTile = 7;  // registers 0 to 5 hold sums: [tile of rows][half of the panel]
constexpr int64_t kMostTiles = 3;

// Rows of a task stay in the second cache while panels pass: so many bytes of them at once.
constexpr int64_t kRowsBytes = 800 << 10;
constexpr int64_t kPanelsAtOnce = 12;  // sums of so many panels wait for the rest of their inputs
constexpr int64_t kAhead = 6144;       // bytes of weights fetched ahead of those being split

static_assert(kPanel == 2 * W && W == 16);

// The compiler's intrinsics do not say that they read and write memory; these do.
template <int Tile>
void load_tile(const void* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(Tile) : "memory");
}
template <int Tile>
void store_tile(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(Tile) : "memory");
}
template <int Tile>
void clear_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(Tile));
}
template <int Sums>
void multiply_tiles() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sums), "i"(kRowsTile), "i"(kPanelTile));
}

// Shapes of the registers: sums and rows are `rows` high.
void configure(int64_t rows) {
  struct alignas(64) {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  } shape;
  for (int i = 0; i <= kPanelTile; ++i) {
    shape.row_bytes[i] = kTileStride;
    shape.rows[i] = static_cast<uint8_t>(i == kPanelTile ? kTileRows : rows);
  }
  asm volatile("ldtilecfg %0" ::"m"(shape));
}

// A bf16 in the upper half of a float: what x begins with, and the nearest one. x less it is exact.
__m512i beginning(__m512i x) {
  return _mm512_and_epi32(x, _mm512_set1_epi32(static_cast<int>(0xffff0000)));
}
__m512i nearest(__m512 x) {
  return beginning(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000)));
}
__m512 less(__m512 x, __m512i part) {
  return _mm512_sub_ps(x, _mm512_castsi512_ps(part));
}

// Pairs [From, To) of a step's inputs of one panel.
template <int From, int To>
[[gnu::always_inline]] inline void split_pairs(const float* panel, char* out) {
  for (int64_t i = From; i < To; ++i) {
    const float* p = panel + 2 * i * kPanel;
#pragma GCC unroll 4
    for (int64_t line = 0; line < 4; ++line)
      __builtin_prefetch(reinterpret_cast<const char*>(p) + kAhead + line * 64, 0, 2);
#pragma GCC unroll 2
    for (int64_t half = 0; half < 2; ++half) {
      __m512 even = _mm512_loadu_ps(p + half * W), odd = _mm512_loadu_ps(p + kPanel + half * W);
      char* to = out + half * kTile + i * kTileStride;
#pragma GCC unroll 3
      for (int64_t part = 0; part < kParts; ++part) {
        const __m512i a = _mm512_castps_si512(even), b = beginning(_mm512_castps_si512(odd));
        _mm512_storeu_si512(to + part * 2 * kTile, _mm512_or_epi32(b, _mm512_srli_epi32(a, 16)));
        even = less(even, beginning(a));
        odd = less(odd, b);
      }
    }
  }
}

// One part of up to three tiles of rows, `tile_bytes` apart, times the half of the panel that is loaded.
template <int Part, int Half, int Tiles>
[[gnu::always_inline]] inline void multiply(const char* rows, int64_t tile_bytes) {
  load_tile<kRowsTile>(rows + Part * kTile, kTileStride);
  multiply_tiles<Half>();
  if constexpr (Tiles > 1) {
    load_tile<kRowsTile>(rows + tile_bytes + Part * kTile, kTileStride);
    multiply_tiles<2 + Half>();
  }
  if constexpr (Tiles > 2) {
    load_tile<kRowsTile>(rows + 2 * tile_bytes + Part * kTile, kTileStride);
    multiply_tiles<4 + Half>();
  }
}

// 32 inputs of one half of the panel, and meanwhile a half of the next inputs' splitting.
template <int Half, int Tiles, bool More>
[[gnu::always_inline]] inline void half_step(const char* rows, int64_t tile_bytes, const char* panel, const float* next,
                                             char* next_panel) {
  constexpr int kFirst = Half * kPairs / 2;
  const char* half = panel + Half * kTile;
  load_tile<kPanelTile>(half, kTileStride);
  multiply<2, Half, Tiles>(rows, tile_bytes);
  if constexpr (More) split_pairs<kFirst, kFirst + 2>(next, next_panel);
  multiply<1, Half, Tiles>(rows, tile_bytes);
  if constexpr (More) split_pairs<kFirst + 2, kFirst + 3>(next, next_panel);
  multiply<0, Half, Tiles>(rows, tile_bytes);
  if constexpr (More) split_pairs<kFirst + 3, kFirst + 4>(next, next_panel);
  load_tile<kPanelTile>(half + 2 * kTile, kTileStride);
  multiply<1, Half, Tiles>(rows, tile_bytes);
  if constexpr (More) split_pairs<kFirst + 4, kFirst + 6>(next, next_panel);
  multiply<0, Half, Tiles>(rows, tile_bytes);
  if constexpr (More) split_pairs<kFirst + 6, kFirst + 7>(next, next_panel);
  load_tile<kPanelTile>(half + 4 * kTile, kTileStride);
  multiply<0, Half, Tiles>(rows, tile_bytes);
  if constexpr (More) split_pairs<kFirst + 7, kFirst + 8>(next, next_panel);
}

// Consecutive steps of one panel: what lies in memory, and a copy of the last inputs filled up with zeros where they
// are fewer than a step.
struct Steps {
  const float* panel;
  int64_t count;
  const float* last;  ///< or null
  const float* at(int64_t i) const { return last != nullptr && i == count - 1 ? last : panel + i * kStep * kPanel; }
};

// Up to three tiles of rows by one panel, from or added to `sums` [rows][kPanel].
template <int Tiles>
void block(const char* rows, int64_t tile_bytes, int64_t tile_rows, Steps steps, bool first, float* sums, char* ring) {
  constexpr int64_t kStride = kPanel * sizeof(float);
  float* second = sums + tile_rows * kPanel;
  float* third = second + tile_rows * kPanel;
  const auto each = [&](auto&& work) {
    work.template operator()<0>(sums);
    work.template operator()<1>(sums + W);
    if constexpr (Tiles > 1) {
      work.template operator()<2>(second);
      work.template operator()<3>(second + W);
    }
    if constexpr (Tiles > 2) {
      work.template operator()<4>(third);
      work.template operator()<5>(third + W);
    }
  };
  if (first) {
    each([]<int Tile>(float*) { clear_tile<Tile>(); });
  } else {
    each([]<int Tile>(float* at) { load_tile<Tile>(at, kStride); });
  }
  split_pairs<0, kPairs>(steps.at(0), ring);
  for (int64_t i = 0; i < steps.count - 1; ++i, rows += kRowsStep) {
    const char* panel = ring + i % 2 * kPanelStep;
    char* next_panel = ring + (i + 1) % 2 * kPanelStep;
    const float* next = steps.at(i + 1);
    half_step<0, Tiles, true>(rows, tile_bytes, panel, next, next_panel);
    half_step<1, Tiles, true>(rows, tile_bytes, panel, next, next_panel);
  }
  const char* panel = ring + (steps.count - 1) % 2 * kPanelStep;
  half_step<0, Tiles, false>(rows, tile_bytes, panel, nullptr, nullptr);
  half_step<1, Tiles, false>(rows, tile_bytes, panel, nullptr, nullptr);
  each([]<int Tile>(float* at) { store_tile<Tile>(at, kStride); });
}

int64_t divided_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Where things lie in the scratch memory of a thread; sizes in bytes, all multiples of 64.
struct Memory {
  char* ring;    // two steps of a panel, split
  float* last;   // inputs of a panel that do not fill a step, filled up with zeros
  char* odd;     // by row: whether it goes through `linear`
  float* sums;   // [panel][rows][kPanel]
  char* rows;    // [tile][step]
  float* plain;  // of `linear`, for one row

  static constexpr int64_t kRing = 2 * kPanelStep, kLast = kStep * kPanel * sizeof(float),
                           kOdd = 64 * ((kLinearTilesRows + 63) / 64),
                           kSums = kPanelsAtOnce * kLinearTilesRows * kPanel * sizeof(float);
  static int64_t rows_bytes(int64_t rows, int64_t in) {
    return divided_up(rows, kTileRows) * divided_up(in, kStep) * kRowsStep;
  }
  static Memory in(float* memory, int64_t rows, int64_t in) {
    char* at = reinterpret_cast<char*>(memory);
    Memory m{};
    m.ring = at;
    m.last = reinterpret_cast<float*>(at += kRing);
    m.odd = at += kLast;
    m.sums = reinterpret_cast<float*>(at += kOdd);
    m.rows = at += kSums;
    m.plain = reinterpret_cast<float*>(at + rows_bytes(rows, in));
    return m;
  }
};

// Rows of x as [tile][step][part][row][input]; `odd` is set for rows that tiles cannot take.
void split_rows(const LinearJob& job, int64_t first_row, int64_t rows, int64_t tile_rows, const Memory& memory) {
  const __m512 limit = _mm512_set1_ps(kModerate);
  const int64_t steps = divided_up(job.in, kStep), tiles = divided_up(rows, tile_rows);
  for (int64_t r = 0; r < tiles * tile_rows; ++r) {
    char* out = memory.rows + r / tile_rows * steps * kRowsStep + r % tile_rows * kTileStride;
    const float* x = job.x + (first_row + r) * job.x_stride;
    __mmask16 odd = 0;
    for (int64_t k = 0; k < steps * kStep; k += kStep, out += kRowsStep)
      for (int64_t half = 0; half < 2; ++half) {
        const int64_t left = job.in - k - half * W;
        __m512 v = r < rows && left > 0 ? load_lanes(x + k + half * W, left).v : _mm512_setzero_ps();
        odd |= _mm512_cmp_ps_mask(_mm512_abs_ps(v), limit, _CMP_NLT_UQ);
        for (int64_t part = 0; part < kParts; ++part) {
          const __m512i n = nearest(v);
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + part * kTile + half * kTileStride / 2),
                              _mm512_cvtepi32_epi16(_mm512_srli_epi32(n, 16)));
          v = less(v, n);
        }
      }
    if (r < rows) memory.odd[r] = odd != 0;
  }
}

// The inputs behind the last whole step of a panel.
void fill_last(const LinearJob& job, const float* panel, float* last) {
  const int64_t whole = job.in / kStep * kStep;
  for (int64_t k = 0; k < kStep; ++k)
    for (int64_t c = 0; c < kPanel; c += W)
      (whole + k < job.in ? Vec::load(panel + (whole + k) * kPanel + c) : Vec::zero()).store(last + k * kPanel + c);
}

}  // namespace

int64_t linear_tiles_scratch(int64_t rows, int64_t in) {
  return (Memory::kRing + Memory::kLast + Memory::kOdd + Memory::kSums + Memory::rows_bytes(rows, in)) /
             static_cast<int64_t>(sizeof(float)) +
         linear_scratch(kLinearRows, in);
}

void linear_tiles(const LinearJob& job, int64_t first_row, int64_t rows, int64_t first_panel, int64_t last_panel,
                  LinearScratch& scratch) {
  const Memory memory = Memory::in(scratch.memory, rows, job.in);
  // All rows through `linear`, in blocks that it takes.
  const auto plain = [&](int64_t row, int64_t count) {
    LinearScratch one{.memory = memory.plain, .held = -1};
    linear(job, row, count, first_panel, last_panel, one);
  };
  if (!job.moderate) {
    for (int64_t r = 0; r < rows; r += kLinearRows) plain(first_row + r, smaller(kLinearRows, rows - r));
    return;
  }
  const int64_t tiles = divided_up(rows, kTileRows), tile_rows = divided_up(rows, tiles);
  const int64_t steps = divided_up(job.in, kStep), tile_bytes = steps * kRowsStep;
  const int64_t pieces = divided_up(tiles * tile_bytes, kRowsBytes), depth = divided_up(steps, pieces);
  if (scratch.held != first_row) split_rows(job, first_row, rows, tile_rows, memory);
  scratch.held = first_row;
  configure(tile_rows);
  for (int64_t some = first_panel; some < last_panel; some += kPanelsAtOnce) {
    const int64_t end = smaller(some + kPanelsAtOnce, last_panel);
    for (int64_t begin = 0; begin < steps; begin += depth)
      for (int64_t p = some; p < end; ++p) {
        const float* panel = job.panels + p * kPanel * job.in;
        float* sums = memory.sums + (pieces == 1 ? 0 : p - some) * tiles * tile_rows * kPanel;
        const int64_t count = smaller(depth, steps - begin);
        const bool ragged = begin + count == steps && job.in % kStep != 0;
        if (ragged) fill_last(job, panel, memory.last);
        const Steps piece{panel + begin * kStep * kPanel, count, ragged ? memory.last : nullptr};
        const int64_t groups = divided_up(tiles, kMostTiles);
        for (int64_t g = 0; g < groups; ++g) {
          const int64_t t = tiles * g / groups, taken = tiles * (g + 1) / groups - t;
          const auto run = taken == 1 ? block<1> : taken == 2 ? block<2> : block<3>;
          run(memory.rows + t * tile_bytes + begin * kRowsStep, tile_bytes, tile_rows, piece, begin == 0,
              sums + t * tile_rows * kPanel, memory.ring);
        }
        if (begin + count < steps) continue;
        const int64_t column = p * kPanel, columns = smaller(kPanel, job.out_columns - column);
        for (int64_t r = 0, last = 0; r < rows; r = last + 1) {
          for (last = r; last < rows && memory.odd[last] == 0;) ++last;
          finish(job, first_row + r, last - r, column, columns, sums + r * kPanel);
        }
      }
  }
  asm volatile("tilerelease");
  for (int64_t r = 0; r < rows; ++r)
    if (memory.odd[r] != 0) plain(first_row + r, 1);
}

}  // namespace inazuma::INAZUMA_ISA
