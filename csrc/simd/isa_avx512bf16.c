/* The bfloat16 products for AVX-512 BF16 (with F + DQ + BW). */
#if defined(__x86_64__)
#include <assert.h>
#include <string.h>

#include "kernels/bfloat16.h"
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

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
