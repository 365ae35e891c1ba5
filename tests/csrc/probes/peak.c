/* How near the micro-kernel comes to the FMA peak of a core.
 *
 * Includes the kernels of one instruction set, because the tile is static in there;
 * tests/bench/compare.py compiles and runs it:
 *
 *   cc -O3 ... -Icsrc -DPEAK_AVX512 tests/csrc/probes/peak.c && ./a.out
 *
 * The peak is that of csrc/kernels/roofline.inc.h.  The tile has its operands in L1,
 * and stores what it accumulated.  Both are timed in turn many times, and the median
 * of their ratios is printed, so that a change of the clock, or a neighbour on the
 * same machine, falls on both. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(PEAK_AVX512)
#define ISA avx512
#include "simd/isa_avx512.c"
#pragma GCC target("avx512f,avx512dq,avx2,fma")
#elif defined(PEAK_AVX2)
#define ISA avx2
#include "simd/isa_avx2.c"
#pragma GCC target("avx2,fma")
#elif defined(PEAK_NEON)
#define ISA neon
#include "simd/isa_neon.c"
#else
#error "define PEAK_AVX512, PEAK_AVX2 or PEAK_NEON"
#endif

enum { ROUNDS = 101, DEPTH = 256 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values) {
  qsort(values, ROUNDS, sizeof *values, ascending);
  return values[ROUNDS / 2];
}

static volatile double sink; /* what is computed must not be optimised away */

#define DTYPE f32
#define SCALAR float
#define VECTOR vf32
#include "probes/peak.inc.h"
#undef DTYPE
#undef SCALAR
#undef VECTOR
#define DTYPE f64
#define SCALAR double
#define VECTOR vf64
#include "probes/peak.inc.h"

int main(void) {
  measure_f32();
  measure_f64();
  return 0;
}
