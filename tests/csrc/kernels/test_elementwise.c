/* Activations, softmax, predicted values and sums of magnitudes. */
#include <math.h>
#include <string.h>

#include "base/facts.h"
#include "support/formulas.h"
#include "support/support.h"
#include "tests.h"

/* Each of them, and the parameters that differ in kind. */
static const fnn_activation activations[] = {
    FNN_ACTIVATIONS(WITH_PARAMETER){FNN_LEAKY_RELU, 0.0},
    {FNN_LEAKY_RELU, 0.01},
    {FNN_ELU, 1.0}};
enum { ACTIVATIONS = sizeof activations / sizeof *activations };

/* With the parameter as the dtype holds it. */
static fnn_activation in_dtype(fnn_dtype dtype, fnn_activation activation) {
  double parameter;
  set_real(dtype, &parameter, 0, activation.parameter);
  activation.parameter = real_at(dtype, &parameter, 0);
  return activation;
}

/* How much the relative error of an argument of exp grows, at most. */
static long double amplification(fnn_activation activation, long double x) {
  if (activation.kind == FNN_GELU) return x * x;
  if (activation.kind == FNN_GELU_TANH) return 1.6L * fabsl(x + 0.045L * x * x * x);
  return 0.0L;
}

static void check_forward(fnn_dtype dtype, fnn_activation activation, double x,
                          double y) {
  const long double exact =
      activation_formula(in_dtype(dtype, activation), (long double)x);
  const long double u = (long double)roundoff(dtype);
  const long double unit = u * fabsl(exact) * (1 + amplification(activation, x)) +
                           (long double)smallest(dtype) * fmaxl(1.0L, fabsl(x));
  const double error = (double)(fabsl(y - exact) / unit);
  figure(fnn_activation_name(activation.kind), error);
  CHECK(error <= limit(dtype, 10.0), "%s(%.17g) = %.17g, not %.17Lg: %g u",
        fnn_activation_name(activation.kind), x, y, exact, error);
}

/* The slope comes from values of size 1 that are rounded. */
static void check_backward(fnn_dtype dtype, fnn_activation activation, double x,
                           double dy, double dx) {
  if (memcheck && dtype == FNN_F64) return; /* a difference of doubles is too coarse */
  const long double exact =
      activation_slope(in_dtype(dtype, activation), (long double)x);
  const double u = roundoff(dtype);
  const double error =
      fabs((double)(dx - dy * exact)) / (u * fabs(dy) + smallest(dtype));
  figure(fnn_activation_name(activation.kind), error);
  CHECK(error <= limit(dtype, 10.0), "%s'(%.17g): %.17g, not %.17Lg: %g u",
        fnn_activation_name(activation.kind), x, dx / dy, exact, error);
}

static void activation_count(fnn_dtype dtype, fnn_activation activation, size_t count,
                             double spread) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  guarded x = guard(count, kernels->itemsize, random_below(3));
  guarded y = guard(count, kernels->itemsize, random_below(3));
  guarded dy = guard_random(dtype, count, random_below(3));
  guarded dx = guard(count, kernels->itemsize, random_below(3));
  for (size_t i = 0; i < count; i++)
    set_real(dtype, x.data, i, random_uniform(-spread, spread));
  kernels->activation_forward(activation, x.data, y.data, count);
  const guarded *saved = fnn_saves_input(activation.kind) ? &x : &y;
  kernels->activation_backward(activation, dy.data,
                               activation.kind == FNN_IDENTITY ? NULL : saved->data,
                               dx.data, count);
  for (size_t i = 0; i < count; i++) {
    const double in = real_at(dtype, x.data, i);
    check_forward(dtype, activation, in, real_at(dtype, y.data, i));
    if (fabs(in) > 0.01 && /* where ELU's derivative has a kink itself */
        !activation_has_kink(in_dtype(dtype, activation), (long double)in))
      check_backward(dtype, activation, in, real_at(dtype, dy.data, i),
                     real_at(dtype, dx.data, i));
  }
  guarded input = guard_copy(&x);
  kernels->activation_forward(activation, x.data, x.data, count);
  CHECK(same_bytes(&x, &y), "in place: other bits, %zu values", count);
  memcpy(x.data, input.data, x.bytes);
  kernels->activation_backward(activation, dy.data, saved->data, dy.data, count);
  CHECK(same_bytes(&dy, &dx), "backward in place: other bits, %zu values", count);
  guard_release(&input, "copy");
  guard_release(&x, "x");
  guard_release(&y, "y");
  guard_release(&dy, "dy");
  guard_release(&dx, "dx");
}

void test_activations(fnn_dtype dtype) {
  const size_t lanes = fnn_kernels_for(dtype)->lanes;
  const size_t counts[] = {0, 1, lanes - 1, lanes, lanes + 1, 33, samples(20000, 500)};
  static const double spreads[] = {0.1, 2.0, 8.0, 120.0, 800.0};
  for (size_t a = 0; a < ACTIVATIONS; a++)
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
      for (size_t s = 0; s < sizeof spreads / sizeof *spreads; s++)
        activation_count(dtype, activations[a], counts[c], spreads[s]);
}

/* Far out and at 0: y and dy/dx of -infinity, -0, 0 and infinity. */
void test_activation_limits(fnn_dtype dtype) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const double inf = INFINITY;
  const double values[] = {-inf, -3e38, -1e4, -0.0, 0.0, 1e4, 3e38, inf, NAN};
  enum { COUNT = sizeof values / sizeof *values };
  for (size_t a = 0; a < ACTIVATIONS; a++) {
    const fnn_activation activation = activations[a];
    double x[COUNT], y[COUNT], dy[COUNT], dx[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
      set_real(dtype, x, i, values[i]);
      set_real(dtype, dy, i, 1.0);
    }
    kernels->activation_forward(activation, x, y, COUNT);
    const void *saved = fnn_saves_input(activation.kind) ? x : y;
    kernels->activation_backward(activation, dy, saved, dx, COUNT);
    const char *name = fnn_activation_name(activation.kind);
    for (size_t i = 0; i < COUNT; i++) {
      const double in = values[i], out = real_at(dtype, y, i);
      const double slope = real_at(dtype, dx, i);
      if (isnan(in)) {
        CHECK(isnan(out), "%s(NaN) = %g", name, out);
        CHECK(isnan(slope) || activation_is_gate(activation), "%s'(NaN) = %g", name,
              slope);
        continue;
      }
      /* As far out as the definition can be computed it has come to its limits. */
      const long double far = in < 0.0 ? -1e4L : 1e4L;
      const double right = (double)(in == 0.0 ? activation_slope_below(activation, 0.0L)
                                              : activation_slope(activation, far));
      const double doubt = in == 0.0 ? 5e-15 : 0.0; /* of the difference */
      CHECK(fabs(slope - right) <= 8 * roundoff(dtype) + doubt, "%s'(%g) = %g", name,
            in, slope);
      if (in == 0.0) continue;
      double there = (double)activation_formula(activation, far);
      if (fabs(there) > 10) there = right * real_at(dtype, x, i); /* on the way */
      CHECK(out == there || fabs(out - there) <= 8 * roundoff(dtype) * fabs(there),
            "%s(%g) = %g", name, in, out);
    }
  }
}

static void softmax_shape(fnn_dtype dtype, size_t rows, size_t n, double spread) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t padded = round_up(n, kernels->lanes), row = padded + random_below(3);
  guarded z = guard(rows * row, kernels->itemsize, 0);
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < n; j++)
      set_real(dtype, z.data, i * row + j, random_uniform(-spread, spread));
  guarded before = guard_copy(&z), alone = guard_copy(&z);
  kernels->softmax(z.data, (ptrdiff_t)row, n, rows);
  double worst = 0.0, worst_sum = 0.0;
  for (size_t i = 0; i < rows; i++) {
    long double top = -INFINITY, total = 0.0L;
    double sum = 0.0;
    for (size_t j = 0; j < n; j++)
      top = fmaxl(top, (long double)real_at(dtype, before.data, i * row + j));
    for (size_t j = 0; j < n; j++)
      total += expl((long double)real_at(dtype, before.data, i * row + j) - top);
    for (size_t j = 0; j < n; j++) {
      const double p = real_at(dtype, z.data, i * row + j);
      const long double x = (long double)real_at(dtype, before.data, i * row + j) - top;
      sum += p;
      worst = fmax(worst, fabs(p - (double)(expl(x) / total)) / roundoff(dtype));
    }
    worst_sum = fmax(worst_sum, fabs(sum - 1.0) / roundoff(dtype));
    for (size_t j = padded; j < row; j++)
      CHECK(is_untouched(z.data, kernels->itemsize, i * row + j), "beyond the row");
    /* A row does not depend on its neighbours. */
    char *own = (char *)alone.data + i * row * kernels->itemsize;
    kernels->softmax(own, (ptrdiff_t)row, n, 1);
    CHECK(memcmp(own, (char *)z.data + i * row * kernels->itemsize,
                 n * kernels->itemsize) == 0,
          "row %zu alone: other bits", i);
  }
  figure("softmax: error in u", worst);
  figure("softmax: error of the sum in n u", worst_sum / (double)n);
  CHECK(worst <= limit(dtype, 8.0), "%g u for n = %zu", worst, n);
  CHECK(worst_sum <= (double)n + 2.0, "the sum is off by %g u for n = %zu", worst_sum,
        n);
  guard_release(&z, "z");
  guard_release(&before, "copy");
  guard_release(&alone, "copy");
}

void test_softmax(fnn_dtype dtype) {
  static const size_t widths[] = {1,  2,  3,  7,  8,  9,   10,  15,
                                  16, 17, 31, 32, 33, 100, 1000};
  static const double spreads[] = {0.0, 1.0, 30.0, 1e4};
  for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
    for (size_t s = 0; s < sizeof spreads / sizeof *spreads; s++)
      softmax_shape(dtype, 1 + i % 4, widths[i], spreads[s]);
}

static void softmax_backward_shape(fnn_dtype dtype, size_t rows, size_t n) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t padded = round_up(n, kernels->lanes), row = padded + random_below(3);
  const size_t size = kernels->itemsize;
  /* Beyond n, the gradient holds NaN and the output of softmax 0. */
  guarded d = guard(rows * row, size, 0), p = guard(rows * row, size, 0);
  fill_rows(dtype, d.data, rows, row, n, n);
  fill_rows(dtype, p.data, rows, row, n, padded);
  kernels->softmax(p.data, (ptrdiff_t)row, n, rows);
  guarded before = guard_copy(&d), alone = guard_copy(&d);
  kernels->softmax_backward(d.data, p.data, (ptrdiff_t)row, n, rows);
  double worst = 0.0;
  for (size_t i = 0; i < rows; i++) {
    long double sum = 0.0L, gauge = 0.0L;
    for (size_t j = 0; j < n; j++) {
      const long double term = (long double)real_at(dtype, before.data, i * row + j) *
                               (long double)real_at(dtype, p.data, i * row + j);
      sum += term;
      gauge += fabsl(term);
    }
    for (size_t j = 0; j < n; j++) {
      const long double out = (long double)real_at(dtype, p.data, i * row + j);
      const long double in = (long double)real_at(dtype, before.data, i * row + j);
      const long double error =
          fabsl((long double)real_at(dtype, d.data, i * row + j) - out * (in - sum));
      const long double unit =
          (long double)roundoff(dtype) * out * (fabsl(in) + fabsl(sum) + gauge);
      worst = fmax(worst, (double)(error / (unit + (long double)smallest(dtype))));
    }
    for (size_t j = n; j < row; j++)
      if (j < padded)
        CHECK(real_at(dtype, d.data, i * row + j) == 0.0, "the padding is not zero");
      else CHECK(is_untouched(d.data, size, i * row + j), "beyond the row");
    char *own = (char *)alone.data + i * row * size;
    kernels->softmax_backward(own, (char *)p.data + i * row * size, (ptrdiff_t)row, n,
                              1);
    CHECK(memcmp(own, (char *)d.data + i * row * size, n * size) == 0,
          "row %zu alone: other bits", i);
  }
  figure("softmax backward: error in u", worst);
  CHECK(worst <= limit(dtype, 8.0), "%g u for n = %zu", worst, n);
  guard_release(&d, "d");
  guard_release(&p, "p");
  guard_release(&before, "copy");
  guard_release(&alone, "copy");
}

void test_softmax_backward(fnn_dtype dtype) {
  static const size_t widths[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 300};
  for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
    softmax_backward_shape(dtype, 1 + i % 4, widths[i]);
}

static void predicted_shape(fnn_dtype dtype, fnn_loss_kind kind, size_t rows,
                            size_t n) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const size_t row = round_up(n, kernels->lanes) + random_below(3);
  guarded z = guard(rows * row, kernels->itemsize, 0);
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < n; j++)
      set_real(dtype, z.data, i * row + j, random_uniform(-30.0, 30.0));
  guarded before = guard_copy(&z);
  kernels->predict_values(kind, z.data, (ptrdiff_t)row, n, rows);
  if (kind == FNN_SOFTMAX_CROSS_ENTROPY)
    kernels->softmax(before.data, (ptrdiff_t)row, n, rows);
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < row; j++) {
      const size_t at = i * row + j;
      if (j >= n) {
        if (kind != FNN_SOFTMAX_CROSS_ENTROPY)
          CHECK(is_untouched(z.data, kernels->itemsize, at), "beyond the row");
        continue;
      }
      const double in = real_at(dtype, before.data, at);
      const double got = real_at(dtype, z.data, at);
      const double value = kind == FNN_POISSON                ? exp(in)
                           : kind == FNN_BINARY_CROSS_ENTROPY ? 1.0 / (1.0 + exp(-in))
                                                              : in;
      const double error = fabs(got - value) / (roundoff(dtype) * value);
      if (value == in) CHECK(got == in, "%g became %g", in, got);
      else CHECK(error <= limit(dtype, 10.0), "%g of %g: %g u", got, in, error);
    }
  guard_release(&z, "z");
  guard_release(&before, "copy");
}

void test_predicted_values(fnn_dtype dtype) {
  static const size_t widths[] = {1, 2, 7, 8, 9, 16, 17, 33};
  for (fnn_loss_kind kind = FNN_SOFTMAX_CROSS_ENTROPY; kind <= FNN_POISSON; kind++)
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
      predicted_shape(dtype, kind, 1 + i % 3, widths[i]);
}

void test_magnitude(fnn_dtype dtype) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  for (size_t count = 0; count < 200; count++) {
    guarded x = guard_random(dtype, count, random_below(4));
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) sum += fabs(real_at(dtype, x.data, i));
    const double got = kernels->magnitude(x.data, count);
    CHECK(fabs(got - sum) <= 200 * roundoff(dtype) * sum, "%g, not %g", got, sum);
    if (count) { /* one bad value anywhere shows */
      const size_t at = random_below(count);
      set_real(dtype, x.data, at, count % 2 ? NAN : -INFINITY);
      CHECK(!(kernels->magnitude(x.data, count) < INFINITY), "value %zu of %zu is bad",
            at, count);
    }
    guard_release(&x, "x");
  }
}
