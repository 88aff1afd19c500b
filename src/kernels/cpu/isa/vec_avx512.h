#pragma once
// Vec for AVX-512 (F, BW, DQ, VL): 16 lanes.

#include <immintrin.h>

namespace inazuma::INAZUMA_ISA {

struct Vec {
  static constexpr const char* kName = "avx512";
  static constexpr int kWidth = 16;
  using Mask = __mmask16;
  __m512 v;

  static Vec zero() { return {_mm512_setzero_ps()}; }
  static Vec all(float x) { return {_mm512_set1_ps(x)}; }
  static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Mask first(int64_t count) { return static_cast<Mask>((1u << count) - 1u); }
  static Vec load_some(const float* p, int64_t count) { return {_mm512_maskz_loadu_ps(first(count), p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store_some(float* p, int64_t count) const { _mm512_mask_storeu_ps(p, first(count), v); }
};

/// x in every lane, held in a register: as an operand of each multiply-add it would be loaded again and again.
inline Vec broadcast(const float* x) {
  __m512 v = _mm512_set1_ps(*x);
  asm("" : "+v"(v));
  return {v};
}
inline Vec operator+(Vec a, Vec b) {
  return {_mm512_add_ps(a.v, b.v)};
}
inline Vec operator-(Vec a, Vec b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
inline Vec operator*(Vec a, Vec b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
inline Vec operator/(Vec a, Vec b) {
  return {_mm512_div_ps(a.v, b.v)};
}
inline Vec fma(Vec a, Vec b, Vec c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
/// b when either is NaN.
inline Vec max(Vec a, Vec b) {
  return {_mm512_max_ps(a.v, b.v)};
}
inline Vec min(Vec a, Vec b) {
  return {_mm512_min_ps(a.v, b.v)};
}
inline Vec abs(Vec a) {
  return {_mm512_abs_ps(a.v)};
}
inline Vec sqrt(Vec a) {
  return {_mm512_sqrt_ps(a.v)};
}
inline Vec::Mask less(Vec a, Vec b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ);
}
inline Vec::Mask not_less(Vec a, Vec b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ);
}
inline Vec::Mask equal(Vec a, Vec b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ);
}
inline Vec::Mask is_nan(Vec a) {
  return _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
}
inline Vec select(Vec::Mask m, Vec yes, Vec no) {
  return {_mm512_mask_blend_ps(m, no.v, yes.v)};
}
inline uint32_t bits(Vec::Mask m) {
  return m;
}
inline Vec round(Vec a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
/// a · 2^n for whole n; gradual at both ends.
inline Vec scale_by_power(Vec a, Vec n) {
  return {_mm512_scalef_ps(a.v, n.v)};
}

/// Lane i of the result is the sum of the lanes of x[i], always added in the same tree.
inline Vec sums(const Vec (&x)[16]) {
  __m512 a[8], b[4], c[2];
  for (int i = 0; i < 8; ++i)  // lanes hold pairs (2i, 2i+1) after adding neighbours
    a[i] =
        _mm512_add_ps(_mm512_unpacklo_ps(x[2 * i].v, x[2 * i + 1].v), _mm512_unpackhi_ps(x[2 * i].v, x[2 * i + 1].v));
  for (int i = 0; i < 4; ++i)
    b[i] =
        _mm512_add_ps(_mm512_shuffle_ps(a[2 * i], a[2 * i + 1], 0x44), _mm512_shuffle_ps(a[2 * i], a[2 * i + 1], 0xEE));
  // b[i]: in each 128-bit quarter the four partial sums of x[4i .. 4i+3]
  for (int i = 0; i < 2; ++i)
    c[i] = _mm512_add_ps(_mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0x88),
                         _mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0xDD));
  return {_mm512_add_ps(_mm512_shuffle_f32x4(c[0], c[1], 0x88), _mm512_shuffle_f32x4(c[0], c[1], 0xDD))};
}
/// Sum and largest of all lanes.
inline float sum(Vec a) {
  return _mm512_reduce_add_ps(a.v);
}
inline float largest(Vec a) {
  return _mm512_reduce_max_ps(a.v);
}

}  // namespace inazuma::INAZUMA_ISA
