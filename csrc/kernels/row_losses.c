/* Losses with so little to compute that vectors would not pay for their room in the
 * binary: in double, one copy for all instruction sets and dtypes.
 *
 * To add one: a row in kinds.h, a function here and its case in fnn_row_losses. */
#include <math.h>

#include "base/facts.h"
#include "base/memory.h"
#include "base/values.h"
#include "kernels/kernels.h"

/* A row: its outputs, and how its gradient is written over them or elsewhere. */
typedef struct row {
  const fnn_kernels *kernels;
  const fnn_loss_rows *l;
  size_t n, index, first; /* outputs, number, its first value in the arrays */
  double factor;          /* of the gradient */
  double magnitude;       /* the sum of what was written */
} row;

static double output(const row *r, size_t j) {
  return fnn_real_at(r->kernels->dtype, r->l->z, r->first + j);
}

static double target(const row *r, size_t j) {
  return fnn_real_at(r->kernels->dtype, r->l->targets, r->first + j);
}

/* An output is read before its gradient is set: they may share memory. */
static void set_slope(row *r, size_t j, double slope) {
  if (!r->l->dz) return;
  fnn_set_real(r->kernels->dtype, r->l->dz, r->first + j, slope * r->factor);
  r->magnitude += fabs(fnn_real_at(r->kernels->dtype, r->l->dz, r->first + j));
}

/* d = t - z:  1 / n sum q d where d > 0, else (q - 1) d */
static double quantile(row *r) {
  const size_t levels = (size_t)r->l->loss.parameter;
  double sum = 0.0;
  for (size_t j = 0; j < r->n; j++) {
    const double q = r->l->levels[j % levels];
    const double d = target(r, j / levels) - output(r, j);
    const double slope = d > 0.0 ? q : d < 0.0 ? q - 1.0 : d; /* 0 and NaN stay */
    sum += slope * d;
    set_slope(r, j, -slope / (double)r->n);
  }
  return sum / (double)r->n;
}

/* Pairs m, s with v = max(exp(s), least):  1 / n sum ln v + (t - m)^2 / v of n outputs,
 * two a target.  The slope of s is that of v as if it were not limited. */
static double gaussian_nll(row *r) {
  enum { PAIRS = 16 };
  const double least = r->l->loss.parameter, low = log(least), count = (double)r->n;
  double sum = 0.0;
  for (size_t first = 0; first < r->n; first += 2 * PAIRS) {
    _Alignas(FNN_ALIGNMENT) double room[PAIRS] = {0}; /* of the dtype */
    const size_t pairs = r->n - first < 2 * PAIRS ? (r->n - first) / 2 : PAIRS;
    for (size_t i = 0; i < pairs; i++)
      fnn_set_real(r->kernels->dtype, room, i, output(r, first + 2 * i + 1));
    r->kernels->predict_values(FNN_POISSON, room, PAIRS, pairs, 1); /* exp */
    for (size_t i = 0; i < pairs; i++) {
      const size_t at = first + 2 * i;
      const double d = output(r, at) - target(r, at / 2), s = output(r, at + 1);
      const double e = fnn_real_at(r->kernels->dtype, room, i);
      const double v = s < low ? least : e;
      sum += (s < low ? low : s) + d * d / v + 0.0 * s; /* NaN for infinities */
      set_slope(r, at, 2.0 * d / v / count);
      set_slope(r, at + 1, (1.0 - d * d / v) * (s < low ? e / v : 1.0) / count);
    }
  }
  return sum / count;
}

/* One output: max(0, 1 - z), or 1 + z for class 0.  Of several with class y:
 * 1 / n sum over the others of max(0, 1 - z_y + z_j). */
static double hinge(row *r, size_t y) {
  const double own = output(r, r->n == 1 ? 0 : y), share = 1.0 / (double)r->n;
  double sum = 0.0 * own, slope = 0.0; /* NaN for infinities */
  if (r->n == 1) {
    const double sign = y ? 1.0 : -1.0, margin = 1.0 - sign * own;
    set_slope(r, 0, margin <= 0.0 ? sum : sum - sign);
    return margin <= 0.0 ? sum : sum + margin;
  }
  for (size_t j = 0; j < r->n; j++) {
    const double z = output(r, j), nil = 0.0 * z, margin = 1.0 - own + z;
    const int counts = j != y && !(margin <= 0.0);
    sum += counts ? margin : nil;
    slope -= counts ? share : nil;
    set_slope(r, j, counts ? share + nil : nil);
  }
  set_slope(r, y, slope + 0.0 * own);
  return sum * share;
}

/* The class of a row; whatever a label has become since it was checked, it is one. */
static size_t class_of(const row *r) {
  const size_t classes = r->n == 1 ? 2 : r->n;
  size_t best = 0;
  if (r->l->labels) {
    best = (size_t)*(const volatile int64_t *)&r->l->labels[r->index];
    return best < classes ? best : 0;
  }
  if (r->n == 1) return target(r, 0) > 0.5;
  for (size_t j = 1; j < r->n; j++)
    if (target(r, j) > target(r, best)) best = j;
  return best;
}

static size_t predicted(const row *r) {
  size_t best = 0;
  if (r->n == 1) return output(r, 0) > 0.0;
  for (size_t j = 1; j < r->n; j++)
    if (output(r, j) > output(r, best)) best = j;
  return best;
}

double fnn_row_losses(const fnn_kernels *kernels, const fnn_loss_rows *l, size_t row0,
                      size_t row1) {
  const fnn_dtype dtype = kernels->dtype;
  double magnitude = 0.0;
  for (size_t i = row0; i < row1; i++) {
    const double weight = l->weights ? fnn_real_at(dtype, l->weights, i) : 1.0;
    row r = {.kernels = kernels,
             .l = l,
             .n = l->n,
             .index = i,
             .first = i * (size_t)l->z_row,
             .factor = weight * l->scale};
    const int is_hinge = l->loss.kind == FNN_HINGE;
    const size_t y = is_hinge ? class_of(&r) : 0;
    fnn_set_real(dtype, l->correct, i, is_hinge && predicted(&r) == y ? 1.0 : 0.0);
    double loss = 0.0;
    if (weight == 0.0)
      for (size_t j = 0; j < r.n; j++) set_slope(&r, j, 0.0);
    else if (is_hinge) loss = hinge(&r, y);
    else loss = l->loss.kind == FNN_QUANTILE ? quantile(&r) : gaussian_nll(&r);
    fnn_set_real(dtype, l->losses, i, weight * loss);
    for (size_t j = r.n; l->dz && j % kernels->lanes; j++)
      fnn_set_real(dtype, l->dz, r.first + j, 0.0);
    magnitude += r.magnitude;
  }
  return magnitude;
}
