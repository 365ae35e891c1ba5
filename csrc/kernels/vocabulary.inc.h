/* Maps the dtype-free names of the kernels to the vocabulary of the ISA and dtype being
 * compiled: v_add is vf32_add or vf64_add.  Included once per dtype by kernels.inc.h,
 * which sets FNN_DOUBLE. */
#undef real
#undef vec
#undef FNN_VEC
#undef FNN_SUFFIX
#if FNN_DOUBLE
#define real double
#define vec vf64
#define FNN_VEC vf64_
#define FNN_SUFFIX _f64__
#else
#define real float
#define vec vf32
#define FNN_VEC vf32_
#define FNN_SUFFIX _f32__
#endif

#ifndef FNN_VOCABULARY_NAMES
#define FNN_VOCABULARY_NAMES
#define FNN_JOIN2(a, b) a##b
#define FNN_JOIN(a, b) FNN_JOIN2(a, b)
/* fnn_<op>_<dtype>__<isa> */
#define KERNEL(op) FNN_JOIN(FNN_JOIN(fnn_##op, FNN_SUFFIX), FNN_ISA)

#define VL ((size_t)FNN_JOIN(FNN_VEC, lanes))
#define MR ((size_t)FNN_JOIN(FNN_VEC, mr))
#define NR (2 * VL)

#define v_zero FNN_JOIN(FNN_VEC, zero)
#define v_set1 FNN_JOIN(FNN_VEC, set1)
#define v_load FNN_JOIN(FNN_VEC, load)
#define v_store FNN_JOIN(FNN_VEC, store)
#define v_add FNN_JOIN(FNN_VEC, add)
#define v_sub FNN_JOIN(FNN_VEC, sub)
#define v_mul FNN_JOIN(FNN_VEC, mul)
#define v_div FNN_JOIN(FNN_VEC, div)
#define v_sqrt FNN_JOIN(FNN_VEC, sqrt)
#define v_max FNN_JOIN(FNN_VEC, max)
#define v_abs FNN_JOIN(FNN_VEC, abs)
#define v_fma FNN_JOIN(FNN_VEC, fma)
#define v_fnma FNN_JOIN(FNN_VEC, fnma)
#define v_round FNN_JOIN(FNN_VEC, round)
#define v_gate FNN_JOIN(FNN_VEC, gate)
#define v_keep FNN_JOIN(FNN_VEC, keep)
#define v_pow2 FNN_JOIN(FNN_VEC, pow2)
#define v_frexp FNN_JOIN(FNN_VEC, frexp)
#define v_where_less FNN_JOIN(FNN_VEC, where_less)
#define v_any_less FNN_JOIN(FNN_VEC, any_less)
#define v_transpose FNN_JOIN(FNN_VEC, transpose)

/* Of arrays on the stack: no vector of theirs lies across two cache lines. */
#define FNN_ALIGNED __attribute__((aligned(64)))
#define FNN_INLINE static inline __attribute__((always_inline))

/* Reductions over a row are 16 partial sums (value j goes to sum j mod 16) folded in
 * halves: the same bits whatever the vector width. */
enum { REDUCTION = 16 };
#define REDUCTION_VECTORS (REDUCTION / VL)
#endif

FNN_INLINE real KERNEL(fold)(const vec *partial) {
  real value[REDUCTION];
  for (size_t i = 0; i < REDUCTION_VECTORS; i++) v_store(value + i * VL, partial[i]);
  for (size_t half = REDUCTION / 2; half; half /= 2)
    for (size_t i = 0; i < half; i++) value[i] += value[i + half];
  return value[0];
}
