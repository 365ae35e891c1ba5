/* The vector vocabulary on AArch64 NEON: vf32 holds 4 floats, vf64 2 doubles.
 * The names and their meaning are those of simd_avx512.h. */
#define VOCABULARY static inline __attribute__((always_inline))

/* 12 x 2 accumulators + 2 panel vectors + broadcasts of the 32 registers. */
enum { vf32_lanes = 4, vf32_mr = 12, vf64_lanes = 2, vf64_mr = 12 };
enum { wide8_rows = 3, wide4_rows = 5 };

typedef float32x4_t vf32;

VOCABULARY vf32 vf32_zero(void) { return vdupq_n_f32(0.0f); }
VOCABULARY vf32 vf32_set1(float x) { return vdupq_n_f32(x); }
VOCABULARY vf32 vf32_load(const float *p) { return vld1q_f32(p); }
VOCABULARY void vf32_store(float *p, vf32 v) { vst1q_f32(p, v); }
VOCABULARY vf32 vf32_add(vf32 a, vf32 b) { return vaddq_f32(a, b); }
VOCABULARY vf32 vf32_sub(vf32 a, vf32 b) { return vsubq_f32(a, b); }
VOCABULARY vf32 vf32_mul(vf32 a, vf32 b) { return vmulq_f32(a, b); }
VOCABULARY vf32 vf32_div(vf32 a, vf32 b) { return vdivq_f32(a, b); }
VOCABULARY vf32 vf32_sqrt(vf32 a) { return vsqrtq_f32(a); }
/* A compare and select, not vmaxq: max(0, -0) and NaN must come out as on x86. */
VOCABULARY vf32 vf32_max(vf32 a, vf32 b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
VOCABULARY vf32 vf32_abs(vf32 a) { return vabsq_f32(a); }
VOCABULARY vf32 vf32_fma(vf32 a, vf32 b, vf32 c) { return vfmaq_f32(c, a, b); }
VOCABULARY vf32 vf32_fnma(vf32 a, vf32 b, vf32 c) { return vfmsq_f32(c, a, b); }
VOCABULARY vf32 vf32_round(vf32 a) { return vrndnq_f32(a); }
VOCABULARY vf32 vf32_gate(vf32 gate, vf32 x) {
  return vreinterpretq_f32_u32(vandq_u32(vcgtzq_f32(gate), vreinterpretq_u32_f32(x)));
}
VOCABULARY vf32 vf32_keep(vf32 v, size_t count, vf32 fill) {
  const uint32_t lanes[4] = {0, 1, 2, 3};
  const uint32x4_t kept =
      vcltq_u32(vld1q_u32(lanes), vdupq_n_u32(count >= 4 ? 4u : (uint32_t)count));
  return vbslq_f32(kept, v, fill);
}
VOCABULARY vf32 vf32_pow2(vf32 n) {
  return vreinterpretq_f32_s32(
      vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23));
}
VOCABULARY vf32 vf32_frexp(vf32 x, vf32 *e) {
  const uint32x4_t bits = vreinterpretq_u32_f32(x);
  const int32x4_t exponent =
      vsubq_s32(vreinterpretq_s32_u32(vshrq_n_u32(bits, 23)), vdupq_n_s32(126));
  *e = vcvtq_f32_s32(exponent);
  return vreinterpretq_f32_u32(
      vorrq_u32(vandq_u32(bits, vdupq_n_u32(0x007fffff)), vdupq_n_u32(0x3f000000)));
}
VOCABULARY vf32 vf32_where_less(vf32 x, vf32 bound, vf32 y, vf32 z) {
  return vbslq_f32(vcltq_f32(x, bound), y, z);
}
VOCABULARY int vf32_any_less(vf32 a, vf32 b) {
  return vmaxvq_u32(vcltq_f32(a, b)) != 0;
}
VOCABULARY void vf32_transpose(const float *src, ptrdiff_t src_row, float *dst,
                               ptrdiff_t dst_row) {
  const float32x4x2_t a = vtrnq_f32(vld1q_f32(src), vld1q_f32(src + src_row));
  const float32x4x2_t b =
      vtrnq_f32(vld1q_f32(src + 2 * src_row), vld1q_f32(src + 3 * src_row));
  for (int i = 0; i < 2; i++) {
    vst1q_f32(dst + i * dst_row,
              vcombine_f32(vget_low_f32(a.val[i]), vget_low_f32(b.val[i])));
    vst1q_f32(dst + (2 + i) * dst_row,
              vcombine_f32(vget_high_f32(a.val[i]), vget_high_f32(b.val[i])));
  }
}

typedef float64x2_t vf64;

VOCABULARY vf64 vf64_zero(void) { return vdupq_n_f64(0.0); }
VOCABULARY vf64 vf64_set1(double x) { return vdupq_n_f64(x); }
VOCABULARY vf64 vf64_load(const double *p) { return vld1q_f64(p); }
VOCABULARY void vf64_store(double *p, vf64 v) { vst1q_f64(p, v); }
VOCABULARY vf64 vf64_add(vf64 a, vf64 b) { return vaddq_f64(a, b); }
VOCABULARY vf64 vf64_sub(vf64 a, vf64 b) { return vsubq_f64(a, b); }
VOCABULARY vf64 vf64_mul(vf64 a, vf64 b) { return vmulq_f64(a, b); }
VOCABULARY vf64 vf64_div(vf64 a, vf64 b) { return vdivq_f64(a, b); }
VOCABULARY vf64 vf64_sqrt(vf64 a) { return vsqrtq_f64(a); }
VOCABULARY vf64 vf64_max(vf64 a, vf64 b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }
VOCABULARY vf64 vf64_abs(vf64 a) { return vabsq_f64(a); }
VOCABULARY vf64 vf64_fma(vf64 a, vf64 b, vf64 c) { return vfmaq_f64(c, a, b); }
VOCABULARY vf64 vf64_fnma(vf64 a, vf64 b, vf64 c) { return vfmsq_f64(c, a, b); }
VOCABULARY vf64 vf64_round(vf64 a) { return vrndnq_f64(a); }
VOCABULARY vf64 vf64_gate(vf64 gate, vf64 x) {
  return vreinterpretq_f64_u64(vandq_u64(vcgtzq_f64(gate), vreinterpretq_u64_f64(x)));
}
VOCABULARY vf64 vf64_keep(vf64 v, size_t count, vf64 fill) {
  const uint64_t lanes[2] = {0, 1};
  const uint64x2_t kept =
      vcltq_u64(vld1q_u64(lanes), vdupq_n_u64(count >= 2 ? 2u : (uint64_t)count));
  return vbslq_f64(kept, v, fill);
}
VOCABULARY vf64 vf64_pow2(vf64 n) {
  return vreinterpretq_f64_s64(
      vshlq_n_s64(vaddq_s64(vcvtq_s64_f64(n), vdupq_n_s64(1023)), 52));
}
VOCABULARY vf64 vf64_frexp(vf64 x, vf64 *e) {
  const uint64x2_t bits = vreinterpretq_u64_f64(x);
  const int64x2_t exponent =
      vsubq_s64(vreinterpretq_s64_u64(vshrq_n_u64(bits, 52)), vdupq_n_s64(1022));
  *e = vcvtq_f64_s64(exponent);
  return vreinterpretq_f64_u64(
      vorrq_u64(vandq_u64(bits, vdupq_n_u64(0x000fffffffffffff)),
                vdupq_n_u64(0x3fe0000000000000)));
}
VOCABULARY vf64 vf64_where_less(vf64 x, vf64 bound, vf64 y, vf64 z) {
  return vbslq_f64(vcltq_f64(x, bound), y, z);
}
VOCABULARY int vf64_any_less(vf64 a, vf64 b) {
  return vmaxvq_u32(vreinterpretq_u32_u64(vcltq_f64(a, b))) != 0;
}
VOCABULARY void vf64_transpose(const double *src, ptrdiff_t src_row, double *dst,
                               ptrdiff_t dst_row) {
  const float64x2_t a = vld1q_f64(src), b = vld1q_f64(src + src_row);
  vst1q_f64(dst, vtrn1q_f64(a, b));
  vst1q_f64(dst + dst_row, vtrn2q_f64(a, b));
}
