/* The losses against their definitions. */
#include <math.h>
#include <string.h>

#include "support/formulas.h"
#include "support/support.h"
#include "tests.h"

enum {
  ROWS = 70,
  MAX_N = 300
}; /* more rows than the kernel takes logarithms of at once */

typedef struct call {
  fnn_dtype dtype;
  size_t n, row;
  guarded z, targets, weights, dz, loss, correct;
  int64_t labels[ROWS];
  fnn_loss_rows l;
} call;

static const double scale = 1.0 / 64;

static double in_dtype(fnn_dtype dtype, double value) {
  double held;
  set_real(dtype, &held, 0, value);
  return real_at(dtype, &held, 0);
}

/* A target of output j of a row whose targets sum to `left` from there on. */
static double random_target(fnn_loss_kind kind, int last, double left, double z,
                            double spread) {
  if (kind == FNN_SOFTMAX_CROSS_ENTROPY)
    return last ? left : left * random_uniform(0.0, 1.0);
  if (kind == FNN_BINARY_CROSS_ENTROPY) { /* right more often than not, 0.5 sometimes */
    if (random_below(8)) return z > 0.0 ? random_uniform(0.6, 1.0) : 0.0;
    return random_below(2) ? 0.5 : random_uniform(0.0, 1.0);
  }
  return random_below(4) ? random_uniform(-spread, spread) : z;
}

/* Outputs in [-spread, spread], all equal for 0; NaN in the padding of z. */
static void call_init(call *c, fnn_dtype dtype, fnn_loss loss, size_t n, double spread,
                      int soft, int weighted) {
  const size_t padded = round_up(n, fnn_kernels_for(dtype)->lanes);
  *c = (call){.dtype = dtype, .n = n, .row = padded + random_below(3)};
  c->z = guard(ROWS * c->row, itemsize(dtype), 0);
  c->dz = guard(ROWS * c->row, itemsize(dtype), 0);
  c->targets = guard(ROWS * c->row, itemsize(dtype), 0);
  c->weights = guard(ROWS, itemsize(dtype), 0);
  c->loss = guard(ROWS, itemsize(dtype), 0);
  c->correct = guard(ROWS, itemsize(dtype), 0);
  for (size_t i = 0; i < ROWS; i++) {
    double left = 1.0;
    const int binary = loss.kind == FNN_BINARY_CROSS_ENTROPY;
    c->labels[i] = (int64_t)random_below(binary ? 2 : n);
    set_real(dtype, c->weights.data, i, i % 9 == 5 ? 0.0 : random_uniform(0.1, 3.0));
    for (size_t j = 0; j < n; j++) {
      double value = random_uniform(-spread, spread);
      if (spread > 1000.0 && i % 3 == 0) value = random_below(2) ? spread : -spread;
      set_real(dtype, c->z.data, i * c->row + j, value);
      value = real_at(dtype, c->z.data, i * c->row + j);
      const double target = random_target(loss.kind, j + 1 == n, left, value, spread);
      set_real(dtype, c->targets.data, i * c->row + j, target);
      left -= target;
    }
  }
  c->l = (fnn_loss_rows){.loss = loss,
                         .z = c->z.data,
                         .z_row = (ptrdiff_t)c->row,
                         .n = n,
                         .labels = soft ? NULL : c->labels,
                         .targets = soft ? c->targets.data : NULL,
                         .weights = weighted ? c->weights.data : NULL,
                         .scale = scale,
                         .dz = c->dz.data,
                         .losses = c->loss.data,
                         .correct = c->correct.data};
}

static void call_release(call *c) {
  guard_release(&c->z, "z");
  guard_release(&c->dz, "dz");
  guard_release(&c->targets, "targets");
  guard_release(&c->weights, "weights");
  guard_release(&c->loss, "loss");
  guard_release(&c->correct, "correct");
}

/* A row in long double: what the loss and the gradient should be, and the size of what
 * they are made of. */
typedef struct row {
  long double z[MAX_N], t[MAX_N], dz[MAX_N], gauge[MAX_N];
  long double weight, loss, reach;
  int correct;
} row;

static void row_init(row *r, const call *c, size_t i) {
  const fnn_loss loss = {c->l.loss.kind, in_dtype(c->dtype, c->l.loss.parameter)};
  const int softmax = loss.kind == FNN_SOFTMAX_CROSS_ENTROPY;
  const long double smoothing = softmax ? (long double)loss.parameter : 0.0L;
  size_t label = 0, best = 0, wrong = 0;
  for (size_t j = 0; j < c->n; j++) {
    r->z[j] = (long double)real_at(c->dtype, c->z.data, i * c->row + j);
    if (!c->l.labels)
      r->t[j] = (long double)real_at(c->dtype, c->targets.data, i * c->row + j);
    else r->t[j] = c->labels[i] == (softmax ? (int64_t)j : 1);
    if (r->z[j] > r->z[best]) best = j;
    if (r->t[j] > r->t[label]) label = j;
    wrong += (r->z[j] > 0) != (r->t[j] > 0.5L);
  }
  r->correct =
      softmax ? label == best : loss.kind == FNN_BINARY_CROSS_ENTROPY && wrong == 0;
  r->weight = c->l.weights ? (long double)real_at(c->dtype, c->weights.data, i) : 1.0L;
  r->loss = loss_formula(loss, r->z, r->t, c->n, r->dz);
  r->reach = softmax ? logl((long double)c->n) + 1.0L : 0.0L;
  const long double share = 1.0L / (long double)c->n;
  for (size_t j = 0; j < c->n; j++) {
    const long double z = r->z[j], t = r->t[j];
    if (softmax) {
      const long double target = (1 - smoothing) * t + smoothing * share;
      /* Soft targets: the kernel takes T max - sum t z, and they cancel. */
      r->reach +=
          target * (c->l.labels ? r->z[best] - z : fabsl(r->z[best]) + fabsl(z));
      r->gauge[j] = 1.0L;
    } else if (loss.kind == FNN_BINARY_CROSS_ENTROPY) {
      r->reach += fabsl(t * z) + fmaxl(z, 0) + expl(-fabsl(z));
      r->gauge[j] = 1.0L;
    } else if (loss.kind == FNN_POISSON) {
      r->reach += (fabsl(t * z) + expl(z)) * share;
      r->gauge[j] = (fabsl(t) + expl(z)) * share;
    } else { /* all terms are positive */
      r->gauge[j] = fabsl(r->dz[j]);
    }
  }
}

static void check_row(const call *c, size_t i) {
  static row r;
  row_init(&r, c, i);
  const long double u = (long double)roundoff(c->dtype);
  const long double least = (long double)smallest(c->dtype);
  const double got = real_at(c->dtype, c->loss.data, i);
  const long double unit = u * r.weight * (r.reach + fabsl(r.loss)) + least;
  const double error = (double)(fabsl((long double)got - r.weight * r.loss) / unit);
  figure("loss: error in u", error);
  CHECK(isfinite(got) && error <= limit(c->dtype, 12.0),
        "n = %zu: loss %.9g, not %.9Lg (%g u)", c->n, got, r.weight * r.loss, error);
  const double correct = real_at(c->dtype, c->correct.data, i);
  CHECK(correct == (double)r.correct, "n = %zu: correct %g", c->n, correct);
  if (!c->l.dz) return;

  double worst = 0.0;
  for (size_t j = 0; j < c->n; j++) {
    const long double d = (long double)real_at(c->dtype, c->dz.data, i * c->row + j);
    const long double factor = r.weight * (long double)scale;
    worst = fmax(worst, (double)(fabsl(d - r.dz[j] * factor) /
                                 (u * r.gauge[j] * factor + least)));
  }
  figure("dz: error in u", worst);
  CHECK(worst <= limit(c->dtype, 8.0), "n = %zu: dz is off by %g u", c->n, worst);
  const size_t padded = round_up(c->n, fnn_kernels_for(c->dtype)->lanes);
  for (size_t j = c->n; j < c->row; j++) {
    const size_t at = i * c->row + j;
    if (j < padded)
      CHECK(real_at(c->dtype, c->dz.data, at) == 0.0, "the padding of dz is not zero");
    else
      CHECK(is_untouched(c->dz.data, itemsize(c->dtype), at), "beyond the row of dz");
  }
}

/* The return value is the sum of |dz| or a bound of that size. */
static void check_magnitude(const call *c, double got) {
  const int softmax = c->l.loss.kind == FNN_SOFTMAX_CROSS_ENTROPY;
  double sum = 0.0, most = 0.0;
  for (size_t i = 0; i < ROWS; i++) {
    most += 2.0 * scale * (c->l.weights ? real_at(c->dtype, c->weights.data, i) : 1.0);
    for (size_t j = 0; j < c->n; j++)
      sum += fabs(real_at(c->dtype, c->dz.data, i * c->row + j));
  }
  const double slack = sum * (double)(ROWS * c->n) * roundoff(c->dtype);
  CHECK(got >= sum - slack, "n = %zu: %g of %g", c->n, got, sum);
  CHECK(got <= (softmax ? most * (1 + 0x1p-12) : sum + slack), "n = %zu: %g of %g",
        c->n, got, sum);
}

static void run_call(fnn_dtype dtype, fnn_loss loss, size_t n, double spread, int soft,
                     int weighted) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  call c;
  call_init(&c, dtype, loss, n, spread, soft, weighted);
  check_magnitude(&c, kernels->loss(&c.l, 0, ROWS));
  for (size_t i = 0; i < ROWS; i++) check_row(&c, i);

  /* The same bits for any split, without dz, and with dz over z. */
  guarded losses = guard_copy(&c.loss), gradients = guard_copy(&c.dz);
  fnn_loss_rows l = c.l;
  const size_t middle = random_below(ROWS + 1);
  memset(c.loss.data, 0, c.loss.bytes);
  l.dz = NULL;
  CHECK(kernels->loss(&l, middle, ROWS) == 0.0, "a gradient that is not wanted");
  kernels->loss(&l, 0, middle);
  CHECK(same_bytes(&c.loss, &losses), "without dz, cut at %zu: other losses", middle);
  memset(c.loss.data, 0, c.loss.bytes);
  l.dz = c.z.data;
  kernels->loss(&l, middle, ROWS);
  kernels->loss(&l, 0, middle);
  CHECK(same_bytes(&c.loss, &losses), "in place: other losses");
  CHECK(same_bytes(&c.z, &gradients), "in place: another dz");
  guard_release(&losses, "copy");
  guard_release(&gradients, "copy");
  call_release(&c);
}

void test_softmax_cross_entropy(fnn_dtype dtype) {
  static const size_t widths[] = {1, 2, 3, 7, 8, 9, 10, 15, 16, 17, 31, 33, 64, 300};
  static const double spreads[] = {0.0, 0.01, 3.0, 50.0},
                      smoothings[] = {0.0, 0.1, 1.0};
  for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
    for (size_t p = 0; p < 4; p++)
      for (size_t s = 0; s < 3; s++)
        if (!quick || (w + p + s) % 4 == 0)
          run_call(dtype, (fnn_loss){FNN_SOFTMAX_CROSS_ENTROPY, smoothings[s]},
                   widths[w], spreads[p], (int)(w + p) % 2, (int)(w + s) % 2);
}

/* Those that are a sum over the outputs. */
static const fnn_loss losses_of_outputs[] = {
    FNN_OUTPUT_LOSSES(WITH_PARAMETER){FNN_HUBER, 1.0}};
enum { LOSSES = sizeof losses_of_outputs / sizeof *losses_of_outputs };

void test_losses_of_outputs(fnn_dtype dtype) {
  static const size_t widths[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 300};
  static const double spreads[] = {0.0, 0.01, 3.0, 50.0};
  for (size_t k = 0; k < LOSSES; k++)
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
      for (size_t p = 0; p < 4; p++)
        if (!quick || (w + p + k) % 4 == 0)
          run_call(dtype, losses_of_outputs[k], widths[w], spreads[p], 1,
                   (int)(w + p) % 2);
  for (size_t p = 0; p < 4; p++)
    run_call(dtype, losses_of_outputs[0], 1, spreads[p], 0, (int)p % 2);
}

void test_loss_extremes(fnn_dtype dtype) {
  static const size_t widths[] = {1, 2, 17};
  static const double smoothings[] = {0.0, 0.1, 1.0};
  for (size_t w = 0; w < 3; w++) {
    for (size_t s = 0; s < 3; s++)
      for (int soft = 0; soft < 2; soft++) {
        const fnn_loss loss = {FNN_SOFTMAX_CROSS_ENTROPY, smoothings[s]};
        run_call(dtype, loss, widths[w], 1e4, soft, 0);
        run_call(dtype, loss, widths[w], 0.0, soft, 1);
      }
    for (size_t k = 0; k < LOSSES; k++) /* the largest rate that is finite: e^88 */
      run_call(dtype, losses_of_outputs[k], widths[w],
               losses_of_outputs[k].kind == FNN_POISSON ? 80.0 : 1e4, 1, (int)k % 2);
  }
}

/* A logit that is not finite must not come out as a finite loss, nor a gradient that is
 * not finite with a tame magnitude. */
void test_loss_of_nan_is_nan(fnn_dtype dtype) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const double bad[] = {NAN, INFINITY};
  for (size_t k = 0; k <= LOSSES; k++)
    for (size_t b = 0; b < 2; b++)
      for (size_t n = 1; n < 40; n++) {
        const fnn_loss softmax = {FNN_SOFTMAX_CROSS_ENTROPY, 0.0};
        const fnn_loss loss = k < LOSSES ? losses_of_outputs[k] : softmax;
        call c;
        call_init(&c, dtype, loss, n, 2.0, k < LOSSES || n % 2, 0);
        for (size_t i = 0; i < ROWS; i++)
          set_real(dtype, c.z.data, i * c.row + random_below(n), bad[b]);
        const double magnitude = kernels->loss(&c.l, 0, ROWS);
        size_t wild = 0;
        for (size_t i = 0; i < ROWS; i++) {
          const double got = real_at(dtype, c.loss.data, i);
          CHECK(!isfinite(got), "a logit of %g among %zu: loss %g", bad[b], n, got);
          for (size_t j = 0; j < n; j++)
            if (!isfinite(real_at(dtype, c.dz.data, i * c.row + j))) wild++;
        }
        CHECK(!wild || !isfinite(magnitude), "%zu bad gradients: %g", wild, magnitude);
        CHECK(wild || isinf(bad[b]), "NaN is lost");
        call_release(&c);
      }
}

/* Labels are read once more after they were checked: whatever they have become, nothing
 * out of bounds is touched. */
void test_labels_that_changed(fnn_dtype dtype) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  for (size_t k = 0; k < 2; k++) {
    const fnn_loss loss = {k ? FNN_BINARY_CROSS_ENTROPY : FNN_SOFTMAX_CROSS_ENTROPY,
                           0.0};
    call c;
    call_init(&c, dtype, loss, k ? 1 : 5, 2.0, 0, 0);
    const int64_t wrong[] = {INT64_MIN, -1, 5, INT64_MAX};
    for (size_t i = 0; i < ROWS; i++) c.labels[i] = wrong[i % 4];
    kernels->loss(&c.l, 0, ROWS);
    for (size_t i = 0; i < ROWS; i++)
      CHECK(isfinite(real_at(dtype, c.loss.data, i)), "label %lld",
            (long long)c.labels[i]);
    call_release(&c);
  }
}

/* A row of weight 0 has neither loss nor gradient, however large they would be, and
 * changes nothing for the others. */
void test_rows_without_weight(fnn_dtype dtype) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const double largest = dtype == FNN_F64 ? 1.7e308 : 3.4e38;
  for (size_t k = 0; k < 2 * (LOSSES + 1); k++)
    for (size_t n = 2; n < 40; n += 9) {
      const fnn_loss softmax = {FNN_SOFTMAX_CROSS_ENTROPY, 0.1};
      const fnn_loss loss = k / 2 < LOSSES ? losses_of_outputs[k / 2] : softmax;
      call c;
      call_init(&c, dtype, loss, n, 2.0, k / 2 < LOSSES || k % 2, 1);
      for (size_t i = 0; i < ROWS; i += 1 + i % 2)
        set_real(dtype, c.weights.data, i, 0.0);
      kernels->loss(&c.l, 0, ROWS);
      guarded losses = guard_copy(&c.loss), gradients = guard_copy(&c.dz);
      for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < n; j++)
          if (real_at(dtype, c.weights.data, i) == 0.0)
            set_real(dtype, c.z.data, i * c.row + j, j % 2 ? largest : -largest);
      const double magnitude = kernels->loss(&c.l, 0, ROWS);
      CHECK(isfinite(magnitude), "loss %d: %g", (int)loss.kind, magnitude);
      CHECK(same_bytes(&c.loss, &losses), "loss %d: other losses", (int)loss.kind);
      CHECK(same_bytes(&c.dz, &gradients), "loss %d: other gradients", (int)loss.kind);
      for (size_t i = 0; i < ROWS; i++) {
        if (real_at(dtype, c.weights.data, i) != 0.0) continue;
        CHECK(real_at(dtype, c.loss.data, i) == 0.0, "row %zu has a loss", i);
        for (size_t j = 0; j < round_up(n, kernels->lanes); j++)
          CHECK(real_at(dtype, c.dz.data, i * c.row + j) == 0.0,
                "row %zu has a gradient", i);
      }
      guard_release(&losses, "copy");
      guard_release(&gradients, "copy");
      call_release(&c);
    }
}
