/* The vocabulary of bfloat16.inc.h on AVX-512 BF16 + BW, in addition to that of
 * simd_avx512.h: pairs holds 16 pairs of bfloat16 values (see bfloat16.h). */
typedef __m512i pairs;

VOCABULARY pairs pairs_zero(void) { return _mm512_setzero_si512(); }
VOCABULARY pairs pairs_set1(const uint32_t *p) { return _mm512_set1_epi32((int)*p); }
VOCABULARY pairs pairs_load(const uint32_t *p) { return _mm512_loadu_si512(p); }
VOCABULARY void pairs_store(uint32_t *p, pairs v) { _mm512_storeu_si512(p, v); }
/* The first `count` pairs, zeros beyond; nothing beyond is read. */
VOCABULARY pairs pairs_load_first(const uint32_t *p, size_t count) {
  return _mm512_maskz_loadu_epi32((__mmask16)((1u << count) - 1u), p);
}
VOCABULARY vf32 vf32_load_first(const float *p, size_t count) {
  const __mmask16 mask = (__mmask16)(count >= 16 ? 0xffff : (1u << count) - 1u);
  return _mm512_maskz_loadu_ps(mask, p);
}
/* c + a_even b_even + a_odd b_odd, in this order, rounded twice. */
VOCABULARY vf32 pairs_fma(pairs a, pairs b, vf32 c) {
  return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
}
/* Pairs of 32 neighbours: of (x0, x1), (x2, x3), ... */
VOCABULARY pairs pairs_round_row(vf32 first, vf32 second) {
  return _mm512_rol_epi32((__m512i)_mm512_cvtne2ps_pbh(second, first), 16);
}
/* v where value 16 j + lane of a row of pairs is > 0, else +0; j is 0 or 1. */
VOCABULARY vf32 vf32_gate_pairs(const uint32_t *row, const int j, vf32 v) {
  const __m512i in_order = _mm512_rol_epi32(_mm512_loadu_si512(row), 16);
  const __mmask32 open = _mm512_cmpgt_epi16_mask(in_order, _mm512_setzero_si512());
  return _mm512_maskz_mov_ps((__mmask16)(j ? open >> 16 : open), v);
}
/* Pairs of 16 columns of two rows: (even_j, odd_j). */
VOCABULARY pairs pairs_round_column(vf32 even, vf32 odd) {
  const __m512i in_order = _mm512_inserti64x4(
      _mm512_castsi256_si512(
          _mm256_setr_epi16(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)),
      _mm256_setr_epi16(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31),
      1);
  return _mm512_permutexvar_epi16(in_order, (__m512i)_mm512_cvtne2ps_pbh(even, odd));
}
/* From rows of pairs of neighbours, pairs of column j: of columns 0 to 15 and, with
 * `upper`, 16 to 31.  Value j of a row is its 16-bit word j ^ 1. */
VOCABULARY pairs pairs_across(pairs even, pairs odd, const int upper) {
  const __m512i words = _mm512_inserti64x4(
      _mm512_castsi256_si512(
          _mm256_setr_epi16(33, 1, 32, 0, 35, 3, 34, 2, 37, 5, 36, 4, 39, 7, 38, 6)),
      _mm256_setr_epi16(41, 9, 40, 8, 43, 11, 42, 10, 45, 13, 44, 12, 47, 15, 46, 14),
      1);
  const __m512i from = upper ? _mm512_add_epi16(words, _mm512_set1_epi16(16)) : words;
  return _mm512_permutex2var_epi16(even, from, odd);
}
