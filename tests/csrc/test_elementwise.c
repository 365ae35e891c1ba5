/* Activations, softmax and sums of magnitudes. */
#include <math.h>
#include <string.h>

#include "support.h"
#include "tests.h"

static void activation_count(fnn_dtype dtype, fnn_activation activation, size_t count) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  guarded x = guard_random(dtype, count, random_below(3));
  guarded y = guard(count, kernels->itemsize, random_below(3));
  guarded dy = guard_random(dtype, count, random_below(3));
  guarded dx = guard(count, kernels->itemsize, random_below(3));
  const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e-40, -1e-40};
  for (size_t i = 0; i < sizeof special / sizeof *special && i < count; i++)
    set_real(dtype, x.data, count - 1 - i, special[i]);
  kernels->activation_forward(activation, x.data, y.data, count);
  kernels->activation_backward(activation, dy.data, y.data, dx.data, count);
  for (size_t i = 0; i < count; i++) {
    const double in = real_at(dtype, x.data, i), out = real_at(dtype, y.data, i);
    const double gradient = real_at(dtype, dy.data, i);
    const double got = real_at(dtype, dx.data, i);
    const int passes = activation == FNN_IDENTITY || in > 0.0;
    if (isnan(in)) CHECK(isnan(out), "act(NaN) = %g", out);
    else CHECK(out == (passes ? in : 0.0), "act(%g) = %g", in, out);
    CHECK(got == (passes && !(activation == FNN_RELU && isnan(in)) ? gradient : 0.0),
          "dy %g, y %g: dx %g", gradient, out, got);
  }
  kernels->activation_forward(activation, x.data, x.data, count); /* in place */
  CHECK(same_bytes(&x, &y), "in place: other bits, %zu values", count);
  kernels->activation_backward(activation, dy.data, y.data, dy.data, count);
  CHECK(same_bytes(&dy, &dx), "backward in place: other bits, %zu values", count);
  guard_release(&x, "x");
  guard_release(&y, "y");
  guard_release(&dy, "dy");
  guard_release(&dx, "dx");
}

void test_activations(fnn_dtype dtype) {
  for (size_t count = 0; count < 70; count++) {
    activation_count(dtype, FNN_IDENTITY, count);
    activation_count(dtype, FNN_RELU, count);
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
