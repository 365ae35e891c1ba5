/* Dropout and the norms: the functions on arrays against their definitions, and what
 * they keep between steps. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/network.h"
#include "support/support.h"
#include "tests.h"

enum { MAX_COLUMNS = 140 };

/* The mask, as it is defined: 1 if row, column of an update is kept. */
static int is_kept(uint64_t key, uint64_t step, double rate, size_t row, size_t column,
                   size_t n) {
  uint64_t base = key + UINT64_C(0x9E3779B97F4A7C15) * (step + 1);
  base = (base ^ (base >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  base = (base ^ (base >> 27)) * UINT64_C(0x94D049BB133111EB);
  base = base ^ (base >> 31);
  uint32_t h = (uint32_t)(row * n + column) ^ (uint32_t)base;
  for (int round = 0; round < 2; round++) {
    h = (h ^ (h >> 17)) * UINT32_C(0xed5ad4bb);
    h = (h ^ (h >> 11)) * UINT32_C(0xac4c1b51);
    h = (h ^ (h >> 15)) * UINT32_C(0x31848bab);
    h = h ^ (h >> 14);
    if (round == 0) h ^= (uint32_t)(base >> 32);
  }
  return (double)h >= floor(rate * 4294967296.0);
}

static const struct {
  size_t m, n;
} shapes[] = {{1, 1},  {2, 3},   {5, 7},   {9, 16},  {3, 17},
              {4, 31}, {33, 33}, {70, 64}, {2, 130}, {6, 65}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

void test_dropout(fnn_dtype dtype) {
  const fnn_stateless *functions = fnn_stateless_functions();
  static const double rates[] = {0.0, 0.1, 0.5, 0.9};
  size_t kept = 0, values = 0;
  for (size_t s = 0; s < SHAPES; s++) {
    const size_t m = shapes[s].m, n = shapes[s].n;
    const double rate = rates[s % 4];
    const uint64_t key = random_bits(), step = s % 3 ? random_below(1000) : 0;
    guarded x = guard_random(dtype, m * n, 0), y = guard(m * n, itemsize(dtype), 0);
    functions->dropout(dtype, x.data, rate, key, step, m, n, y.data);
    for (size_t i = 0; i < m * n; i++) {
      const int keep = is_kept(key, step, rate, i / n, i % n, n);
      double scale;
      set_real(dtype, &scale, 0, 1.0 / (1.0 - rate));
      double expected = 0.0;
      set_real(dtype, &expected, 0,
               keep ? real_at(dtype, x.data, i) * real_at(dtype, &scale, 0) : 0.0);
      CHECK(real_at(dtype, y.data, i) == real_at(dtype, &expected, 0),
            "rate %g, (%zu, %zu), value %zu: %g", rate, m, n, i,
            real_at(dtype, y.data, i));
      if (rate == 0.5) kept += (size_t)keep, values++;
    }
    guard_release(&x, "x");
    guard_release(&y, "y");
  }
  CHECK(fabs((double)kept - 0.5 * (double)values) < 4 * sqrt(0.25 * (double)values),
        "%zu of %zu kept", kept, values);
}

/* With one row that counts, the weights of exactly the kept inputs have a gradient. */
void test_dropout_in_a_network(fnn_dtype dtype) {
  enum { INPUTS = 50, ROWS = 7, KEY = 12345 };
  static const fnn_layer layers[] = {
      {.kind = FNN_DROPOUT, .rate = 0.4, .key = KEY},
      {.kind = FNN_DENSE, .units = 3, .use_bias = 1, .trainable = 1}};
  const spec s = {.name = "dropout",
                  .dtype = dtype,
                  .sizes = {INPUTS},
                  .layers = layers,
                  .n_layers = 2,
                  .kind = FNN_SGD,
                  .learning_rate = 0.1,
                  .x_type = dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32,
                  .rows = ROWS,
                  .batch = ROWS,
                  .weighted = 1};
  problem p = problem_new(&s);
  double *weights = (double *)p.data.weights;
  for (size_t i = 0; i < ROWS * INPUTS; i++) set_real(dtype, p.x_memory, i, 1.0);
  for (int threads = 1; threads < 4; threads++)
    for (size_t row = 0; row < ROWS; row++) {
      fnn_network *network = network_new(&p);
      fnn_network_set_threads(network, threads);
      fnn_network_set_step(network, 3 * row);
      for (size_t i = 0; i < ROWS; i++) weights[i] = i == row;
      double dw[INPUTS * 3], db[3], totals[FNN_TOTALS] = {0.0};
      void *const all_dw[] = {NULL, dw}, *const all_db[] = {NULL, db};
      CHECK(fnn_gradients(network, &p.data, NULL, totals, all_dw, all_db) == FNN_OK,
            "failed");
      for (size_t j = 0; j < INPUTS; j++)
        CHECK((real_at(dtype, dw, 3 * j) != 0.0) ==
                  is_kept(KEY, 3 * row, 0.4, row, j, INPUTS),
              "row %zu, input %zu, %d threads", row, j, threads);
      fnn_network_free(network);
    }
  problem_free(&p);
}

/* Mean and variance of m values `step` apart.  Their distances from the first are summed,
 * which keeps the digits where long double has no more of them than double. */
static void statistics(fnn_dtype dtype, const void *x, size_t first, size_t step,
                       size_t m, long double *mean, long double *variance) {
  const long double origin = (long double)real_at(dtype, x, first);
  *mean = *variance = 0;
  for (size_t i = 0; i < m; i++)
    *mean += (long double)real_at(dtype, x, first + i * step) - origin;
  *mean = origin + *mean / (long double)m;
  for (size_t i = 0; i < m; i++) {
    const long double d = (long double)real_at(dtype, x, first + i * step) - *mean;
    *variance += d * d / (long double)m;
  }
}

static void norm_shape(fnn_dtype dtype, size_t m, size_t n, int of_rows,
                       double offset) {
  const fnn_layer_kind kind = of_rows ? FNN_LAYER_NORM : FNN_BATCH_NORM;
  const fnn_stateless *functions = fnn_stateless_functions();
  const double epsilon = 1e-3, u = roundoff(dtype);
  guarded x = guard_random(dtype, m * n, 0), y = guard(m * n, itemsize(dtype), 0);
  guarded scale = guard_random(dtype, n, 0), shift = guard_random(dtype, n, 0);
  guarded mean = guard(n, itemsize(dtype), 0), variance = guard(n, itemsize(dtype), 0);
  for (size_t i = 0; i < m * n; i++)
    set_real(dtype, x.data, i, offset + random_uniform(-1.0, 1.0));
  const fnn_status status = functions->norm(
      dtype, kind, NULL, x.data, scale.data, shift.data, epsilon, m, n, y.data,
      of_rows ? NULL : mean.data, of_rows ? NULL : variance.data);
  CHECK(status == FNN_OK, "status %d", (int)status);
  /* x as the dtype holds it is exact; the mean is off by a rounding. */
  const double tolerance = u * limit(dtype, 40.0 + 8.0 * fabs(offset) / sqrt(epsilon));
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) {
      long double mu, v;
      if (of_rows) statistics(dtype, x.data, i * n, 1, n, &mu, &v);
      else statistics(dtype, x.data, j, n, m, &mu, &v);
      const long double a = (long double)real_at(dtype, scale.data, j);
      const long double b = (long double)real_at(dtype, shift.data, j);
      const long double normal = ((long double)real_at(dtype, x.data, i * n + j) - mu) /
                                 sqrtl(v + (long double)epsilon);
      const double got = real_at(dtype, y.data, i * n + j);
      const double size = (double)(fabsl(a) * (1 + fabsl(normal)) + fabsl(b));
      const double error = fabs(got - (double)(a * normal + b));
      figure(of_rows ? "layer norm: error in u" : "batch norm: error in u",
             error / (u * size));
      CHECK(error <= tolerance * size, "(%zu, %zu): %.9g, not %.9Lg", m, n, got,
            a * normal + b);
      if (of_rows || i) continue;
      CHECK(fabs(real_at(dtype, mean.data, j) - (double)mu) <=
                    limit(dtype, 2) * u * (fabs((double)mu) + 1) &&
                fabs(real_at(dtype, variance.data, j) - (double)v) <=
                    limit(dtype, 8) * u * ((double)v + fabs(offset) * u),
            "(%zu, %zu): statistics of column %zu: %g, %g", m, n, j,
            real_at(dtype, mean.data, j), real_at(dtype, variance.data, j));
    }
  guarded *all[] = {&x, &y, &scale, &shift, &mean, &variance};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    guard_release(all[i], "an array of a norm");
}

void test_norms(fnn_dtype dtype) {
  for (size_t s = 0; s < SHAPES; s++)
    for (int of_rows = 0; of_rows < 2; of_rows++) {
      norm_shape(dtype, shapes[s].m, shapes[s].n, of_rows, 0.0);
      norm_shape(dtype, shapes[s].m, shapes[s].n, of_rows, 100.0);
    }
}

/* dx, dscale and dshift against central differences of sum(dy * y). */
static void norm_gradient(size_t m, size_t n, int of_rows) {
  const fnn_layer_kind kind = of_rows ? FNN_LAYER_NORM : FNN_BATCH_NORM;
  const fnn_stateless *functions = fnn_stateless_functions();
  const double epsilon = 1e-2, h = 1e-5;
  guarded x = guard_random(FNN_F64, m * n, 0), dy = guard_random(FNN_F64, m * n, 0);
  guarded scale = guard_random(FNN_F64, n, 0), shift = guard_random(FNN_F64, n, 0);
  guarded dx = guard(m * n, 8, 0), dscale = guard(n, 8, 0), dshift = guard(n, 8, 0);
  guarded y = guard(m * n, 8, 0), mean = guard(n, 8, 0), variance = guard(n, 8, 0);
  const fnn_status status =
      functions->norm(FNN_F64, kind, dy.data, x.data, scale.data, NULL, epsilon, m, n,
                      dx.data, dscale.data, dshift.data);
  CHECK(status == FNN_OK, "status %d", (int)status);
  const struct {
    double *value, *gradient;
    size_t count;
  } parts[] = {{x.data, dx.data, m * n},
               {scale.data, dscale.data, n},
               {shift.data, dshift.data, n}};
  for (size_t p = 0; p < 3; p++)
    for (size_t i = 0; i < parts[p].count; i++) {
      const double kept = parts[p].value[i];
      double sum[2] = {0.0, 0.0}, size = 0.0;
      for (int side = 0; side < 2; side++) {
        parts[p].value[i] = kept + (side ? h : -h);
        functions->norm(FNN_F64, kind, NULL, x.data, scale.data, shift.data, epsilon, m,
                        n, y.data, NULL, NULL);
        for (size_t j = 0; j < m * n; j++) {
          sum[side] += ((double *)dy.data)[j] * ((double *)y.data)[j];
          size += fabs(((double *)dy.data)[j] * ((double *)y.data)[j]);
        }
      }
      parts[p].value[i] = kept;
      const double numeric = (sum[1] - sum[0]) / (2 * h);
      const double budget = 1e-5 * fabs(numeric) + 1e-8 * (1.0 + size);
      CHECK(fabs(parts[p].gradient[i] - numeric) <= budget,
            "%s (%zu, %zu), part %zu, value %zu: %.12g, difference %.12g",
            of_rows ? "layer norm" : "batch norm", m, n, p, i, parts[p].gradient[i],
            numeric);
    }
  guarded *all[] = {&x,      &dy,     &scale, &shift, &dx,
                    &dscale, &dshift, &y,     &mean,  &variance};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    guard_release(all[i], "an array of a norm");
}

void test_norm_gradients(void) {
  random_distribution(UNIFORM);
  for (int of_rows = 0; of_rows < 2; of_rows++) {
    norm_gradient(5, 7, of_rows);
    norm_gradient(1, 9, of_rows);
    norm_gradient(4, 33, of_rows);
    norm_gradient(17, 2, of_rows);
  }
}

static const fnn_layer normed[] = {
    {.kind = FNN_BATCH_NORM, .momentum = 0.25, .epsilon = 1e-5, .trainable = 1},
    {.kind = FNN_BATCH_NORM, .momentum = 0.25, .epsilon = 1e-5},
    {.kind = FNN_DENSE, .units = 3, .trainable = 1}};

/* The running statistics move by the momentum towards those of each mini-batch, in a
 * step that counts; those of a frozen batch norm stay. */
void test_running_statistics(fnn_dtype dtype) {
  for (size_t batch = 1; batch < 10; batch += 4) {
    const spec s = {.name = "statistics",
                    .dtype = dtype,
                    .sizes = {6},
                    .layers = normed,
                    .n_layers = 3,
                    .kind = FNN_MOMENTUM,
                    .learning_rate = 0.01,
                    .x_type = FNN_FLOAT64,
                    .rows = 18,
                    .batch = batch,
                    .accumulate = 2};
    problem p = problem_new(&s);
    fnn_network *network = network_new(&p);
    fnn_network_set_threads(network, 3);
    double got[2][6], fixed[2][2][6] = {{{0.0}}}, dw[18], db[18],
                      totals[FNN_TOTALS] = {0.0};
    long double expected[2][6];
    void *const all_dw[] = {dw, dw, dw}, *const all_db[] = {db, db, db};
    fnn_network_get_statistics(network, 0, got[0], got[1]);
    fnn_network_get_statistics(network, 1, fixed[0][0], fixed[0][1]);
    for (int part = 0; part < 2; part++)
      for (size_t j = 0; j < 6; j++)
        expected[part][j] = (long double)real_at(dtype, got[part], j);
    CHECK(fnn_gradients(network, &p.data, NULL, totals, all_dw, all_db) == FNN_OK,
          "failed");
    for (size_t start = 0; start < p.data.rows;) {
      const size_t first = start;
      CHECK(train_rows(network, &p, &start, totals, 0.0, 1) == FNN_OK, "failed");
      for (size_t row = first; row < start; row += batch)
        for (size_t j = 0; j < 6; j++) {
          const size_t m = start - row < batch ? start - row : batch;
          long double mean, variance;
          statistics(FNN_F64, p.x, row * 6 + j, 6, m, &mean, &variance);
          if (m > 1) variance *= (long double)m / (long double)(m - 1);
          expected[0][j] = 0.75L * expected[0][j] + 0.25L * mean;
          expected[1][j] = 0.75L * expected[1][j] + 0.25L * variance;
        }
      fnn_network_get_statistics(network, 0, got[0], got[1]);
      for (int part = 0; part < 2; part++)
        for (size_t j = 0; j < 6; j++)
          CHECK(fabs(real_at(dtype, got[part], j) - (double)expected[part][j]) <=
                    20 * roundoff(dtype) * (1.0 + fabs((double)expected[part][j])),
                "batch %zu, row %zu: part %d is %g, not %Lg", batch, first, part,
                real_at(dtype, got[part], j), expected[part][j]);
    }
    fnn_network_get_statistics(network, 1, fixed[1][0], fixed[1][1]);
    CHECK(memcmp(fixed[0], fixed[1], sizeof fixed[0]) == 0, "frozen ones moved");
    fnn_network_free(network);
    problem_free(&p);
  }
}

/* Values whose squares the dtype cannot hold.  Where double cannot either, the variance
 * is infinite and what is normalised is 0. */
void test_norms_of_large_values(fnn_dtype dtype) {
  enum { M = 3 };
  static const double sizes[] = {1e18, 1e25, 1e160, 1e300};
  const fnn_stateless *functions = fnn_stateless_functions();
  for (size_t s = 0; s < (dtype == FNN_F64 ? 4 : 2); s++)
    for (size_t n = 2; n < 70; n += 11) {
      guarded x = guard(M * n, itemsize(dtype), 0),
              y = guard(M * n, itemsize(dtype), 0);
      guarded scale = guard_random(dtype, n, 0), shift = guard_random(dtype, n, 0);
      guarded mean = guard(n, itemsize(dtype), 0);
      guarded variance = guard(n, itemsize(dtype), 0);
      for (size_t i = 0; i < M * n; i++)
        set_real(dtype, x.data, i, sizes[s] * (0.5 + (double)((i * 7 + i / n) % 5)));
      CHECK(functions->norm(dtype, FNN_LAYER_NORM, NULL, x.data, scale.data, shift.data,
                            1e-5, M, n, y.data, NULL, NULL) == FNN_OK,
            "failed");
      for (size_t i = 0; i < M * n; i++) {
        double mu = 0.0, v = 0.0;
        for (size_t j = 0; j < n; j++)
          mu += real_at(dtype, x.data, i / n * n + j) / (double)n;
        for (size_t j = 0; j < n; j++)
          v += pow(real_at(dtype, x.data, i / n * n + j) - mu, 2.0) / (double)n;
        const double a = real_at(dtype, scale.data, i % n);
        const double b = real_at(dtype, shift.data, i % n);
        const double normal = (real_at(dtype, x.data, i) - mu) / sqrt(v + 1e-5);
        const double got = real_at(dtype, y.data, i);
        CHECK(fabs(got - (a * normal + b)) <=
                  60 * roundoff(dtype) * (fabs(a) * (1 + fabs(normal)) + fabs(b)),
              "size %g, (%d, %zu): %g, not %g", sizes[s], M, n, got, a * normal + b);
      }
      CHECK(functions->norm(dtype, FNN_BATCH_NORM, NULL, x.data, scale.data, shift.data,
                            1e-5, M, n, y.data, mean.data, variance.data) == FNN_OK,
            "failed");
      for (size_t i = 0; i < M * n; i++)
        CHECK(isfinite(real_at(dtype, y.data, i)), "batch norm, size %g: %g", sizes[s],
              real_at(dtype, y.data, i));
      guarded *all[] = {&x, &y, &scale, &shift, &mean, &variance};
      for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        guard_release(all[i], "an array of a norm");
    }
  if (dtype == FNN_F32) return;
  /* The sum overflows and the mean does not. */
  static const double values[] = {1.7e308, 1.7e308}, ones[] = {1.0, 1.0},
                      shifts[] = {0.25, 0.5};
  double out[2];
  CHECK(functions->norm(FNN_F64, FNN_LAYER_NORM, NULL, values, ones, shifts, 1e-5, 1, 2,
                        out, NULL, NULL) == FNN_OK,
        "failed");
  CHECK(memcmp(out, shifts, sizeof out) == 0, "%g, %g", out[0], out[1]);
}

/* Each code becomes its row of the table, and -1 zeros. Another number is a bad row; a
 * row of which only a sum overflows is none. */
void test_tables(fnn_dtype dtype) {
  enum { FRONT = 14, COLUMNS = 2, K = FRONT + COLUMNS, SIZE = 37, CODES = 5 };
  enum { WIDTH = FRONT + COLUMNS * SIZE };
  static const size_t counts[COLUMNS] = {2, 3};
  /* As wide as vectors are: the next row lies right behind one. */
  static const double rows[][K] = {
      {[0] = 1.5, [1] = -2.0, [FRONT] = 0.0, [FRONT + 1] = 1.0},
      {[1] = 3.0, [FRONT] = 1.0, [FRONT + 1] = 2.0},
      {[0] = 0.5, [FRONT] = -1.0, [FRONT + 1] = 0.0},
      {[0] = 0.5, [FRONT] = 0.0, [FRONT + 1] = -1.0}};
  static const double wrong[][COLUMNS] = {{2.0, 0.0}, {0.0, 3.0}, {-2.0, 0.0},
                                          {0.0, 0.5}, {0.0, NAN}, {INFINITY, 0.0}};
  const double largest = dtype == FNN_F64 ? DBL_MAX : (double)FLT_MAX;
  const fnn_layer layer = {.kind = FNN_TABLE,
                           .units = WIDTH,
                           .trainable = 1,
                           .columns = COLUMNS,
                           .size = SIZE,
                           .counts = counts};
  const fnn_plan plan = {.dtype = dtype,
                         .n_inputs = K,
                         .n_layers = 1,
                         .layers = &layer,
                         .loss = {FNN_MSE, 0.0}};
  fnn_network *network = fnn_network_new(&plan);
  guarded w = guard_random(dtype, CODES * SIZE, 0), x = guard_zeros(dtype, 2 * K);
  guarded out = guard(2 * WIDTH, itemsize(dtype), 0);
  double b[COLUMNS * SIZE] = {0.0};
  if (!network) abort();
  fnn_network_set(network, 0, 0, w.data, b);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    for (size_t j = 0; j < K; j++) set_real(dtype, x.data, j, rows[i][j]);
    CHECK(fnn_predict_one(network, x.data, out.data) == FNN_OK, "row %zu: refused", i);
    for (size_t o = 0; o < WIDTH; o++) {
      const size_t column = o < FRONT ? 0 : (o - FRONT) / SIZE;
      const double code = rows[i][FRONT + column];
      const size_t row = (column ? counts[0] : 0) + (size_t)fmax(code, 0.0);
      const double expected =
          o < FRONT    ? rows[i][o]
          : code < 0.0 ? 0.0
                       : real_at(dtype, w.data, row * SIZE + (o - FRONT) % SIZE);
      CHECK(real_at(dtype, out.data, o) == expected, "row %zu, output %zu: %g, not %g",
            i, o, real_at(dtype, out.data, o), expected);
    }
  }
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    for (size_t j = 0; j < COLUMNS; j++)
      set_real(dtype, x.data, FRONT + j, wrong[i][j]);
    CHECK(fnn_predict_one(network, x.data, out.data) == FNN_BAD_INPUT,
          "%g and %g were taken", wrong[i][0], wrong[i][1]);
  }
  for (size_t j = 0; j < K; j++) {
    set_real(dtype, x.data, j, j < FRONT ? largest : 1.0);
    set_real(dtype, x.data, K + j, j < FRONT ? 0.5 : 1.0);
  }
  const fnn_array both = {.data = x.data,
                          .rows = 2,
                          .cols = K,
                          .row_stride = (ptrdiff_t)(K * itemsize(dtype)),
                          .col_stride = (ptrdiff_t)itemsize(dtype),
                          .type = dtype == FNN_F64 ? FNN_FLOAT64 : FNN_FLOAT32};
  size_t start = 0;
  CHECK(fnn_predict(network, &both, FNN_VALUES, out.data, &start, INFINITY) == FNN_OK,
        "large values: refused");
  CHECK(real_at(dtype, out.data, 1) == largest, "other values");
  guard_release(&w, "the table");
  guard_release(&x, "a row");
  guard_release(&out, "outputs");
  fnn_network_free(network);
}
