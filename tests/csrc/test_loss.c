/* softmax_cross_entropy against its definition. */
#include <math.h>
#include <string.h>

#include "model.h"
#include "support.h"
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
  fnn_softmax_loss l;
} call;

/* Logits in [-spread, spread], all equal for 0; NaN in the padding of z. */
static void call_init(call *c, fnn_dtype dtype, size_t n, double spread,
                      double smoothing, int soft, int weighted) {
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
    c->labels[i] = (int64_t)random_below(n);
    set_real(dtype, c->weights.data, i, i % 9 == 5 ? 0.0 : random_uniform(0.1, 3.0));
    for (size_t j = 0; j < n; j++) {
      double value = random_uniform(-spread, spread);
      if (spread > 1000.0 && i % 3 == 0) value = random_below(2) ? spread : -spread;
      set_real(dtype, c->z.data, i * c->row + j, value);
      const double share = j + 1 < n ? left * random_uniform(0.0, 1.0) : left;
      set_real(dtype, c->targets.data, i * c->row + j, share);
      left -= share;
    }
  }
  c->l = (fnn_softmax_loss){.z = c->z.data,
                            .z_row = (ptrdiff_t)c->row,
                            .n = n,
                            .labels = soft ? NULL : c->labels,
                            .targets = soft ? c->targets.data : NULL,
                            .weights = weighted ? c->weights.data : NULL,
                            .scale = 1.0 / 64,
                            .smoothing = smoothing,
                            .dz = c->dz.data,
                            .loss = c->loss.data,
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

static void check_row(const call *c, size_t i) {
  static long double z[MAX_N], t[MAX_N], dz[MAX_N];
  const double u = roundoff(c->dtype);
  size_t label = 0, best = 0;
  long double reach = 0.0L; /* sum_j t_j (max - z_j): what the loss is made of */
  double smoothing = 0.0;
  set_real(c->dtype, &smoothing, 0, c->l.smoothing);
  smoothing = real_at(c->dtype, &smoothing, 0);
  for (size_t j = 0; j < c->n; j++) {
    z[j] = (long double)real_at(c->dtype, c->z.data, i * c->row + j);
    t[j] = c->l.labels
               ? (long double)((size_t)c->labels[i] == j)
               : (long double)real_at(c->dtype, c->targets.data, i * c->row + j);
    if (z[j] > z[best]) best = j;
    if (t[j] > t[label]) label = j;
  }
  const long double weight =
      c->l.weights ? (long double)real_at(c->dtype, c->weights.data, i) : 1.0L;
  const long double loss = model_loss(z, t, c->n, (long double)smoothing, dz);
  for (size_t j = 0; j < c->n; j++) {
    const long double target = (1 - (long double)smoothing) * t[j] +
                               (long double)smoothing / (long double)c->n;
    /* Soft targets: the kernel takes T max - sum t z, of that size before it cancels. */
    reach += target * (c->l.labels ? z[best] - z[j] : fabsl(z[best]) + fabsl(z[j]));
  }
  const double got = real_at(c->dtype, c->loss.data, i);
  const long double unit =
      (long double)u * weight * (reach + logl((long double)c->n) + 1.0L + fabsl(loss));
  const double error =
      weight > 0 ? (double)(fabsl((long double)got - weight * loss) / unit) : fabs(got);
  figure("loss: error in u", error);
  CHECK(isfinite(got) && error <= limit(c->dtype, 12.0),
        "n = %zu: loss %.9g, not %.9Lg (%g u)", c->n, got, weight * loss, error);
  const double correct = real_at(c->dtype, c->correct.data, i);
  CHECK(correct == (label == best ? (double)weight : 0.0), "n = %zu: correct %g", c->n,
        correct);
  if (!c->l.dz) return;

  double worst = 0.0, sum = 0.0;
  for (size_t j = 0; j < c->n; j++) {
    const double d = real_at(c->dtype, c->dz.data, i * c->row + j);
    const long double exact = dz[j] * weight / 64;
    sum += d;
    worst = fmax(worst, (double)(fabsl((long double)d - exact) * 64 /
                                 ((long double)u * fmaxl(weight, 1e-30L))));
  }
  figure("dz: error in u", worst);
  figure("dz: error of the row sum in n u",
         fabs(sum) * 64.0 / ((double)c->n * u * fmax((double)weight, 1e-30)));
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

static void run_call(fnn_dtype dtype, size_t n, double spread, double smoothing,
                     int soft, int weighted) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  call c;
  call_init(&c, dtype, n, spread, smoothing, soft, weighted);
  kernels->softmax_cross_entropy(&c.l, 0, ROWS);
  for (size_t i = 0; i < ROWS; i++) check_row(&c, i);

  /* The same bits for any split, without dz, and with dz over z. */
  guarded losses = guard_copy(&c.loss), gradients = guard_copy(&c.dz);
  fnn_softmax_loss l = c.l;
  const size_t middle = random_below(ROWS + 1);
  memset(c.loss.data, 0, c.loss.bytes);
  l.dz = NULL;
  kernels->softmax_cross_entropy(&l, middle, ROWS);
  kernels->softmax_cross_entropy(&l, 0, middle);
  CHECK(same_bytes(&c.loss, &losses), "without dz, cut at %zu: other losses", middle);
  memset(c.loss.data, 0, c.loss.bytes);
  l.dz = c.z.data;
  kernels->softmax_cross_entropy(&l, middle, ROWS);
  kernels->softmax_cross_entropy(&l, 0, middle);
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
          run_call(dtype, widths[w], spreads[p], smoothings[s], (int)(w + p) % 2,
                   (int)(w + s) % 2);
}

void test_loss_extremes(fnn_dtype dtype) {
  static const size_t widths[] = {1, 2, 17};
  static const double smoothings[] = {0.0, 0.1, 1.0};
  for (size_t w = 0; w < 3; w++)
    for (size_t s = 0; s < 3; s++)
      for (int soft = 0; soft < 2; soft++) {
        run_call(dtype, widths[w], 1e4, smoothings[s], soft, 0);
        run_call(dtype, widths[w], 0.0, smoothings[s], soft, 1);
      }
}

/* A logit that is not finite must not come out as a finite loss. */
void test_loss_of_nan_is_nan(fnn_dtype dtype) {
  const fnn_kernels *kernels = fnn_kernels_for(dtype);
  const double bad[] = {NAN, INFINITY};
  for (size_t b = 0; b < 2; b++)
    for (size_t n = 1; n < 40; n++) {
      call c;
      call_init(&c, dtype, n, 2.0, 0.0, (int)n % 2, 0);
      for (size_t i = 0; i < ROWS; i++)
        set_real(dtype, c.z.data, i * c.row + random_below(n), bad[b]);
      kernels->softmax_cross_entropy(&c.l, 0, ROWS);
      for (size_t i = 0; i < ROWS; i++) {
        const double loss = real_at(dtype, c.loss.data, i);
        CHECK(!isfinite(loss), "a logit of %g among %zu: loss %g", bad[b], n, loss);
      }
      call_release(&c);
    }
}
