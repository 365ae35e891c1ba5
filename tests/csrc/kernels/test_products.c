/* The three products of a dense layer and the bias gradient, straight through the
 * kernel table: against exact sums, between guard bands, and the same bits however
 * split.
 *
 * A ratio of k + 2 can never be exceeded by k + 1 roundings. 8 is what sums of up to
 * 4096 terms of changing sign stay far below, so a lost bit of accuracy shows. (Terms
 * of one sign, or a few large ones, make the roundings of one chain of sums as large as
 * its result: then the ratio grows with the square root of k, and only the first
 * holds.) */
#include <math.h>
#include <string.h>

#include "support/support.h"
#include "tests.h"

static distribution use_distribution(size_t i) {
  const distribution d = (distribution)(i % DISTRIBUTIONS);
  random_distribution(d);
  return d;
}

static void check_ratio(const char *const names[DISTRIBUTIONS], distribution d,
                        double ratio, size_t depth, const shape *s) {
  figure(names[d], ratio);
  CHECK(ratio <= (double)depth + 2.0, "%s of (%zu, %zu) by (%zu, %zu): ratio %g",
        names[d], s->m, s->k, s->k, s->n, ratio);
  CHECK(d != UNIFORM || depth > 4096 || ratio <= 8.0,
        "%s of (%zu, %zu) by (%zu, %zu): ratio %g", names[d], s->m, s->k, s->k, s->n,
        ratio);
}

#define NAMES(what)                                                                \
  static const char *const names[DISTRIBUTIONS] = {what ", uniform: error ratio",  \
                                                   what ", positive: error ratio", \
                                                   what ", wild: error ratio"}

/* Everything but rows [0, m) of columns [0, allowed) must still hold the canary. */
static void check_padding(const char *what, const guarded *g, size_t size, size_t rows,
                          size_t row, size_t allowed) {
  size_t touched = 0;
  for (size_t i = 0; i < rows; i++)
    for (size_t j = allowed; j < row; j++)
      touched += !is_untouched(g->data, size, i * row + j);
  CHECK(touched == 0, "%zu values beyond the columns of %s were written", touched,
        what);
}

static size_t cut(size_t n) { return random_below(n + 1); }

/* A packed random (k, n) matrix, and the same row-major at *plain. */
static guarded random_packed(const fnn_kernels *kernels, size_t k, size_t n,
                             guarded *plain) {
  *plain = guard_random(kernels->dtype, k * n, 0);
  guarded packed =
      guard(fnn_panels(kernels, n) * kernels->nr * k, kernels->itemsize, 0);
  kernels->pack(plain->data, (ptrdiff_t)n, k, n, packed.data);
  return packed;
}

static void forward_shape(const fnn_kernels *kernels, const shape *s,
                          fnn_activation_kind activation, distribution d) {
  NAMES("forward");
  const fnn_dtype dtype = kernels->dtype;
  const size_t padded = round_up(s->n, kernels->lanes),
               panels = fnn_panels(kernels, s->n);
  const size_t x_row = s->k + random_below(5), y_row = padded + random_below(5);
  guarded plain, w = random_packed(kernels, s->k, s->n, &plain);
  guarded b = guard_zeros(dtype, panels * kernels->nr);
  /* User memory: aligned to its own type only, NaN between the rows. */
  guarded x = guard(s->m * x_row, kernels->itemsize, random_below(4));
  guarded y = guard(s->m * y_row, kernels->itemsize, 0);
  fill_rows(dtype, b.data, 1, 0, s->n, s->n);
  fill_rows(dtype, x.data, s->m, x_row, s->k, s->k);
  fnn_forward f = {.x = x.data,
                   .x_row = (ptrdiff_t)x_row,
                   .w = w.data,
                   .b = b.data,
                   .y = y.data,
                   .y_row = (ptrdiff_t)y_row,
                   .k = s->k,
                   .n = s->n,
                   .activation = {activation, 0.0}};
  const double magnitude = kernels->dense_forward(&f, 0, s->m, 0, panels);

  double worst = 0.0;
  long double sum = 0.0L;
  for (size_t i = 0; i < s->m; i++)
    for (size_t j = 0; j < s->n; j++) {
      const char *row = (const char *)x.data + i * x_row * kernels->itemsize;
      const char *column = (const char *)plain.data + j * kernels->itemsize;
      dot exact = exact_dot(dtype, row, 1, column, (ptrdiff_t)s->n, s->k);
      const double bias = real_at(dtype, b.data, j);
      exact.sum += (long double)bias;
      exact.gauge += (long double)fabs(bias);
      sum += fabsl(exact.sum);
      if (activation == FNN_RELU && exact.sum < 0.0L) exact.sum = 0.0L;
      const double got = real_at(dtype, y.data, i * y_row + j);
      worst = fmax(worst, error_ratio(dtype, got, exact.sum, exact.gauge, s->k));
    }
  check_ratio(names, d, worst, s->k, s);
  CHECK(fabs(magnitude - (double)sum) <= 1e-3 * (double)sum + 1e-9,
        "magnitude %g, not %g", magnitude, (double)sum);
  check_padding("y", &y, kernels->itemsize, s->m, y_row, padded);

  /* In pieces: rows and panels, the narrow pieces with tiles of other shapes. */
  guarded pieces = guard(s->m * y_row, kernels->itemsize, 0);
  const size_t rows[] = {0, cut(s->m), s->m}, cuts[] = {0, cut(panels), panels};
  f.y = pieces.data;
  for (int r = 0; r < 2; r++)
    for (int p = 0; p < 2; p++) {
      const size_t low = rows[r], high = rows[r + 1];
      if (low < high) kernels->dense_forward(&f, low, high, cuts[p], cuts[p + 1]);
    }
  CHECK(same_bytes(&y, &pieces),
        "(%zu, %zu, %zu) cut at row %zu, panel %zu: other bits", s->m, s->k, s->n,
        rows[1], cuts[1]);
  guard_release(&plain, "w");
  guard_release(&w, "packed w");
  guard_release(&b, "b");
  guard_release(&x, "x");
  guard_release(&y, "y");
  guard_release(&pieces, "y in pieces");
}

void test_dense_forward(fnn_dtype dtype) {
  shape s;
  for (size_t i = 0; next_shape(i, &s); i++)
    forward_shape(fnn_kernels_for(dtype), &s, i % 2 ? FNN_RELU : FNN_IDENTITY,
                  use_distribution(i / 2));
}

static void backward_input_shape(const fnn_kernels *kernels, const shape *s,
                                 fnn_activation_kind below, distribution d) {
  NAMES("backward input");
  const fnn_dtype dtype = kernels->dtype;
  const size_t padded = round_up(s->k, kernels->lanes),
               panels = fnn_panels(kernels, s->k);
  const size_t dy_row = s->n + random_below(5), dx_row = padded + random_below(5);
  guarded plain, w = random_packed(kernels, s->k, s->n, &plain);
  guarded dy = guard(s->m * dy_row, kernels->itemsize, 0);
  guarded x = guard(s->m * dx_row, kernels->itemsize, 0);
  guarded dx = guard(s->m * dx_row, kernels->itemsize, 0);
  guarded scratch =
      guard(fnn_input_scratch(kernels, s->m, s->k, s->n), kernels->itemsize, 0);
  fill_rows(dtype, dy.data, s->m, dy_row, s->n, s->n);
  fill_rows(dtype, x.data, s->m, dx_row, s->k, padded);
  fnn_backward_input g = {.dy = dy.data,
                          .dy_row = (ptrdiff_t)dy_row,
                          .w = w.data,
                          .saved = below == FNN_IDENTITY ? NULL : x.data,
                          .dx = dx.data,
                          .dx_row = (ptrdiff_t)dx_row,
                          .k = s->k,
                          .n = s->n,
                          .activation = {below, 0.0},
                          .scratch = scratch.data};
  const double magnitude = kernels->dense_backward_input(&g, 0, s->m, 0, panels);

  double worst = 0.0;
  long double sum = 0.0L;
  for (size_t i = 0; i < s->m; i++)
    for (size_t j = 0; j < s->k; j++) {
      const char *row = (const char *)dy.data + i * dy_row * kernels->itemsize;
      const char *weights = (const char *)plain.data + j * s->n * kernels->itemsize;
      dot exact = exact_dot(dtype, row, 1, weights, 1, s->n);
      const double got = real_at(dtype, dx.data, i * dx_row + j);
      sum += fabsl(exact.sum);
      if (below == FNN_RELU && !(real_at(dtype, x.data, i * dx_row + j) > 0.0))
        exact = (dot){0.0L, 0.0L};
      worst = fmax(worst, error_ratio(dtype, got, exact.sum, exact.gauge, s->n));
    }
  check_ratio(names, d, worst, s->n, s);
  /* The sum may be taken before or after the gate: a bound is all that is asked. */
  CHECK(magnitude <= 1.001 * (double)sum + 1e-9, "magnitude %g of %g", magnitude,
        (double)sum);
  size_t nonzero = 0;
  for (size_t i = 0; i < s->m; i++)
    for (size_t j = s->k; j < padded; j++)
      nonzero += real_at(dtype, dx.data, i * dx_row + j) != 0.0;
  CHECK(nonzero == 0, "%zu values in the padding of dx are not zero", nonzero);
  check_padding("dx", &dx, kernels->itemsize, s->m, dx_row, padded);

  guarded pieces = guard(s->m * dx_row, kernels->itemsize, 0);
  const size_t rows[] = {0, cut(s->m), s->m}, cuts[] = {0, cut(panels), panels};
  g.dx = pieces.data;
  for (int r = 0; r < 2; r++)
    for (int p = 0; p < 2; p++) {
      const size_t low = rows[r], high = rows[r + 1];
      if (low < high)
        kernels->dense_backward_input(&g, low, high, cuts[p], cuts[p + 1]);
    }
  CHECK(same_bytes(&dx, &pieces),
        "(%zu, %zu, %zu) cut at row %zu, panel %zu: other bits", s->m, s->k, s->n,
        rows[1], cuts[1]);
  guard_release(&plain, "w");
  guard_release(&w, "packed w");
  guard_release(&dy, "dy");
  guard_release(&x, "x");
  guard_release(&dx, "dx");
  guard_release(&scratch, "scratch");
  guard_release(&pieces, "dx in pieces");
}

void test_dense_backward_input(fnn_dtype dtype) {
  shape s;
  for (size_t i = 0; next_shape(i, &s); i++)
    backward_input_shape(fnn_kernels_for(dtype), &s, i % 2 ? FNN_RELU : FNN_IDENTITY,
                         use_distribution(i / 2));
}

/* x (m, k) and dy (m, n) with zeros up to whole vectors, NaN beyond. */
static void random_pair(const fnn_kernels *kernels, const shape *s, size_t x_row,
                        size_t dy_row, guarded *x, guarded *dy) {
  *x = guard(s->m * x_row, kernels->itemsize, random_below(4));
  *dy = guard(s->m * dy_row, kernels->itemsize, 0);
  fill_rows(kernels->dtype, x->data, s->m, x_row, s->k, s->k);
  fill_rows(kernels->dtype, dy->data, s->m, dy_row, s->n,
            round_up(s->n, kernels->lanes));
}

static void backward_weights_shape(const fnn_kernels *kernels, const shape *s,
                                   distribution d) {
  NAMES("backward weights");
  const fnn_dtype dtype = kernels->dtype;
  const size_t padded = round_up(s->n, kernels->lanes),
               panels = fnn_panels(kernels, s->n);
  const size_t nr = kernels->nr, size = kernels->itemsize;
  const size_t x_row = s->k + random_below(5), dy_row = padded + random_below(5);
  guarded x, dy, dw = guard(panels * nr * s->k, size, 0);
  guarded scratch = guard(fnn_weights_scratch(kernels, s->m, s->k, s->n), size, 0);
  random_pair(kernels, s, x_row, dy_row, &x, &dy);
  /* The user's rows may lie in the opposite order. */
  const int reversed = (int)random_below(2);
  const char *rows = (const char *)x.data + (reversed ? (s->m - 1) * x_row * size : 0);
  const ptrdiff_t row_step = reversed ? -(ptrdiff_t)x_row : (ptrdiff_t)x_row;
  fnn_backward_weights g = {.x = rows,
                            .x_row = row_step,
                            .dy = dy.data,
                            .dy_row = (ptrdiff_t)dy_row,
                            .m = s->m,
                            .k = s->k,
                            .n = s->n,
                            .dw = dw.data,
                            .scratch = scratch.data};
  kernels->dense_backward_weights(&g, 0, panels, 0, s->k);

  double worst = 0.0;
  size_t bad = 0;
  for (size_t i = 0; i < s->k; i++)
    for (size_t j = 0; j < panels * nr; j++) {
      const size_t at = (j / nr * s->k + i) * nr + j % nr;
      const char *column = rows + i * size;
      const char *gradient = (const char *)dy.data + j * size;
      if (j < s->n) {
        const dot exact =
            exact_dot(dtype, column, row_step, gradient, (ptrdiff_t)dy_row, s->m);
        worst = fmax(worst, error_ratio(dtype, real_at(dtype, dw.data, at), exact.sum,
                                        exact.gauge, s->m));
      } else if (!is_untouched(dw.data, size, at)) {
        bad += j >= padded || real_at(dtype, dw.data, at) != 0.0;
      }
    }
  check_ratio(names, d, worst, s->m, s);
  CHECK(bad == 0, "%zu values in the padding of dw", bad);

  guarded pieces = guard(panels * nr * s->k, size, 0);
  const size_t row = cut(s->k);
  g.dw = pieces.data;
  for (size_t panel = panels; panel-- > 0;) {
    kernels->dense_backward_weights(&g, panel, panel + 1, row, s->k);
    kernels->dense_backward_weights(&g, panel, panel + 1, 0, row);
  }
  CHECK(same_bytes(&dw, &pieces), "(%zu, %zu, %zu) cut at row %zu: other bits", s->m,
        s->k, s->n, row);
  guard_release(&x, "x");
  guard_release(&dy, "dy");
  guard_release(&dw, "dw");
  guard_release(&pieces, "dw in pieces");
  guard_release(&scratch, "scratch");
}

void test_dense_backward_weights(fnn_dtype dtype) {
  shape s;
  for (size_t i = 0; next_shape(i, &s); i++)
    backward_weights_shape(fnn_kernels_for(dtype), &s, use_distribution(i));
}

void test_dense_backward_bias(fnn_dtype dtype) {
  NAMES("backward bias");
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  shape s;
  for (size_t i = 0; next_shape(i, &s); i++) {
    const distribution d = use_distribution(i);
    const size_t padded = round_up(s.n, kernels->lanes),
                 panels = fnn_panels(kernels, s.n);
    const size_t dy_row = padded + random_below(5);
    guarded x, dy, db = guard(panels * kernels->nr, kernels->itemsize, 0);
    random_pair(kernels, &s, s.k, dy_row, &x, &dy);
    const fnn_backward_weights g = {.x = x.data,
                                    .x_row = (ptrdiff_t)s.k,
                                    .dy = dy.data,
                                    .dy_row = (ptrdiff_t)dy_row,
                                    .m = s.m,
                                    .k = s.k,
                                    .n = s.n,
                                    .db = db.data};
    for (size_t panel = 0; panel < panels; panel++)
      kernels->dense_backward_bias(&g, panel);
    double one = 0.0, worst = 0.0;
    set_real(dtype, &one, 0, 1.0);
    for (size_t j = 0; j < s.n; j++) {
      const char *column = (const char *)dy.data + j * kernels->itemsize;
      const dot exact = exact_dot(dtype, column, (ptrdiff_t)dy_row, &one, 0, s.m);
      worst = fmax(worst, error_ratio(dtype, real_at(dtype, db.data, j), exact.sum,
                                      exact.gauge, s.m));
    }
    check_ratio(names, d, worst, s.m, &s);
    guard_release(&x, "x");
    guard_release(&dy, "dy");
    guard_release(&db, "db");
  }
}
