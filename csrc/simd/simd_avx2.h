/* The vector vocabulary on AVX2 + FMA: vf32 holds 8 floats, vf64 4 doubles.
 * The names and their meaning are those of simd_avx512.h. */
#define VOCABULARY static inline __attribute__((always_inline))

/* 6 x 2 accumulators + 2 panel vectors + 1 broadcast of the 16 registers. */
enum { vf32_lanes = 8, vf32_mr = 6, vf64_lanes = 4, vf64_mr = 6 };
enum { wide8_rows = 1, wide4_rows = 3 };

typedef __m256 vf32;

VOCABULARY vf32 vf32_zero(void) { return _mm256_setzero_ps(); }
VOCABULARY vf32 vf32_set1(float x) { return _mm256_set1_ps(x); }
VOCABULARY vf32 vf32_load(const float *p) { return _mm256_loadu_ps(p); }
VOCABULARY void vf32_store(float *p, vf32 v) { _mm256_storeu_ps(p, v); }
VOCABULARY vf32 vf32_add(vf32 a, vf32 b) { return _mm256_add_ps(a, b); }
VOCABULARY vf32 vf32_sub(vf32 a, vf32 b) { return _mm256_sub_ps(a, b); }
VOCABULARY vf32 vf32_mul(vf32 a, vf32 b) { return _mm256_mul_ps(a, b); }
VOCABULARY vf32 vf32_div(vf32 a, vf32 b) { return _mm256_div_ps(a, b); }
VOCABULARY vf32 vf32_sqrt(vf32 a) { return _mm256_sqrt_ps(a); }
VOCABULARY vf32 vf32_max(vf32 a, vf32 b) { return _mm256_max_ps(a, b); }
VOCABULARY vf32 vf32_abs(vf32 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
VOCABULARY vf32 vf32_fma(vf32 a, vf32 b, vf32 c) { return _mm256_fmadd_ps(a, b, c); }
VOCABULARY vf32 vf32_fnma(vf32 a, vf32 b, vf32 c) { return _mm256_fnmadd_ps(a, b, c); }
VOCABULARY vf32 vf32_round(vf32 a) {
  return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
VOCABULARY vf32 vf32_gate(vf32 gate, vf32 x) {
  return _mm256_and_ps(_mm256_cmp_ps(gate, _mm256_setzero_ps(), _CMP_GT_OQ), x);
}
VOCABULARY vf32 vf32_keep(vf32 v, size_t count, vf32 fill) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i kept =
      _mm256_cmpgt_epi32(_mm256_set1_epi32(count >= 8 ? 8 : (int)count), lane);
  return _mm256_blendv_ps(fill, v, _mm256_castsi256_ps(kept));
}
VOCABULARY vf32 vf32_pow2(vf32 n) {
  const __m256i bias = _mm256_set1_epi32(127);
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), bias), 23));
}
VOCABULARY vf32 vf32_frexp(vf32 x, vf32 *e) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i exponent =
      _mm256_sub_epi32(_mm256_srli_epi32(bits, 23), _mm256_set1_epi32(126));
  *e = _mm256_cvtepi32_ps(exponent);
  return _mm256_castsi256_ps(
      _mm256_or_si256(_mm256_and_si256(bits, _mm256_set1_epi32(0x007fffff)),
                      _mm256_set1_epi32(0x3f000000)));
}
VOCABULARY vf32 vf32_where_less(vf32 x, vf32 bound, vf32 y, vf32 z) {
  return _mm256_blendv_ps(z, y, _mm256_cmp_ps(x, bound, _CMP_LT_OQ));
}
VOCABULARY int vf32_any_less(vf32 a, vf32 b) {
  return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

typedef __m256d vf64;

VOCABULARY vf64 vf64_zero(void) { return _mm256_setzero_pd(); }
VOCABULARY vf64 vf64_set1(double x) { return _mm256_set1_pd(x); }
VOCABULARY vf64 vf64_load(const double *p) { return _mm256_loadu_pd(p); }
VOCABULARY void vf64_store(double *p, vf64 v) { _mm256_storeu_pd(p, v); }
VOCABULARY vf64 vf64_add(vf64 a, vf64 b) { return _mm256_add_pd(a, b); }
VOCABULARY vf64 vf64_sub(vf64 a, vf64 b) { return _mm256_sub_pd(a, b); }
VOCABULARY vf64 vf64_mul(vf64 a, vf64 b) { return _mm256_mul_pd(a, b); }
VOCABULARY vf64 vf64_div(vf64 a, vf64 b) { return _mm256_div_pd(a, b); }
VOCABULARY vf64 vf64_sqrt(vf64 a) { return _mm256_sqrt_pd(a); }
VOCABULARY vf64 vf64_max(vf64 a, vf64 b) { return _mm256_max_pd(a, b); }
VOCABULARY vf64 vf64_abs(vf64 a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
VOCABULARY vf64 vf64_fma(vf64 a, vf64 b, vf64 c) { return _mm256_fmadd_pd(a, b, c); }
VOCABULARY vf64 vf64_fnma(vf64 a, vf64 b, vf64 c) { return _mm256_fnmadd_pd(a, b, c); }
VOCABULARY vf64 vf64_round(vf64 a) {
  return _mm256_round_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
VOCABULARY vf64 vf64_gate(vf64 gate, vf64 x) {
  return _mm256_and_pd(_mm256_cmp_pd(gate, _mm256_setzero_pd(), _CMP_GT_OQ), x);
}
VOCABULARY vf64 vf64_keep(vf64 v, size_t count, vf64 fill) {
  const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
  const __m256i kept =
      _mm256_cmpgt_epi64(_mm256_set1_epi64x(count >= 4 ? 4 : (int)count), lane);
  return _mm256_blendv_pd(fill, v, _mm256_castsi256_pd(kept));
}
VOCABULARY vf64 vf64_pow2(vf64 n) {
  const __m256i bias = _mm256_set1_epi64x(1023);
  const __m256i wide = _mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(n));
  return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_add_epi64(wide, bias), 52));
}
VOCABULARY vf64 vf64_frexp(vf64 x, vf64 *e) {
  const __m256i bits = _mm256_castpd_si256(x);
  /* The exponent field as a double: put it in the mantissa of 2^52 and subtract. */
  const __m256i two52 = _mm256_set1_epi64x(0x4330000000000000);
  const __m256i field = _mm256_or_si256(_mm256_srli_epi64(bits, 52), two52);
  *e = _mm256_sub_pd(_mm256_castsi256_pd(field),
                     _mm256_set1_pd(4503599627370496.0 + 1022.0));
  return _mm256_castsi256_pd(
      _mm256_or_si256(_mm256_and_si256(bits, _mm256_set1_epi64x(0x000fffffffffffff)),
                      _mm256_set1_epi64x(0x3fe0000000000000)));
}
VOCABULARY vf64 vf64_where_less(vf64 x, vf64 bound, vf64 y, vf64 z) {
  return _mm256_blendv_pd(z, y, _mm256_cmp_pd(x, bound, _CMP_LT_OQ));
}
VOCABULARY int vf64_any_less(vf64 a, vf64 b) {
  return _mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_LT_OQ));
}

VOCABULARY void vf32_transpose(const float *src, ptrdiff_t src_row, float *dst,
                               ptrdiff_t dst_row) {
  __m256 v[8], t[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) v[i] = _mm256_loadu_ps(src + i * src_row);
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++) { /* 4 x 4 blocks inside each 128-bit half */
    const __m256 a = _mm256_unpacklo_ps(v[4 * i], v[4 * i + 1]);
    const __m256 b = _mm256_unpackhi_ps(v[4 * i], v[4 * i + 1]);
    const __m256 c = _mm256_unpacklo_ps(v[4 * i + 2], v[4 * i + 3]);
    const __m256 d = _mm256_unpackhi_ps(v[4 * i + 2], v[4 * i + 3]);
    t[4 * i] = _mm256_shuffle_ps(a, c, 0x44);
    t[4 * i + 1] = _mm256_shuffle_ps(a, c, 0xee);
    t[4 * i + 2] = _mm256_shuffle_ps(b, d, 0x44);
    t[4 * i + 3] = _mm256_shuffle_ps(b, d, 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    _mm256_storeu_ps(dst + i * dst_row, _mm256_permute2f128_ps(t[i], t[4 + i], 0x20));
    _mm256_storeu_ps(dst + (4 + i) * dst_row,
                     _mm256_permute2f128_ps(t[i], t[4 + i], 0x31));
  }
}

VOCABULARY void vf64_transpose(const double *src, ptrdiff_t src_row, double *dst,
                               ptrdiff_t dst_row) {
  const __m256d v0 = _mm256_loadu_pd(src), v1 = _mm256_loadu_pd(src + src_row);
  const __m256d v2 = _mm256_loadu_pd(src + 2 * src_row);
  const __m256d v3 = _mm256_loadu_pd(src + 3 * src_row);
  const __m256d a = _mm256_unpacklo_pd(v0, v1), b = _mm256_unpackhi_pd(v0, v1);
  const __m256d c = _mm256_unpacklo_pd(v2, v3), d = _mm256_unpackhi_pd(v2, v3);
  _mm256_storeu_pd(dst, _mm256_permute2f128_pd(a, c, 0x20));
  _mm256_storeu_pd(dst + dst_row, _mm256_permute2f128_pd(b, d, 0x20));
  _mm256_storeu_pd(dst + 2 * dst_row, _mm256_permute2f128_pd(a, c, 0x31));
  _mm256_storeu_pd(dst + 3 * dst_row, _mm256_permute2f128_pd(b, d, 0x31));
}
