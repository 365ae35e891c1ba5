/* The kernels for AVX2 + FMA. */
#if defined(__x86_64__)
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/values.h"
#include "kernels/bfloat16.h"
#include "kernels/layout.h"
#include <immintrin.h>

/* Only what stands in this region may use the instruction set; the flags of the build
 * stay at the baseline, so nothing else can fault on an older CPU. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#include "simd/simd_avx2.h"
#define FNN_ISA avx2
#define FNN_DOUBLE 0
#include "kernels/kernels.inc.h"
#undef FNN_DOUBLE
#define FNN_DOUBLE 1
#include "kernels/kernels.inc.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
