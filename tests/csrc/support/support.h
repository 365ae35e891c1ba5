/* Shared by the tests: options, random numbers, reals by dtype, guarded memory. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stddef.h>
#include <stdint.h>

#include "support/check.h"
#include "fastnn.h"
#include "kernels/layout.h"

/* The rows of kinds.h as cases; the parameter matters to some of them only. */
#define WITH_PARAMETER(KIND, ...) {FNN_##KIND, 0.3},
#define KIND_ALONE(KIND, ...) FNN_##KIND,

/* --quick: fewer samples, for emulators and valgrind. */
extern int quick;
/* --memcheck: valgrind has no flush-to-zero, long double is double, and c - a b of
 * zeros may be -0. */
extern int memcheck;
static inline size_t samples(size_t many, size_t few) { return quick ? few : many; }

/* Deterministic and the same on every machine. */
void random_seed(uint64_t seed);
uint64_t random_bits(void);
size_t random_below(size_t n); /* 0 .. n - 1 */
double random_uniform(double lo, double hi);
/* Values between products of which sums behave differently. */
typedef enum distribution {
  UNIFORM,  /* in [-1, 1] */
  POSITIVE, /* in [0, 1]: a sum that grows rounds more and more */
  WILD,     /* of very different sizes, zero sometimes: large terms stay */
  DISTRIBUTIONS
} distribution;
void random_distribution(distribution d);
double random_value(void);

static inline size_t itemsize(fnn_dtype dtype) { return dtype == FNN_F64 ? 8 : 4; }
static inline const char *dtype_name(fnn_dtype dtype) {
  return dtype == FNN_F64 ? "f64" : dtype == FNN_BF16 ? "bf16" : "f32";
}
/* Unit roundoff and smallest normal number. */
static inline double roundoff(fnn_dtype dtype) {
  return dtype == FNN_F64 ? 0x1p-53 : 0x1p-24;
}
/* How far results may be off, in roundoffs: further where the exact value is not
 * exact. */
static inline double limit(fnn_dtype dtype, double roundoffs) {
  return memcheck && dtype == FNN_F64 ? 8 * roundoffs : roundoffs;
}
static inline double smallest(fnn_dtype dtype) {
  return dtype == FNN_F64 ? 0x1p-1022 : 0x1p-126;
}
static inline double real_at(fnn_dtype dtype, const void *p, size_t i) {
  return dtype == FNN_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}
static inline void set_real(fnn_dtype dtype, void *p, size_t i, double value) {
  if (dtype == FNN_F64) ((double *)p)[i] = value;
  else ((float *)p)[i] = (float)value;
}
static inline size_t round_up(size_t n, size_t unit) {
  return (n + unit - 1) / unit * unit;
}

/* `count` values between two guard bands, every byte 0xff (a NaN, whatever the dtype).
 * Misaligned by `offset` values.  AddressSanitizer is told to watch the bands, so that
 * it sees reads as well. */
typedef struct guarded {
  unsigned char *block;
  size_t block_size, begin, bytes;
  void *data;
} guarded;
guarded guard(size_t count, size_t size, size_t offset);
/* Checks the bands and frees. */
void guard_release(guarded *g, const char *what);
/* Reals between bands, random or zero. */
guarded guard_random(fnn_dtype dtype, size_t count, size_t offset);
guarded guard_zeros(fnn_dtype dtype, size_t count);
/* A copy, aligned. */
guarded guard_copy(const guarded *g);
/* 1 if the value was not written. */
int is_untouched(const void *data, size_t size, size_t index);
/* Random values in columns [0, n) of rows `row` apart; with `padded` columns in all,
 * the further ones zero.  What lies beyond stays NaN. */
void fill_rows(fnn_dtype dtype, void *data, size_t rows, size_t row, size_t n,
               size_t padded);
int same_bytes(const guarded *a, const guarded *b);
/* The same, but where valgrind may change the sign of a zero. */
int same_reals(fnn_dtype dtype, const guarded *a, const guarded *b);

/* sum_i a_i b_i and sum_i |a_i b_i|, in double for f32 and long double for f64. */
typedef struct dot {
  long double sum, gauge;
} dot;
dot exact_dot(fnn_dtype dtype, const void *a, ptrdiff_t a_step, const void *b,
              ptrdiff_t b_step, size_t n);

/* The error of a chain of k multiply-adds in units that do not depend on the values:
 * |got - exact| / (u gauge + k times the smallest normal). */
double error_ratio(fnn_dtype dtype, double got, long double exact, long double gauge,
                   size_t k);

/* Sizes (m, k, n) of dense layers to test: i = 0, 1, ...; 0 after the last. */
typedef struct shape {
  size_t m, k, n;
} shape;
int next_shape(size_t i, shape *s);

#endif
