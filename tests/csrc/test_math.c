/* exp and log of every instruction set against libm's in double and long double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "tests.h"

typedef void (*probe)(const void *x, void *y, size_t count);
#define PROBES(isa)                                        \
  void probe_exp_f32__##isa(const void *, void *, size_t); \
  void probe_exp_f64__##isa(const void *, void *, size_t); \
  void probe_log_f32__##isa(const void *, void *, size_t); \
  void probe_log_f64__##isa(const void *, void *, size_t); \
  static const probe probes_##isa[2][2] = {                \
      {probe_exp_f32__##isa, probe_exp_f64__##isa},        \
      {probe_log_f32__##isa, probe_log_f64__##isa}};
PROBES(scalar)
#if defined(__x86_64__)
PROBES(avx2)
PROBES(avx512)
#elif defined(__aarch64__)
PROBES(neon)
#endif

enum { EXP, LOG };

static probe probe_of(int function, fnn_dtype dtype) {
  const char *isa = fnn_active_isa();
#if defined(__x86_64__)
  if (!strcmp(isa, "avx512")) return probes_avx512[function][dtype];
  if (!strcmp(isa, "avx2")) return probes_avx2[function][dtype];
#elif defined(__aarch64__)
  if (!strcmp(isa, "neon")) return probes_neon[function][dtype];
#endif
  CHECK(!strcmp(isa, "scalar"), "no probe for %s", isa);
  return probes_scalar[function][dtype];
}

/* Values go through the probe in blocks. */
enum { BLOCK = 4096 };
typedef struct sweep {
  fnn_dtype dtype;
  int function;
  probe run;
  size_t used;
  double x[BLOCK], y[BLOCK]; /* of the dtype */
} sweep;

static long double exact_of(const sweep *s, double x) {
  if (s->dtype == FNN_F64) return s->function == EXP ? expl(x) : logl(x);
  return (long double)(s->function == EXP ? exp(x) : log(x));
}

static void check_value(const sweep *s, double x, double y) {
  const long double exact = exact_of(s, x);
  const double u = roundoff(s->dtype), least = smallest(s->dtype);
  const double largest = s->dtype == FNN_F64 ? 0x1.fffffffffffffp1023 : 0x1.fffffep127;
  if (isnan(x)) {
    CHECK(isnan(y), "f(NaN) = %g", y);
    return;
  }
  if (s->function == EXP) { /* the stated limits; 4 ulp to either side of them */
    const long double margin = 8 * (long double)u;
    if (exact < (long double)least * (1 - margin)) {
      CHECK(y == 0.0, "exp(%.17g) = %g, not 0", x, y);
      return;
    }
    if (exact < (long double)least * (1 + margin) && y == 0.0) return;
    if (exact > (long double)largest * (1 + margin)) {
      CHECK(y == (double)INFINITY, "exp(%.17g) = %g, not infinity", x, y);
      return;
    }
    if (exact > (long double)largest * (1 - margin) && isinf(y)) return;
  }
  if (isinf((double)exact)) {
    CHECK(y == (double)exact, "f(%.17g) = %g, not %Lg", x, y, exact);
    return;
  }
  int exponent;
  frexpl(exact, &exponent);
  const long double ulp = ldexpl(2 * (long double)u, exponent - 1);
  const double error =
      exact == 0 ? (y == 0.0 ? 0.0 : INFINITY) : (double)(fabsl(y - exact) / ulp);
  figure(s->function == EXP ? "exp: ulp" : "log: ulp", error);
  CHECK(error <= limit(s->dtype, 4.0), "f(%.17g) = %.17g, not %.17Lg: %g ulp", x, y,
        exact, error);
}

static void flush(sweep *s) {
  const size_t whole = round_up(s->used, 16);
  for (size_t i = s->used; i < whole; i++) set_real(s->dtype, s->x, i, 1.0);
  s->run(s->x, s->y, whole);
  for (size_t i = 0; i < s->used; i++)
    check_value(s, real_at(s->dtype, s->x, i), real_at(s->dtype, s->y, i));
  s->used = 0;
}

static void add(sweep *s, double x) {
  set_real(s->dtype, s->x, s->used++, x);
  if (s->used == BLOCK) flush(s);
}

/* x and its neighbours in the dtype. */
static void add_around(sweep *s, double x) {
  double below = x, above = x;
  add(s, x);
  for (int i = 0; i < 8; i++) {
    below = s->dtype == FNN_F64 ? nextafter(below, -INFINITY)
                                : (double)nextafterf((float)below, -INFINITY);
    above = s->dtype == FNN_F64 ? nextafter(above, INFINITY)
                                : (double)nextafterf((float)above, INFINITY);
    add(s, below);
    add(s, above);
  }
}

/* Every 4099th float of all those in [from, to], from > 0. */
static void add_floats(sweep *s, float from, float to, double sign) {
  uint32_t first, last;
  memcpy(&first, &from, sizeof first);
  memcpy(&last, &to, sizeof last);
  for (uint64_t bits = first; bits <= last; bits += samples(499, 40009)) {
    const uint32_t pattern = (uint32_t)bits;
    float value;
    memcpy(&value, &pattern, sizeof value);
    add(s, sign * (double)value);
  }
}

static sweep *sweep_new(int function, fnn_dtype dtype) {
  sweep *s = calloc(1, sizeof *s);
  if (!s) abort();
  s->dtype = dtype;
  s->function = function;
  s->run = probe_of(function, dtype);
  return s;
}

void test_exp(fnn_dtype dtype) {
  sweep *s = sweep_new(EXP, dtype);
  const double ends[] = {0.0,
                         -0.0,
                         1.0,
                         -1.0,
                         88.7228317,
                         88.72284,
                         -87.33654475,
                         709.782712893384,
                         -708.396418532264,
                         0.34657359,
                         -0.34657359};
  const double far[] = {-1e4, 1e4,    -3e38,  3e38, 1e-40, -1e-40, -INFINITY, INFINITY,
                        NAN,  -103.9, -745.1, 89.0, 710.0, -88.0,  -709.0};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) add_around(s, ends[i]);
  for (size_t i = 0; i < sizeof far / sizeof *far; i++) add(s, far[i]);
  add_floats(s, 0x1p-30f, 800.0f, 1.0);
  add_floats(s, 0x1p-30f, 800.0f, -1.0);
  add_floats(s, 800.0f, 3e38f, -1.0);
  for (int n = -1074; n <= 1024; n++) /* where the reduction changes over */
    add_around(s, (n + 0.5) * 0.69314718055994530942);
  for (size_t i = 0; i < samples(1000000, 30000); i++)
    add(s,
        dtype == FNN_F64 ? random_uniform(-712.0, 712.0) : random_uniform(-90.0, 90.0));
  flush(s);
  free(s);
}

void test_log(fnn_dtype dtype) {
  sweep *s = sweep_new(LOG, dtype);
  for (int e = -125; e <= 127; e++) {
    add_around(s, ldexp(1.0, e));
    add_around(s, ldexp(0.70710678118654752440, e));
  }
  add_floats(s, 0x1p-126f, 0x1.fffffep127f, 1.0);
  for (size_t i = 0; i < samples(1000000, 30000); i++) {
    const double x = random_uniform(0.4, 2.1);
    add(s, dtype == FNN_F64 ? x : (double)(float)x);
    if (dtype == FNN_F64) add(s, ldexp(x, (int)random_below(2000) - 1000));
  }
  flush(s);
  free(s);
}
