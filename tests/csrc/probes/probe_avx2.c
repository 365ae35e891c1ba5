/* The functions of probe.inc.h, compiled as csrc/simd/isa_avx2.c compiles its
 * kernels. */
#if defined(__x86_64__)
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#include "simd/simd_avx2.h"
#define FNN_ISA avx2
#define FNN_DOUBLE 0
#include "probes/probe.inc.h"
#undef FNN_DOUBLE
#define FNN_DOUBLE 1
#include "probes/probe.inc.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
