#pragma once
// Vec for any x86-64 processor (SSE2): 4 lanes, no fused multiply-add.

#include <emmintrin.h>

namespace inazuma::INAZUMA_ISA {

struct Vec {
  static constexpr const char* kName = "baseline";
  static constexpr int kWidth = 4;
  struct Mask {
    __m128 m;
  };
  __m128 v;

  static Vec zero() { return {_mm_setzero_ps()}; }
  static Vec all(float x) { return {_mm_set1_ps(x)}; }
  static Vec load(const float* p) { return {_mm_loadu_ps(p)}; }
  static Vec load_some(const float* p, int64_t count) {
    alignas(16) float lanes[4] = {};
    for (int64_t i = 0; i < count; ++i) lanes[i] = p[i];
    return {_mm_load_ps(lanes)};
  }
  void store(float* p) const { _mm_storeu_ps(p, v); }
  void store_some(float* p, int64_t count) const {
    alignas(16) float lanes[4];
    _mm_store_ps(lanes, v);
    for (int64_t i = 0; i < count; ++i) p[i] = lanes[i];
  }
};

/// x in every lane.
inline Vec broadcast(const float* x) {
  return {_mm_set1_ps(*x)};
}
inline Vec operator+(Vec a, Vec b) {
  return {_mm_add_ps(a.v, b.v)};
}
inline Vec operator-(Vec a, Vec b) {
  return {_mm_sub_ps(a.v, b.v)};
}
inline Vec operator*(Vec a, Vec b) {
  return {_mm_mul_ps(a.v, b.v)};
}
inline Vec operator/(Vec a, Vec b) {
  return {_mm_div_ps(a.v, b.v)};
}
inline Vec fma(Vec a, Vec b, Vec c) {
  return {_mm_add_ps(_mm_mul_ps(a.v, b.v), c.v)};
}
/// b when either is NaN.
inline Vec max(Vec a, Vec b) {
  return {_mm_max_ps(a.v, b.v)};
}
inline Vec min(Vec a, Vec b) {
  return {_mm_min_ps(a.v, b.v)};
}
inline Vec abs(Vec a) {
  return {_mm_andnot_ps(_mm_set1_ps(-0.0f), a.v)};
}
inline Vec sqrt(Vec a) {
  return {_mm_sqrt_ps(a.v)};
}
inline Vec::Mask less(Vec a, Vec b) {
  return {_mm_cmplt_ps(a.v, b.v)};
}
inline Vec::Mask not_less(Vec a, Vec b) {
  return {_mm_cmpge_ps(a.v, b.v)};
}
inline Vec::Mask equal(Vec a, Vec b) {
  return {_mm_cmpeq_ps(a.v, b.v)};
}
inline Vec::Mask is_nan(Vec a) {
  return {_mm_cmpunord_ps(a.v, a.v)};
}
inline Vec select(Vec::Mask m, Vec yes, Vec no) {
  return {_mm_or_ps(_mm_and_ps(m.m, yes.v), _mm_andnot_ps(m.m, no.v))};
}
inline uint32_t bits(Vec::Mask m) {
  return static_cast<uint32_t>(_mm_movemask_ps(m.m));
}
/// Whole numbers of magnitude below 2^31 only.
inline Vec round(Vec a) {
  return {_mm_cvtepi32_ps(_mm_cvtps_epi32(a.v))};
}
/// a · 2^n for whole n in [-252, 254]: in two halves, so that neither power leaves the range of floats.
inline Vec scale_by_power(Vec a, Vec n) {
  const __m128i whole = _mm_cvtps_epi32(n.v);
  const __m128i half = _mm_srai_epi32(whole, 1);
  const __m128i rest = _mm_sub_epi32(whole, half);
  const __m128i bias = _mm_set1_epi32(127);
  const __m128 p = _mm_castsi128_ps(_mm_slli_epi32(_mm_add_epi32(half, bias), 23));
  const __m128 q = _mm_castsi128_ps(_mm_slli_epi32(_mm_add_epi32(rest, bias), 23));
  return {_mm_mul_ps(_mm_mul_ps(a.v, p), q)};
}

/// Lane i of the result is the sum of the lanes of x[i], always added in the same tree.
inline Vec sums(const Vec (&x)[4]) {
  const __m128 a = _mm_add_ps(_mm_unpacklo_ps(x[0].v, x[1].v), _mm_unpackhi_ps(x[0].v, x[1].v));
  const __m128 b = _mm_add_ps(_mm_unpacklo_ps(x[2].v, x[3].v), _mm_unpackhi_ps(x[2].v, x[3].v));
  return {_mm_add_ps(_mm_shuffle_ps(a, b, 0x44), _mm_shuffle_ps(a, b, 0xEE))};
}
/// Sum and largest of all lanes.
inline float sum(Vec a) {
  const __m128 x = _mm_add_ps(a.v, _mm_movehl_ps(a.v, a.v));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}
inline float largest(Vec a) {
  const __m128 x = _mm_max_ps(a.v, _mm_movehl_ps(a.v, a.v));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps(x, x, 1)));
}

}  // namespace inazuma::INAZUMA_ISA
