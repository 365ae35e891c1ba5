/* math.inc.h of every instruction set against libm in double and long double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "probes/probe.h"
#include "support/support.h"
#include "tests.h"

typedef void (*probe)(const void *x, void *y, size_t count);
#define DECLARE_PROBE(op, isa)                                \
  void probe_##op##_f32__##isa(const void *, void *, size_t); \
  void probe_##op##_f64__##isa(const void *, void *, size_t);
#define PROBE_ROW(op, isa) {probe_##op##_f32__##isa, probe_##op##_f64__##isa},
#define PROBES(isa)          \
  PROBED(DECLARE_PROBE, isa) \
  static const probe probes_##isa[][2] = {PROBED(PROBE_ROW, isa)};
PROBES(scalar)
#if defined(__x86_64__)
PROBES(avx2)
PROBES(avx512)
#elif defined(__aarch64__)
PROBES(neon)
#endif

static double logistic(double x) { return 1.0 / (1.0 + exp(-x)); }
static long double logisticl(long double x) { return 1.0L / (1.0L + expl(-x)); }

#if defined(_WIN32)
/* MinGW-w64's sinl and cosl are the x87's, which divides by a pi of 66 bits.  x less a
 * multiple of pi / 2, for |x| < 2^21: the products with the first two parts are exact.
 * Beyond SIN_FAR the kernels have no better ones than the C library's. */
static long double quarter(long double x, long double shift) {
  const long double turns = rintl(x / 1.57079632679489661923L);
  const long double rest = x - turns * 0x1.921fb54442p0L - turns * 0x0.d18469898cp-40L -
                           turns * 0x0.c51701b839a252p-80L;
  const int at = (int)(turns + shift) & 3;
  const long double y = at & 1 ? cosl(rest) : sinl(rest);
  return at & 2 ? -y : y;
}
static long double sine(long double x) {
  return fabsl(x) <= 1.6e6L ? quarter(x, 0) : sinl(x);
}
static long double cosine(long double x) {
  return fabsl(x) <= 1.6e6L ? quarter(x, 1) : cosl(x);
}
#define sinl sine
#define cosl cosine
#endif

/* As in PROBED. */
enum { EXP, LOG, EXPM1, LOG1P, SIGMOID, TANH, ERF, SIN, COS };
static const struct {
  const char *name;
  double (*exact)(double);
  long double (*exactl)(long double);
} functions[] = {{"exp: ulp", exp, expl},
                 {"log: ulp", log, logl},
                 {"expm1: ulp", expm1, expm1l},
                 {"log1p: ulp", log1p, log1pl},
                 {"sigmoid: ulp", logistic, logisticl},
                 {"tanh: ulp", tanh, tanhl},
                 {"erf: ulp", erf, erfl},
                 {"sin: ulp", sin, sinl},
                 {"cos: ulp", cos, cosl}};

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
  if (s->dtype == FNN_F64) return functions[s->function].exactl((long double)x);
  return (long double)functions[s->function].exact(x);
}

static void check_value(const sweep *s, double x, double y) {
  const long double exact = exact_of(s, x);
  const double u = roundoff(s->dtype), least = smallest(s->dtype);
  const double largest = s->dtype == FNN_F64 ? 0x1.fffffffffffffp1023 : 0x1.fffffep127;
  if (isnan((double)exact)) {
    CHECK(isnan(y), "f(%g) = %g, not NaN", x, y);
    return;
  }
  if (s->function == EXP || s->function == SIGMOID) {
    /* the stated limits; 4 ulp to either side of them */
    const long double margin = 8 * (long double)u;
    if (exact < (long double)least * (1 - margin)) {
      CHECK(y == 0.0, "f(%.17g) = %g, not 0", x, y);
      return;
    }
    if (exact < (long double)least * (1 + margin) && y == 0.0) return;
    if (exact > (long double)largest * (1 + margin)) {
      CHECK(y == (double)INFINITY, "f(%.17g) = %g, not infinity", x, y);
      return;
    }
    if (exact > (long double)largest * (1 - margin) && isinf(y)) return;
  }
  if (s->function >= EXPM1 && fabsl(exact) < (long double)least) {
    /* Only x itself is that small. */
    CHECK(fabsl(y - exact) <= fabsl(exact), "f(%.17g) = %.17g", x, y);
    return;
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
  figure(functions[s->function].name, error);
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

/* Every step-th float of all those in [from, to], from > 0. */
static void add_floats(sweep *s, float from, float to, double sign, size_t step) {
  uint32_t first, last;
  memcpy(&first, &from, sizeof first);
  memcpy(&last, &to, sizeof last);
  for (uint64_t bits = first; bits <= last; bits += step) {
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
  const size_t step = samples(499, 40009);
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
  add_floats(s, 0x1p-30f, 800.0f, 1.0, step);
  add_floats(s, 0x1p-30f, 800.0f, -1.0, step);
  add_floats(s, 800.0f, 3e38f, -1.0, step);
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
  add_floats(s, 0x1p-126f, 0x1.fffffep127f, 1.0, samples(499, 40009));
  for (size_t i = 0; i < samples(1000000, 30000); i++) {
    const double x = random_uniform(0.4, 2.1);
    add(s, dtype == FNN_F64 ? x : (double)(float)x);
    if (dtype == FNN_F64) add(s, ldexp(x, (int)random_below(2000) - 1000));
  }
  flush(s);
  free(s);
}

/* Every size and sign in [low, high], and where reductions change over. */
static void sweep_range(int function, fnn_dtype dtype, double low, double high) {
  const size_t step = samples(2003, 40009);
  sweep *s = sweep_new(function, dtype);
  static const double near[] = {0.0,   0x1p-30,    0.25,       0.34657359,  0.41421356,
                                0.5,   0.54930614, 0.69314718, 1.0,         1.03972077,
                                2.0,   3.0,        3.92,       5.93,        9.01,
                                19.06, 50.0,       87.3365402, 708.39641853};
  static const double far[] = {1e4, 3e38, INFINITY, NAN, 1e-40, 0x1p-126};
  for (int sign = -1; sign <= 1; sign += 2) {
    for (size_t i = 0; i < sizeof near / sizeof *near; i++)
      if (sign * near[i] > low && sign * near[i] < high) add_around(s, sign * near[i]);
    for (size_t i = 0; i < sizeof far / sizeof *far; i++)
      if (!(sign * far[i] < low) && !(sign * far[i] > high)) add(s, sign * far[i]);
    if ((sign < 0 ? -low : high) > 0.0)
      add_floats(s, 0x1p-126f, (float)fmin(sign < 0 ? -low : high, 3e38), sign, step);
  }
  add(s, fmax(low, -3e38));
  add(s, fmin(high, 3e38));
  const double widths[] = {2.0, 20.0, dtype == FNN_F64 ? 710.0 : 90.0};
  for (size_t i = 0; i < samples(300000, 30000); i++)
    add(s, random_uniform(fmax(low, -widths[i % 3]), fmin(high, widths[i % 3])));
  flush(s);
  free(s);
}

void test_expm1(fnn_dtype dtype) { sweep_range(EXPM1, dtype, -INFINITY, 0.0); }
void test_log1p(fnn_dtype dtype) { sweep_range(LOG1P, dtype, 0.0, 1.0); }
void test_sigmoid(fnn_dtype dtype) { sweep_range(SIGMOID, dtype, -INFINITY, INFINITY); }
void test_tanh(fnn_dtype dtype) { sweep_range(TANH, dtype, -INFINITY, INFINITY); }
void test_erf(fnn_dtype dtype) { sweep_range(ERF, dtype, -INFINITY, INFINITY); }
/* Where the reduction changes over, next to the zeros of both functions, and where libm
 * takes over. */
static void sweep_turns(int function, fnn_dtype dtype) {
  sweep *s = sweep_new(function, dtype);
  const double quarter = 0.78539816339744830962, far = dtype == FNN_F64 ? 1.6e6 : 6.4e3;
  const double ends[] = {0.0, -0.0, far, -far, 1e-40, 1e30, -INFINITY, INFINITY, NAN};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) add(s, ends[i]);
  add_around(s, far);
  for (double n = 1.0; n * quarter < 1.01 * far; n += 1.0 + floor(n / 1000.0)) {
    add_around(s, n * quarter);
    add_around(s, -n * quarter);
  }
  const size_t step = samples(499, 40009);
  add_floats(s, 0x1p-126f, 3e38f, 1.0, step);
  add_floats(s, 0x1p-126f, 3e38f, -1.0, step);
  const double widths[] = {4.0, 100.0, 2.0 * far};
  for (size_t i = 0; i < samples(1000000, 30000); i++)
    add(s, random_uniform(-widths[i % 3], widths[i % 3]));
  flush(s);
  free(s);
}

void test_sin(fnn_dtype dtype) { sweep_turns(SIN, dtype); }
void test_cos(fnn_dtype dtype) { sweep_turns(COS, dtype); }

static void compare_isas(size_t function, fnn_dtype dtype) {
  enum { COUNT = 1 << 14 };
  guarded x = guard(COUNT, itemsize(dtype), 0), expected = {0};
  for (size_t i = 0; i < COUNT; i++) {
    double value = ldexp(random_uniform(0.5, 1.0), (int)random_below(40) - 28);
    if (function == LOG1P) value = fmin(value, 1.0);
    else if (function == EXPM1 || (function != LOG && i % 2)) value = -value;
    set_real(dtype, x.data, i, value);
  }
  for (size_t i = 0; fnn_built_isa(i); i++) {
    if (!strcmp(fnn_built_isa(i), "scalar") || !fnn_select_isa(fnn_built_isa(i)))
      continue;
    guarded y = guard(COUNT, itemsize(dtype), 0);
    probe_of((int)function, dtype)(x.data, y.data, COUNT);
    if (!expected.data) expected = guard_copy(&y);
    CHECK(same_bytes(&y, &expected), "%s of %s: other bits", functions[function].name,
          fnn_active_isa());
    guard_release(&y, "y");
  }
  if (expected.data) guard_release(&expected, "copy");
  guard_release(&x, "x");
}

/* Lane for lane the bits of every instruction set with FMA. */
void test_functions_on_any_isa(void) {
  const char *before = fnn_active_isa();
  for (size_t f = 0; f < sizeof functions / sizeof *functions; f++)
    for (int i = 0; i < 2; i++) compare_isas(f, i ? FNN_F64 : FNN_F32);
  fnn_select_isa(before);
}
