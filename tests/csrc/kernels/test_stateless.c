/* The functions behind fastnn.kernels, on plain row-major arrays. */
#include <math.h>
#include <string.h>

#include "support/model.h"
#include "support/support.h"
#include "tests.h"

/* out = a b for row-major a (m, k) and b (k, n), transposed as asked; checked. */
static void check_product(const char *what, fnn_dtype dtype, const void *out,
                          const void *a, ptrdiff_t a_row, ptrdiff_t a_step,
                          const void *b, ptrdiff_t b_column, ptrdiff_t b_step, size_t m,
                          size_t n, size_t depth) {
  double worst = 0.0;
  const ptrdiff_t size = (ptrdiff_t)itemsize(dtype);
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) {
      const dot d =
          exact_dot(dtype, (const char *)a + (ptrdiff_t)i * a_row * size, a_step,
                    (const char *)b + (ptrdiff_t)j * b_column * size, b_step, depth);
      worst = fmax(worst, error_ratio(dtype, real_at(dtype, out, i * n + j), d.sum,
                                      d.gauge, depth));
    }
  CHECK(worst <= (double)depth + 2.0 && worst <= 8.0, "%s: ratio %g", what, worst);
}

static void dense_shape(fnn_dtype dtype, const shape *s, fnn_activation_kind kind) {
  const fnn_activation activation = {kind, 0.0};
  const fnn_stateless *functions = fnn_stateless_functions();
  const size_t m = s->m, k = s->k, n = s->n, size = itemsize(dtype);
  guarded x = guard_random(dtype, m * k, 0), w = guard_random(dtype, k * n, 0);
  guarded b = guard_random(dtype, n, 0), y = guard(m * n, size, 0);
  guarded dy = guard_random(dtype, m * n, 0), dx = guard(m * k, size, 0);
  guarded dw = guard(k * n, size, 0), db = guard(n, size, 0);
  CHECK(functions->dense_forward(dtype, x.data, w.data, b.data, m, k, n, activation,
                                 y.data) == FNN_OK,
        "failed");
  double worst = 0.0;
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) {
      const dot d = exact_dot(dtype, (char *)x.data + i * k * size, 1,
                              (char *)w.data + j * size, (ptrdiff_t)n, k);
      const double bias = real_at(dtype, b.data, j);
      long double exact = d.sum + (long double)bias;
      if (kind == FNN_RELU) exact = fmaxl(exact, 0.0L);
      worst = fmax(worst, error_ratio(dtype, real_at(dtype, y.data, i * n + j), exact,
                                      d.gauge + (long double)fabs(bias), k));
    }
  CHECK(worst <= (double)k + 2.0 && worst <= 8.0, "forward: ratio %g", worst);
  CHECK(functions->dense_backward(dtype, dy.data, x.data, w.data, y.data, m, k, n,
                                  activation, dx.data, dw.data, db.data) == FNN_OK,
        "failed");
  for (size_t i = 0; i < m * n; i++)
    if (kind == FNN_RELU && !(real_at(dtype, y.data, i) > 0.0))
      set_real(dtype, dy.data, i, 0.0);
  double one = 0.0;
  set_real(dtype, &one, 0, 1.0);
  check_product("dx", dtype, dx.data, dy.data, (ptrdiff_t)n, 1, w.data, (ptrdiff_t)n, 1,
                m, k, n);
  check_product("dw", dtype, dw.data, x.data, 1, (ptrdiff_t)k, dy.data, 1, (ptrdiff_t)n,
                k, n, m);
  check_product("db", dtype, db.data, &one, 0, 0, dy.data, 1, (ptrdiff_t)n, 1, n, m);
  guarded *all[] = {&x, &w, &b, &y, &dy, &dx, &dw, &db};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    guard_release(all[i], "an array of a dense layer");
}

void test_stateless_dense(fnn_dtype dtype) {
  const int before = fnn_get_num_threads();
  shape s;
  for (size_t i = 0; next_shape(i, &s); i++) {
    if (i > samples(60, 20)) continue;
    random_distribution(UNIFORM);
    fnn_set_num_threads(1 + (int)i % 3);
    dense_shape(dtype, &s, i % 2 ? FNN_RELU : FNN_IDENTITY);
  }
  fnn_set_num_threads(before);
  /* Out of memory. */
  const fnn_stateless *functions = fnn_stateless_functions();
  double zeros[4] = {0.0}, out[4] = {7.0, 7.0, 7.0, 7.0};
  const fnn_activation identity = {FNN_IDENTITY, 0.0};
  const fnn_loss crossed = {FNN_SOFTMAX_CROSS_ENTROPY, 0.0};
  fnn_fail_allocation(1, 1);
  CHECK(functions->dense_forward(dtype, zeros, zeros, zeros, 1, 1, 1, identity, out) ==
            FNN_NO_MEMORY,
        "dense_forward");
  CHECK(functions->dense_backward(dtype, zeros, zeros, zeros, zeros, 1, 1, 1, identity,
                                  out, out + 1, out + 2) == FNN_NO_MEMORY,
        "dense_backward");
  CHECK(functions->softmax(dtype, NULL, zeros, 1, 2, out) == FNN_NO_MEMORY, "softmax");
  double loss = 7.0;
  const int64_t label = 0;
  CHECK(functions->loss(dtype, crossed, NULL, zeros, &label, NULL, NULL, 1, 2, &loss,
                        out) == FNN_NO_MEMORY,
        "loss");
  fnn_fail_allocation(0, 0);
  CHECK(loss == 7.0 && out[0] == 7.0 && out[3] == 7.0,
        "a failed call wrote its output");
}

void test_stateless_loss(fnn_dtype dtype) {
  const fnn_stateless *functions = fnn_stateless_functions();
  static const size_t widths[] = {1, 2, 3, 10, 17, 40};
  enum { M = 9, MAX = 40 };
  for (size_t c = 0; c < sizeof widths / sizeof *widths; c++)
    for (int variant = 0; variant < 4; variant++) {
      const size_t n = widths[c];
      const int soft = variant & 1, weighted = variant >> 1;
      guarded z = guard_random(dtype, M * n, 0), t = guard_zeros(dtype, M * n);
      guarded dz = guard(M * n, itemsize(dtype), 0),
              p = guard(M * n, itemsize(dtype), 0);
      int64_t labels[M];
      double weights[M], loss = NAN;
      long double expected = 0.0L, weight_sum = 0.0L, exact_dz[M][MAX];
      for (size_t i = 0; i < M; i++) {
        labels[i] = (int64_t)random_below(n);
        weights[i] = weighted ? random_uniform(0.1, 2.0) : 1.0;
        weight_sum += (long double)weights[i];
        set_real(dtype, t.data, i * n + (size_t)labels[i], 1.0);
      }
      CHECK(functions->loss(dtype, (fnn_loss){FNN_SOFTMAX_CROSS_ENTROPY, 0.1}, NULL,
                            z.data, soft ? NULL : labels, soft ? t.data : NULL,
                            weighted ? weights : NULL, M, n, &loss, dz.data) == FNN_OK,
            "failed");
      CHECK(functions->softmax(dtype, NULL, z.data, M, n, p.data) == FNN_OK, "failed");
      double worst = 0.0, worst_p = 0.0;
      for (size_t i = 0; i < M; i++) {
        long double row[MAX], target[MAX];
        for (size_t j = 0; j < n; j++) {
          row[j] = (long double)real_at(dtype, z.data, i * n + j);
          target[j] = j == (size_t)labels[i];
        }
        expected +=
            (long double)weights[i] * model_loss(row, target, n, 0.1L, exact_dz[i]);
        for (size_t j = 0; j < n; j++) {
          const long double d = exact_dz[i][j] * (long double)weights[i] / weight_sum;
          /* dz = p - t' */
          const long double prob =
              exact_dz[i][j] + 0.9L * target[j] + 0.1L / (long double)n;
          worst = fmax(worst, fabs(real_at(dtype, dz.data, i * n + j) - (double)d));
          worst_p =
              fmax(worst_p, fabs(real_at(dtype, p.data, i * n + j) - (double)prob));
        }
      }
      const double u = roundoff(dtype);
      CHECK(worst <= limit(dtype, 8.0) * u, "n = %zu: dz is off by %g u", n, worst / u);
      CHECK(worst_p <= limit(dtype, 8.0) * u, "n = %zu: p is off by %g u", n,
            worst_p / u);
      CHECK(fabs(loss - (double)(expected / weight_sum)) <= 100 * u,
            "loss %.12g, not %.12Lg", loss, expected / weight_sum);
      guard_release(&z, "z");
      guard_release(&t, "targets");
      guard_release(&dz, "dz");
      guard_release(&p, "p");
    }
}
