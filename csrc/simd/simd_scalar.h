/* The vector vocabulary in plain C, one element a "vector": the fall-back for CPUs
 * without FMA.  Multiply and add round separately, so its bits differ from the FMA
 * instruction sets'.  The names and their meaning are those of simd_avx512.h. */
#define VOCABULARY static inline __attribute__((always_inline))

enum { vf32_lanes = 1, vf32_mr = 4, vf64_lanes = 1, vf64_mr = 4 };
enum { wide8_rows = 0, wide4_rows = 1 };

typedef float vf32;

VOCABULARY vf32 vf32_zero(void) { return 0.0f; }
VOCABULARY vf32 vf32_set1(float x) { return x; }
VOCABULARY vf32 vf32_load(const float *p) { return *p; }
VOCABULARY void vf32_store(float *p, vf32 v) { *p = v; }
VOCABULARY vf32 vf32_add(vf32 a, vf32 b) { return a + b; }
VOCABULARY vf32 vf32_sub(vf32 a, vf32 b) { return a - b; }
VOCABULARY vf32 vf32_mul(vf32 a, vf32 b) { return a * b; }
VOCABULARY vf32 vf32_div(vf32 a, vf32 b) { return a / b; }
VOCABULARY vf32 vf32_sqrt(vf32 a) { return sqrtf(a); }
VOCABULARY vf32 vf32_max(vf32 a, vf32 b) { return a > b ? a : b; }
VOCABULARY vf32 vf32_abs(vf32 a) { return fabsf(a); }
VOCABULARY vf32 vf32_fma(vf32 a, vf32 b, vf32 c) { return a * b + c; }
VOCABULARY vf32 vf32_fnma(vf32 a, vf32 b, vf32 c) { return c - a * b; }
VOCABULARY vf32 vf32_round(vf32 a) { return rintf(a); }
VOCABULARY vf32 vf32_gate(vf32 gate, vf32 x) { return gate > 0.0f ? x : 0.0f; }
VOCABULARY vf32 vf32_keep(vf32 v, size_t count, vf32 fill) { return count ? v : fill; }
/* Guarded: what is NaN or far away has no int; the caller replaces those results. */
VOCABULARY vf32 vf32_pow2(vf32 n) {
  return n >= -126.0f && n <= 127.0f ? ldexpf(1.0f, (int)n) : 0.0f;
}
VOCABULARY vf32 vf32_frexp(vf32 x, vf32 *e) {
  int exponent;
  const float mantissa = frexpf(x, &exponent);
  *e = (float)exponent;
  return mantissa;
}
VOCABULARY vf32 vf32_where_less(vf32 x, vf32 bound, vf32 y, vf32 z) {
  return x < bound ? y : z;
}
VOCABULARY int vf32_any_less(vf32 a, vf32 b) { return a < b; }
VOCABULARY void vf32_transpose(const float *src, ptrdiff_t src_row, float *dst,
                               ptrdiff_t dst_row) {
  (void)src_row, (void)dst_row;
  *dst = *src;
}

typedef double vf64;

VOCABULARY vf64 vf64_zero(void) { return 0.0; }
VOCABULARY vf64 vf64_set1(double x) { return x; }
VOCABULARY vf64 vf64_load(const double *p) { return *p; }
VOCABULARY void vf64_store(double *p, vf64 v) { *p = v; }
VOCABULARY vf64 vf64_add(vf64 a, vf64 b) { return a + b; }
VOCABULARY vf64 vf64_sub(vf64 a, vf64 b) { return a - b; }
VOCABULARY vf64 vf64_mul(vf64 a, vf64 b) { return a * b; }
VOCABULARY vf64 vf64_div(vf64 a, vf64 b) { return a / b; }
VOCABULARY vf64 vf64_sqrt(vf64 a) { return sqrt(a); }
VOCABULARY vf64 vf64_max(vf64 a, vf64 b) { return a > b ? a : b; }
VOCABULARY vf64 vf64_abs(vf64 a) { return fabs(a); }
VOCABULARY vf64 vf64_fma(vf64 a, vf64 b, vf64 c) { return a * b + c; }
VOCABULARY vf64 vf64_fnma(vf64 a, vf64 b, vf64 c) { return c - a * b; }
VOCABULARY vf64 vf64_round(vf64 a) { return rint(a); }
VOCABULARY vf64 vf64_gate(vf64 gate, vf64 x) { return gate > 0.0 ? x : 0.0; }
VOCABULARY vf64 vf64_keep(vf64 v, size_t count, vf64 fill) { return count ? v : fill; }
VOCABULARY vf64 vf64_pow2(vf64 n) {
  return n >= -1022.0 && n <= 1023.0 ? ldexp(1.0, (int)n) : 0.0;
}
VOCABULARY vf64 vf64_frexp(vf64 x, vf64 *e) {
  int exponent;
  const double mantissa = frexp(x, &exponent);
  *e = exponent;
  return mantissa;
}
VOCABULARY vf64 vf64_where_less(vf64 x, vf64 bound, vf64 y, vf64 z) {
  return x < bound ? y : z;
}
VOCABULARY int vf64_any_less(vf64 a, vf64 b) { return a < b; }
VOCABULARY void vf64_transpose(const double *src, ptrdiff_t src_row, double *dst,
                               ptrdiff_t dst_row) {
  (void)src_row, (void)dst_row;
  *dst = *src;
}
