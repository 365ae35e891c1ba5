/* The bfloat16 products for AVX-512 BF16 (with F + DQ + BW). */
#if defined(__x86_64__)
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/bfloat16.h"
#include "kernels/layout.h"
#include <immintrin.h>

/* As in isa_avx512.c: only what stands in this region may use the instruction set. */
#if defined(__clang__)
#pragma clang attribute push(                                                 \
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512bf16,avx2,fma"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512bf16,avx2,fma")
#endif

#include "simd/simd_avx512.h"
#include "simd/simd_avx512bf16.h"
#include "kernels/dense/bfloat16.inc.h"

/* As KERNEL(multiply_adds) of roofline.inc.h. */
static double BF16(multiply_adds)(size_t steps) {
  enum { CHAINS = 2 * MR };
  static const uint32_t half = 0x3f003f00u, quarter = 0x3e803e80u;
  const pairs a = pairs_set1(&half), b = pairs_set1(&quarter);
  vf32 acc[CHAINS];
#pragma GCC unroll 32
  for (int i = 0; i < CHAINS; i++) acc[i] = vf32_set1((float)i);
  for (size_t s = 0; s < steps; s++) {
#pragma GCC unroll 32
    for (int i = 0; i < CHAINS; i++) acc[i] = pairs_fma(a, b, acc[i]);
  }
  double sum = 0.0;
  for (int i = 0; i < CHAINS; i++) sum += BF16(sum_lanes)(acc[i]);
  return sum;
}

const fnn_bf16_kernels fnn_bf16_kernels__avx512 = {
    .values = 2,
    .round_rows = BF16(round_rows),
    .round_panel = BF16(round_panel),
    .forward = BF16(forward),
    .backward_input = BF16(backward_input),
    .backward_weights = BF16(backward_weights),
    .multiply_adds = BF16(multiply_adds),
    .step_values = (size_t)2 * 2 * MR * VL,
};

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
