/* The vector vocabulary on AVX-512 (F + DQ): vf32 holds 16 floats, vf64 8 doubles.
 *
 * Every simd_<isa>.h defines the same names; kernels.inc.h is written in them and knows
 * no intrinsic.  All arithmetic is IEEE: one rounding per operation, so AVX2, AVX-512
 * and NEON give the same bits lane for lane. */
#define VOCABULARY static inline __attribute__((always_inline))

/* Micro-kernel: MR rows x 2 vectors.  14 * 2 accumulators + 2 panel vectors leave two
 * of the 32 registers for the broadcasts. */
enum { vf32_lanes = 16, vf32_mr = 14, vf64_lanes = 8, vf64_mr = 14 };
/* Rows at most for which a tile spans 8 (4) vectors to hide the FMA latency. */
enum { wide8_rows = 3, wide4_rows = 5 };

typedef __m512 vf32;

VOCABULARY vf32 vf32_zero(void) { return _mm512_setzero_ps(); }
VOCABULARY vf32 vf32_set1(float x) { return _mm512_set1_ps(x); }
VOCABULARY vf32 vf32_load(const float *p) { return _mm512_loadu_ps(p); }
VOCABULARY void vf32_store(float *p, vf32 v) { _mm512_storeu_ps(p, v); }
VOCABULARY vf32 vf32_add(vf32 a, vf32 b) { return _mm512_add_ps(a, b); }
VOCABULARY vf32 vf32_sub(vf32 a, vf32 b) { return _mm512_sub_ps(a, b); }
VOCABULARY vf32 vf32_mul(vf32 a, vf32 b) { return _mm512_mul_ps(a, b); }
VOCABULARY vf32 vf32_div(vf32 a, vf32 b) { return _mm512_div_ps(a, b); }
VOCABULARY vf32 vf32_sqrt(vf32 a) { return _mm512_sqrt_ps(a); }
/* max returns b when a is NaN, so max(0, x) keeps a NaN in x. */
VOCABULARY vf32 vf32_max(vf32 a, vf32 b) { return _mm512_max_ps(a, b); }
VOCABULARY vf32 vf32_abs(vf32 a) { return _mm512_abs_ps(a); }
/* fma(a, b, c) = a b + c;  fnma(a, b, c) = c - a b; one rounding. */
VOCABULARY vf32 vf32_fma(vf32 a, vf32 b, vf32 c) { return _mm512_fmadd_ps(a, b, c); }
VOCABULARY vf32 vf32_fnma(vf32 a, vf32 b, vf32 c) { return _mm512_fnmadd_ps(a, b, c); }
VOCABULARY vf32 vf32_round(vf32 a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* x where gate > 0, else +0. */
VOCABULARY vf32 vf32_gate(vf32 gate, vf32 x) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(gate, _mm512_setzero_ps(), _CMP_GT_OQ),
                             x);
}
/* The first `count` lanes of v (count >= 0, may exceed the lanes), `fill` in the
 * rest. */
VOCABULARY vf32 vf32_keep(vf32 v, size_t count, vf32 fill) {
  const __mmask16 mask = (__mmask16)(count >= 16 ? 0xffff : (1u << count) - 1u);
  return _mm512_mask_mov_ps(fill, mask, v);
}
/* 2^n for integral n in [-126, 127]. */
VOCABULARY vf32 vf32_pow2(vf32 n) {
  const __m512i bias = _mm512_set1_epi32(127);
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), bias), 23));
}
/* x = m 2^e with m in [0.5, 1), for normal x > 0. */
VOCABULARY vf32 vf32_frexp(vf32 x, vf32 *e) {
  *e = _mm512_add_ps(_mm512_getexp_ps(x), _mm512_set1_ps(1.0f));
  return _mm512_getmant_ps(x, _MM_MANT_NORM_p5_1, _MM_MANT_SIGN_src);
}
/* y where x < bound, else z. */
VOCABULARY vf32 vf32_where_less(vf32 x, vf32 bound, vf32 y, vf32 z) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, bound, _CMP_LT_OQ), z, y);
}
/* Not 0 where a < b in some lane. */
VOCABULARY int vf32_any_less(vf32 a, vf32 b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

typedef __m512d vf64;

VOCABULARY vf64 vf64_zero(void) { return _mm512_setzero_pd(); }
VOCABULARY vf64 vf64_set1(double x) { return _mm512_set1_pd(x); }
VOCABULARY vf64 vf64_load(const double *p) { return _mm512_loadu_pd(p); }
VOCABULARY void vf64_store(double *p, vf64 v) { _mm512_storeu_pd(p, v); }
VOCABULARY vf64 vf64_add(vf64 a, vf64 b) { return _mm512_add_pd(a, b); }
VOCABULARY vf64 vf64_sub(vf64 a, vf64 b) { return _mm512_sub_pd(a, b); }
VOCABULARY vf64 vf64_mul(vf64 a, vf64 b) { return _mm512_mul_pd(a, b); }
VOCABULARY vf64 vf64_div(vf64 a, vf64 b) { return _mm512_div_pd(a, b); }
VOCABULARY vf64 vf64_sqrt(vf64 a) { return _mm512_sqrt_pd(a); }
VOCABULARY vf64 vf64_max(vf64 a, vf64 b) { return _mm512_max_pd(a, b); }
VOCABULARY vf64 vf64_abs(vf64 a) { return _mm512_abs_pd(a); }
VOCABULARY vf64 vf64_fma(vf64 a, vf64 b, vf64 c) { return _mm512_fmadd_pd(a, b, c); }
VOCABULARY vf64 vf64_fnma(vf64 a, vf64 b, vf64 c) { return _mm512_fnmadd_pd(a, b, c); }
VOCABULARY vf64 vf64_round(vf64 a) {
  return _mm512_roundscale_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
VOCABULARY vf64 vf64_gate(vf64 gate, vf64 x) {
  return _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(gate, _mm512_setzero_pd(), _CMP_GT_OQ),
                             x);
}
VOCABULARY vf64 vf64_keep(vf64 v, size_t count, vf64 fill) {
  const __mmask8 mask = (__mmask8)(count >= 8 ? 0xff : (1u << count) - 1u);
  return _mm512_mask_mov_pd(fill, mask, v);
}
VOCABULARY vf64 vf64_pow2(vf64 n) {
  const __m512i bias = _mm512_set1_epi64(1023);
  return _mm512_castsi512_pd(
      _mm512_slli_epi64(_mm512_add_epi64(_mm512_cvtpd_epi64(n), bias), 52));
}
VOCABULARY vf64 vf64_frexp(vf64 x, vf64 *e) {
  *e = _mm512_add_pd(_mm512_getexp_pd(x), _mm512_set1_pd(1.0));
  return _mm512_getmant_pd(x, _MM_MANT_NORM_p5_1, _MM_MANT_SIGN_src);
}
VOCABULARY vf64 vf64_where_less(vf64 x, vf64 bound, vf64 y, vf64 z) {
  return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(x, bound, _CMP_LT_OQ), z, y);
}
VOCABULARY int vf64_any_less(vf64 a, vf64 b) {
  return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ);
}

/* dst[c][r] = src[r][c] for a block of lanes x lanes.  In registers: log2(lanes) rounds
 * of shuffles, four times as fast as gathers. */
VOCABULARY void vf32_transpose(const float *src, ptrdiff_t src_row, float *dst,
                               ptrdiff_t dst_row) {
  __m512 v[16], t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) v[i] = _mm512_loadu_ps(src + i * src_row);
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) { /* 4 x 4 blocks inside each 128-bit quarter */
    const __m512 a = _mm512_unpacklo_ps(v[4 * i], v[4 * i + 1]);
    const __m512 b = _mm512_unpackhi_ps(v[4 * i], v[4 * i + 1]);
    const __m512 c = _mm512_unpacklo_ps(v[4 * i + 2], v[4 * i + 3]);
    const __m512 d = _mm512_unpackhi_ps(v[4 * i + 2], v[4 * i + 3]);
    t[4 * i] = _mm512_shuffle_ps(a, c, 0x44);
    t[4 * i + 1] = _mm512_shuffle_ps(a, c, 0xee);
    t[4 * i + 2] = _mm512_shuffle_ps(b, d, 0x44);
    t[4 * i + 3] = _mm512_shuffle_ps(b, d, 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) { /* then the 4 x 4 grid of quarters */
    const __m512 a = _mm512_shuffle_f32x4(t[i], t[4 + i], 0x88);
    const __m512 b = _mm512_shuffle_f32x4(t[i], t[4 + i], 0xdd);
    const __m512 c = _mm512_shuffle_f32x4(t[8 + i], t[12 + i], 0x88);
    const __m512 d = _mm512_shuffle_f32x4(t[8 + i], t[12 + i], 0xdd);
    _mm512_storeu_ps(dst + i * dst_row, _mm512_shuffle_f32x4(a, c, 0x88));
    _mm512_storeu_ps(dst + (4 + i) * dst_row, _mm512_shuffle_f32x4(b, d, 0x88));
    _mm512_storeu_ps(dst + (8 + i) * dst_row, _mm512_shuffle_f32x4(a, c, 0xdd));
    _mm512_storeu_ps(dst + (12 + i) * dst_row, _mm512_shuffle_f32x4(b, d, 0xdd));
  }
}

VOCABULARY void vf64_transpose(const double *src, ptrdiff_t src_row, double *dst,
                               ptrdiff_t dst_row) {
  __m512d v[8], t[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) v[i] = _mm512_loadu_pd(src + i * src_row);
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    t[2 * i] = _mm512_unpacklo_pd(v[2 * i], v[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_pd(v[2 * i], v[2 * i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++) {
    const __m512d a = _mm512_shuffle_f64x2(t[i], t[2 + i], 0x88);
    const __m512d b = _mm512_shuffle_f64x2(t[i], t[2 + i], 0xdd);
    const __m512d c = _mm512_shuffle_f64x2(t[4 + i], t[6 + i], 0x88);
    const __m512d d = _mm512_shuffle_f64x2(t[4 + i], t[6 + i], 0xdd);
    _mm512_storeu_pd(dst + i * dst_row, _mm512_shuffle_f64x2(a, c, 0x88));
    _mm512_storeu_pd(dst + (2 + i) * dst_row, _mm512_shuffle_f64x2(b, d, 0x88));
    _mm512_storeu_pd(dst + (4 + i) * dst_row, _mm512_shuffle_f64x2(a, c, 0xdd));
    _mm512_storeu_pd(dst + (6 + i) * dst_row, _mm512_shuffle_f64x2(b, d, 0xdd));
  }
}
